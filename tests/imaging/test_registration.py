"""Known shifts, ramps, factors and twins are applied to an object and must be found and removed."""

from __future__ import annotations

import numpy as np
import pytest

from ptycho_core.errors import DataError
from ptycho_core.imaging import refinement
from ptycho_core.imaging.area import Area, centre_area
from ptycho_core.imaging.registration import register
from ptycho_core.imaging.shifting import Frame, squared_norm

SIZE = 160
AREA = Area(36, 124, 34, 120)


def smooth_object(strength: float = 1.0, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE)[None, :])
    fields = [np.fft.ifft2(np.fft.fft2(rng.normal(size=(SIZE, SIZE))) * np.exp(-((f / 0.06) ** 2))).real for _ in range(2)]
    amplitude, phase = (one / np.abs(one).max() for one in fields)
    return (0.8 + 0.2 * amplitude) * np.exp(1j * strength * phase)


def distorted(image: np.ndarray, shift: tuple[float, float], ramp: tuple[float, float], factor: complex) -> np.ndarray:
    """What `register` must undo: it finds this shift, this ramp and this factor."""
    rows, columns = (np.fft.fftfreq(size) for size in image.shape)
    rows, columns = rows[:, None], columns[None, :]
    moved = np.fft.ifft2(np.fft.fft2(image) * np.exp(2j * np.pi * (rows * shift[0] + columns * shift[1])))
    y, x = np.ogrid[: image.shape[0], : image.shape[1]]
    return moved * np.exp(-1j * (ramp[0] * y + ramp[1] * x)) / factor


@pytest.mark.parametrize("strength", [0.5, 6.0])
@pytest.mark.parametrize(
    ("shift", "ramp"),
    [((0.0, 0.0), (0.0, 0.0)), ((2.3, -4.6), (0.01, -0.02)), ((-6.7, 5.2), (0.5, -0.31)), ((0.5, 0.5), (2.1, -1.4))],
)
def test_shift_ramp_and_factor_are_found(strength, shift, ramp):
    truth = smooth_object(strength)
    found = register(distorted(truth, shift, ramp, 2 - 0.4j), truth, area=AREA)
    assert found.shift == pytest.approx(shift, abs=1e-3)
    assert found.ramp == pytest.approx(ramp, abs=1e-5)
    assert abs(found.factor) == pytest.approx(abs(2 - 0.4j), rel=1e-4)
    assert found.error < 1e-4
    assert np.allclose(found.aligned, truth[AREA.slices], atol=1e-3)


def test_an_object_is_equal_to_itself():
    truth = smooth_object()
    found = register(truth, truth, area=AREA)
    assert found.error < 1e-6
    assert found.shift == pytest.approx((0, 0), abs=1e-6)


def test_noise_leaves_no_more_error_than_the_noise_itself():
    truth = smooth_object(2.0)
    rng = np.random.default_rng(0)
    noise = 0.1 * (rng.normal(size=truth.shape) + 1j * rng.normal(size=truth.shape)) / np.sqrt(2)
    found = register(distorted(truth, (1.7, -3.2), (0.2, 0.1), 0.5j) + noise / 0.5, truth, area=AREA)
    expected = np.linalg.norm(noise[AREA.slices]) / np.linalg.norm(truth[AREA.slices])
    assert found.error < 1.02 * expected
    assert found.shift == pytest.approx((1.7, -3.2), abs=0.1)


def test_the_twin_is_recognised_only_when_asked():
    truth = smooth_object(1.5)
    twin = np.conj(distorted(truth, (1.2, 0.4), (0.1, 0.0), 1 + 1j)[::-1, ::-1])
    assert register(twin, truth, area=AREA).error > 0.1
    found = register(twin, truth, area=AREA, twin=True)
    assert found.twin
    assert found.error < 1e-4
    assert not register(truth, truth, area=AREA, twin=True).twin


