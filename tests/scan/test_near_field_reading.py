"""A scan in the near field as it is read: what it needs, its pixels, another size, and what is doubted."""

import numpy as np
import pytest

from ptycho_core.errors import DataError, SettingsError
from ptycho_core.formats.opening import open_scan
from ptycho_core.physics import near_field
from ptycho_core.physics.forward import intensities
from ptycho_core.scan.plausibility import find_doubts
from ptycho_core.settings import data
from ptycho_core.simulate import simulate_scan


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    made = simulate_scan(regime="near", object="random-lines", frames=36, step=10.0)
    return made.write(tmp_path_factory.mktemp("near") / "scan.npz")


def test_the_words_are_those_of_the_physics():
    assert data.PROPAGATORS == near_field.PROPAGATORS


def test_the_window_gets_a_margin_and_the_pixel_stays(path):
    plain, wide = open_scan(path, {"margin": 0}), open_scan(path)
    assert (plain.size, wide.size, wide.margin) == (64, 80, 8)
    assert wide.object_pixel_m == plain.object_pixel_m == 0.65e-6
    assert not wide.mask[:8].any()
    assert wide.mask[8:-8, 8:-8].all()
    np.testing.assert_allclose(wide.positions, plain.positions - 8)
    np.testing.assert_array_equal(wide.probe[:, 8:-8, 8:-8], plain.probe)
    assert open_scan(path, {"size": 96}).margin == 16
    np.testing.assert_allclose(open_scan(path, {"size": 48, "margin": 0}).positions, plain.positions + 8)


def test_bin_makes_larger_pixels(path):
    """Patterns of a model that is smooth over two pixels are those of its binned parts."""
    plain, binned = open_scan(path, {"margin": 0}), open_scan(path, {"margin": 0, "bin": 2})
    assert binned.object_pixel_m == 2 * plain.object_pixel_m
    np.testing.assert_allclose(binned.positions, plain.positions / 2)
    whole = intensities(np.ones((200, 200)), plain.probe, np.full((1, 2), 20.0), way=plain.propagation)[0]
    small = intensities(np.ones((100, 100)), binned.probe, np.full((1, 2), 10.0), way=binned.propagation)[0]
    added = whole.reshape(32, 2, 32, 2).sum(axis=(1, 3))
    wrong, inner = small - added, (slice(6, -6), slice(6, -6))
    assert np.sqrt((wrong[inner] ** 2).mean()) < 0.15 * added.mean()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"regime": "far", "margin": 4}, "margin acts in the near field"),
        ({"regime": "far", "propagator": "fresnel"}, "propagator acts in the near field"),
        ({"probe": "aperture:30"}, "aperture:30 is a beam as a detector in the far field sees it"),
    ],
)
def test_settings_that_do_not_fit_are_refused(path, asked, words):
    with pytest.raises(SettingsError, match=words):
        open_scan(path, asked)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"focus_to_sample_m": 1e-9}, "magnify 1e[+]08 times"),
        ({"object_pixel_m": 1e-6}, "an object pixel of 1e-06 m is stated"),
    ],
)
def test_lengths_that_cannot_be_are_refused(path, asked, words):
    with pytest.raises(DataError, match=words):
        open_scan(path, asked)


def test_a_geometry_that_is_missing_is_named(tmp_path):
    np.savez(tmp_path / "s.npz", intensity=np.ones((3, 8, 8), np.uint16), positions_px=np.eye(3, 2), regime="near")
    with pytest.raises(DataError, match="the near field needs photon energy, distance and detector pixel") as caught:
        open_scan(tmp_path / "s.npz", {"photon_energy_ev": 1e4})
    assert "--detector-distance-m and --detector-pixel-size-m" in caught.value.remedy


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        ({}, set()),
        ({"orientation": "flip-rows"}, {"orientation"}),
        ({"regime": "far"}, {"regime", "probe"}),
        ({"detector_distance_m": 10.0}, {"sampling"}),
    ],
)
def test_doubts(path, asked, kinds):
    assert {one.kind for one in find_doubts(open_scan(path, asked))} == kinds


def test_pixels_that_are_not_square_are_refused(path, tmp_path):
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(tmp_path / "wide.npz", **arrays, detector_pixel_width_m=2 * arrays["detector_pixel_size_m"])
    with pytest.raises(DataError, match=r"6\.5e-07 by 1\.3e-06 m; the near field is computed with square ones"):
        open_scan(tmp_path / "wide.npz")
