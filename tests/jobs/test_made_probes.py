"""What a probe is made of: what the user states of the beam, and the mean pattern."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho_core.errors import DataError, SettingsError
from ptycho_core.formats.opening import open_scan
from ptycho_core.orientation import ORIENTATIONS
from ptycho_core.physics.pupil import Pupil, edge_phase, focus_distance
from ptycho_core.reconstruction.curvature import Curve, phases
from ptycho_core.scan.canvas import probe_width
from ptycho_core.settings.data import Defocus, MadeProbe, file_of, made_probe, probe_defocus

METRES = {"photon_energy_ev": 8000.0, "detector_distance_m": 2.0, "detector_pixel_size_m": 75e-6}


def test_a_probe_out_of_focus_is_as_wide_as_geometric_optics_says() -> None:
    pupil = Pupil.of_aperture(128, 40)
    for phase in (-80.0, 80.0):
        geometric = 2 * 4 * abs(phase) * 20 / (np.pi * 128)
        assert probe_width(pupil.probe(phase)) == pytest.approx(geometric, rel=0.1)
    assert pupil.edge == pytest.approx(0.95 * 20, abs=1)
    middle = np.argwhere(np.abs(Pupil.of_aperture(128, 40).probe(0.0)[0]) > 0.9 * np.abs(pupil.probe(0.0)).max())
    np.testing.assert_allclose(middle.mean(axis=0), 64, atol=0.6)


def test_a_diverging_wave_has_the_phase_of_a_sample_behind_the_focus() -> None:
    wavelength, pixel, distance, size = 1.5e-10, 1e-8, 2e-4, 512
    x = (np.arange(size) - size // 2) * pixel
    squared = x[:, None] ** 2 + x**2
    wave = np.exp(1j * np.pi * squared / (wavelength * distance) - squared / 4e-13)
    far = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(wave)))
    along = np.unwrap(np.angle(far[size // 2, size // 2 : size // 2 + 20]))
    expected = edge_phase(distance, wavelength, pixel) * (np.arange(20) / (size / 2)) ** 2
    np.testing.assert_allclose(along - along[0], expected, atol=0.05)
    assert focus_distance(edge_phase(distance, wavelength, pixel), wavelength, pixel) == pytest.approx(distance)


def test_bad_pixels_take_the_light_of_their_ring() -> None:
    light = Pupil.of_aperture(32, 16).amplitude ** 2
    mask = np.ones((32, 32), dtype=bool)
    mask[14:17, 10:13] = False
    found = Pupil.of_patterns(np.where(mask, light, 0), mask).amplitude
    np.testing.assert_allclose(found[~mask], 1, atol=0.15)


def test_phases_of_both_signs_reach_as_far_as_the_window() -> None:
    pupil = Pupil.of_aperture(64, 24)
    tried = phases(pupil)
    np.testing.assert_allclose(tried, -tried[::-1])
    widest = 4 * tried[-1] * pupil.edge / (np.pi * 64)
    assert 0.45 * 64 <= widest < 0.6 * 64
    assert len(phases(pupil, 2.0)) < 0.7 * len(tried)


def test_the_margin_is_that_outside_of_the_valley() -> None:
    curve = Curve(np.arange(7.0), np.array([0.4, 0.3, 0.4, 0.21, 0.2, 0.21, 0.4]))
    assert curve.best == 4
    assert curve.margin == pytest.approx(0.5)
    assert Curve(np.arange(3.0), np.full(3, 0.2)).margin == pytest.approx(0.0)


@pytest.mark.parametrize("first", ORIENTATIONS)
def test_orientations_one_after_the_other_are_one(first: str) -> None:
    points = np.array([[1.0, 2.0], [-3.0, 5.0]])
    for then in ORIENTATIONS.values():
        both = then.after(ORIENTATIONS[first])
        np.testing.assert_array_equal(both.of_points(points), then.of_points(ORIENTATIONS[first].of_points(points)))
        assert ORIENTATIONS[both.name] == both
        assert both.mirrors == (np.linalg.det(both.of_points(np.eye(2))) < 0)


def test_what_is_stated_of_a_probe_is_understood(tmp_path: Path) -> None:
    assert made_probe("auto") == MadeProbe("auto")
    assert made_probe("disk:40") == MadeProbe("disk", (40.0,))
    assert made_probe("aperture:60,20px") == MadeProbe("aperture", (60.0, 20.0))
    assert made_probe("zone-plate:180um,50nm") == MadeProbe("zone-plate", (pytest.approx(180e-6), pytest.approx(50e-9)))
    assert made_probe("probe.npy") is None
    assert file_of("probe", "disk:40") is None
    assert file_of("probe", "probe.npy") == Path("probe.npy")
    assert probe_defocus("-350um") == Defocus(pytest.approx(-350e-6), in_radians=False)
    assert probe_defocus("3e1 rad") == Defocus(30.0, in_radians=True)


@pytest.mark.parametrize(
    "wrong", ["disk:", "disk:4,5", "disk:-4", "disk:4um", "aperture:60,20,1", "zone-plate:180,50", "aperture:x"]
)
def test_what_cannot_be_a_probe_says_how_it_is_written(wrong: str) -> None:
    with pytest.raises(SettingsError, match="such as"):
        made_probe(wrong)


@pytest.mark.parametrize("wrong", ["30", "30px", "30kg", "far"])
def test_what_cannot_be_a_defocus_says_how_it_is_written(wrong: str) -> None:
    with pytest.raises(SettingsError, match="350um"):
        probe_defocus(wrong)


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a defocus of the file's own probe": ({"probe_defocus": "3rad"}, SettingsError, "--probe auto"),
    "a defocus of a disc": ({"probe": "disk:9", "probe_defocus": "3rad"}, SettingsError, "no defocus"),
    "a disc wider than the window": ({"probe": "disk:99"}, SettingsError, "32 pixels"),
    "a length without geometry": ({"probe": "aperture:9", "probe_defocus": "3um"}, DataError, "--photon-energy-ev"),
    "a zone plate without geometry": ({"probe": "zone-plate:90um,50nm"}, DataError, "--photon-energy-ev"),
    "a zone plate in wrong units": ({"probe": "zone-plate:180um,50um", **METRES}, SettingsError, "units"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused(what: str, scan: Callable[..., Path]) -> None:
    settings, error, words = REFUSED[what]
    with pytest.raises(error, match=words):
        open_scan(scan(probe_guess=np.ones((32, 32), dtype=complex)), settings)


def test_a_stated_beam_becomes_a_probe_on_opening(scan: Callable[..., Path]) -> None:
    path = scan(probe_guess=np.ones((32, 32), dtype=complex))
    disk = open_scan(path, {"probe": "disk:9"})
    assert disk.probe is not None
    assert probe_width(disk.probe) == pytest.approx(9, abs=0.5)
    pixel = open_scan(path, METRES).object_pixel_m
    assert pixel is not None
    zone = 32 * pixel / 12.8  # the image of the scan's aperture is 12.8 pixels wide
    plate = open_scan(path, {"probe": f"zone-plate:1e-4m,{zone}m", "probe_defocus": "-28rad", **METRES})
    same = open_scan(path, {"probe": "aperture:12.8", "probe_defocus": "-28rad"})
    assert plate.probe is not None
    assert same.probe is not None
    np.testing.assert_allclose(plate.probe, same.probe, atol=1e-6)
    assert open_scan(path, {"probe": "auto"}).probe is None
    assert "Probe: auto, as the settings state." in open_scan(path, {"probe": "auto"}).notes
