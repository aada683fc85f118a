"""Known shifts, ramps, factors and twins are applied to an object and must be found and removed."""

from __future__ import annotations

import numpy as np
import pytest

from ptycho_core.errors import DataError
from ptycho_core.imaging.area import Area, centre_area
from ptycho_core.imaging.registration import register

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
    rows, columns = np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE)[None, :]
    moved = np.fft.ifft2(np.fft.fft2(image) * np.exp(2j * np.pi * (rows * shift[0] + columns * shift[1])))
    y, x = np.mgrid[:SIZE, :SIZE]
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


def test_the_shift_never_exceeds_its_bound():
    truth = smooth_object()
    found = register(distorted(truth, (5.0, -5.0), (0, 0), 1), truth, area=AREA, max_shift=2.0)
    assert max(map(abs, found.shift)) <= 2.0 + 1e-12
    assert found.error > 0.01


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