def test_a_bound_that_is_given_holds_and_says_when_the_shift_lies_on_it():
    truth = smooth_object()
    found = register(distorted(truth, (5.0, -5.0), (0, 0), 1), truth, area=AREA, max_shift=2.0)
    assert max(map(abs, found.shift)) <= 2.0 + 1e-12
    assert found.error > 0.01
    assert found.on_bound
    assert not found.widened
    assert found.max_shift == 2.0


@pytest.mark.parametrize("area", [AREA, None])
@pytest.mark.parametrize(
    ("shift", "bound"), [((8.4, 3.0), 16), ((12.0, -9.0), 16), ((-20.5, 4.0), 32), ((3.0, 27.2), 32)], ids=str
)
def test_a_shift_beyond_the_usual_bound_widens_the_search(area, shift, bound):
    truth = smooth_object(2.0)
    rng = np.random.default_rng(1)
    noise = 0.02 * (rng.normal(size=truth.shape) + 1j * rng.normal(size=truth.shape))
    found = register(distorted(truth, shift, (0.3, -0.1), 1j) + noise, truth, area=area)
    assert found.shift == pytest.approx(shift, abs=0.02)
    assert found.error < 0.05
    assert found.widened
    assert found.max_shift == bound
    assert not found.on_bound
    assert max(found.area.shape) < SIZE - 2 * max(map(abs, shift))  # never where a border was repeated


@pytest.mark.parametrize("shift", [(7.7, -2.0), (-7.9, 7.9)])
def test_a_shift_just_within_the_usual_bound_is_found_within_it(shift):
    truth = smooth_object(2.0)
    found = register(distorted(truth, shift, (0, 0), 1), truth, area=AREA)
    assert found.shift == pytest.approx(shift, abs=1e-3)
    assert not found.widened
    assert found.max_shift == 8


def test_the_search_goes_no_further_than_the_object_reaches():
    truth = smooth_object(2.0)
    whole = Area(9, SIZE - 9, 9, SIZE - 9)
    found = register(distorted(truth, (20.0, 0.0), (0, 0), 1), truth, area=whole)
    assert max(map(abs, found.shift)) <= 9


def test_an_object_without_structure_is_no_reason_to_shift_it_far():
    rng = np.random.default_rng(2)
    flat = 1 + 1e-3 * rng.normal(size=(SIZE, SIZE))
    found = register(flat.astype(complex), smooth_object(2.0), area=AREA)
    assert not found.widened
    assert found.error > 0.1


def test_an_offset_relates_grids_of_different_size():
    truth = smooth_object()
    found = register(truth[20:150, 10:140], truth, area=AREA, offset=(20, 10))
    assert found.error < 1e-6
    assert found.offset == (20, 10)


def test_the_area_is_spanned_by_the_window_centres():
    area = centre_area(np.array([[2.0, 3.5], [10.0, 20.25], [5.0, 7.0]]), 16)
    assert area == Area(10, 19, 12, 29)
    assert area.shape == (9, 17)


def test_objects_that_do_not_overlap_are_refused():
    with pytest.raises(DataError, match="overlap"):
        register(smooth_object(), smooth_object(), area=AREA, offset=(500, 0))


def test_an_object_of_zeros_is_refused():
    with pytest.raises(DataError, match="The object is zero"):
        register(np.zeros((SIZE, SIZE)), smooth_object(), area=AREA)


LARGE = (760, 200)
INNER = Area(32, 728, 32, 168)
"""So large that shift and ramp are sought on a part of it."""


def large_object(kind: str) -> np.ndarray:
    rng = np.random.default_rng(4)
    f = np.hypot(np.fft.fftfreq(LARGE[0])[:, None], np.fft.fftfreq(LARGE[1])[None, :])
    phase = np.fft.ifft2(np.fft.fft2(rng.normal(size=LARGE)) * np.exp(-((f / 0.05) ** 2))).real
    image = np.exp(1.5j * phase / np.abs(phase).max())
    y, x = np.ogrid[: LARGE[0], : LARGE[1]]
    if kind == "empty middle":
        image[100:-100] = 1
    if kind == "periodic, but for one end":
        image[100:] = np.exp(0.5j * np.cos(2 * np.pi * y / 6) * np.cos(2 * np.pi * x / 6))[100:]
    return image


@pytest.mark.parametrize("kind", ["structure everywhere", "empty middle", "periodic, but for one end"])
def test_a_part_of_a_large_object_leads_to_what_fits_all_of_it(kind):
    truth = large_object(kind)
    rng = np.random.default_rng(5)
    noise = 0.02 * (rng.normal(size=LARGE) + 1j * rng.normal(size=LARGE))
    shift, ramp = (2.3, -4.6), (0.9, -2.1)
    found = register(distorted(truth, shift, ramp, 1) + noise, truth, area=INNER)
    assert found.shift == pytest.approx(shift, abs=0.02)
    assert found.ramp == pytest.approx(ramp, abs=1e-5)
    assert found.error < 0.03


def test_a_phase_that_drifts_across_a_large_object_is_fitted_over_all_of_it():
    truth = large_object("structure everywhere")
    drift = np.exp(0.8j * np.sin(np.arange(LARGE[0]) / 120))
    found = register(truth * drift[:, None], truth, max_shift=2)
    ramps = np.exp(1j * np.outer(np.linspace(-5e-3, 5e-3, 201), np.arange(LARGE[0])))
    weights = (np.abs(truth[found.area.slices]) ** 2).sum(axis=1)
    matched = np.abs((ramps * drift)[:, found.area.slices[0]] @ weights).max() / weights.sum()
    assert found.error < 1.01 * np.sqrt(1 - matched**2)


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_what_is_found_is_the_minimum(noise):
    """No shift or ramp nearby leaves less: the values do not depend on when the steps end."""
    truth = smooth_object(2.0)
    rng = np.random.default_rng(6)
    moving = distorted(truth, (1.3, -0.6), (0.2, 0.1), 1)
    moving += noise * (rng.normal(size=truth.shape) + 1j * rng.normal(size=truth.shape))
    found = register(moving, truth, area=AREA)
    target = truth[AREA.slices]

    def left(shift, ramp):
        flat = Frame(moving, AREA, (0, 0)).flattened((1, -1), np.array(found.ramp))
        image = flat.image(np.array(found.shift) + shift - [1, -1], np.array(ramp))
        return float(np.sqrt(1 - abs(np.vdot(image, target)) ** 2 / squared_norm(image) / squared_norm(target)))

    centre = left((0, 0), (0, 0))
    assert centre == pytest.approx(found.error, abs=1e-7)  # the ramp put on before the shift may differ by 1e-5
    for step in ((1e-2, 0), (0, 1e-2), (-1e-2, 1e-2)):
        for sign in (1, -1):
            assert left(sign * np.array(step), (0, 0)) > centre
            assert left((0, 0), sign * np.array(step) / 20) > centre
    slope = (left((1e-3, 0), (0, 0)) - left((-1e-3, 0), (0, 0))) / 2e-3
    curvature = (left((1e-2, 0), (0, 0)) + left((-1e-2, 0), (0, 0)) - 2 * centre) / 1e-4
    assert abs(slope / curvature) < 1e-3  # pixels from where the error is least along the rows


def test_noise_costs_no_steps(monkeypatch):
    """With the curvature of the noisy image alone the steps are too short, and dozens are needed."""
    taken = []
    original = refinement._normal_equations  # counted, not replaced
    monkeypatch.setattr(refinement, "_normal_equations", lambda *given: taken.append(1) or original(*given))
    truth = smooth_object(2.0)
    rng = np.random.default_rng(7)
    noise = 0.3 * (rng.normal(size=truth.shape) + 1j * rng.normal(size=truth.shape))
    register(distorted(truth, (0.4, -0.3), (0.01, 0.0), 1) + noise, truth, area=AREA, max_shift=1)
    assert len(taken) <= 20
