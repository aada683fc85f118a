"""Files made by hand, each number another one: the conversions of ``specs/scan-data.md`` against numbers written here."""

import numpy as np
import pytest

from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.product import StoredObject
from ptycho_core.scan.scan import scaled_probe
from ptycho_core.scan.size import followed_object, followed_probe

FRAMES = 4


def numbers(*shape, first=1):
    """Whole numbers that are all different: neither turned nor transposed nor in another order is it the same."""
    return np.arange(first, first + np.prod(shape)).reshape(shape)


def pinn(size, **changes):
    """The layout of PtychoPINN with amplitudes; row of frame k is 40 + k, column 60 + 2 k, at the window's centre."""
    frames = np.arange(FRAMES)
    return {
        "diffraction": numbers(FRAMES, size, size).astype(np.float32),
        "ycoords": 40.0 + frames,
        "xcoords": 60.0 + 2 * frames,
        "probeGuess": numbers(2, size, size) + 1j,
        "objectGuess": numbers(90, 95) + 2j,
    } | changes


def opened(path, values, **settings):
    np.savez(path / "scan.npz", **values)
    return open_scan(path / "scan.npz", settings)


@pytest.mark.parametrize("size", [7, 8])
def test_a_pinn_file_says_where_the_centre_is_and_holds_amplitudes(size, tmp_path):
    scan = opened(tmp_path, pinn(size))
    half = {7: 3, 8: 4}[size]
    frames = np.arange(FRAMES)
    assert np.array_equal(scan.positions, np.stack([40 + frames - half, 60 + 2 * frames - half], axis=1))
    assert np.array_equal(scan.patterns.read(np.array([2])), numbers(FRAMES, size, size)[[2]] ** 2)
    assert np.array_equal(scan.probe, numbers(2, size, size) + 1j)
    assert np.array_equal(scan.object_guess, numbers(90, 95) + 2j)
    assert (scan.signal, scan.probe_scaled, scan.counts_factor) == ("amplitude", False, 1)


def test_old_files_count_frames_along_the_last_axis_and_rows_along_the_first(tmp_path):
    stored = numbers(8, 8, FRAMES).astype(np.float32)
    scan = opened(tmp_path, pinn(8, diffraction=stored))
    assert scan.patterns.read(slice(None))[3, 2, 5] == stored[2, 5, 3] ** 2


def test_a_mask_of_rows_and_columns_hides_what_it_says(tmp_path):
    mask = np.ones((8, 8), np.uint8)
    mask[1, 6] = mask[5, 2:4] = 0
    scan = opened(tmp_path, pinn(8, mask=255 * mask))
    assert np.argwhere(~scan.mask).tolist() == [[1, 6], [5, 2], [5, 3]]
    counts = scan.patterns.read(np.array([1]))[0]
    assert np.argwhere(counts == 0).tolist() == [[1, 6], [5, 2], [5, 3]]


def test_units_are_electron_volts_and_metres_and_settings_go_first(tmp_path):
    values = pinn(8, photon_energy_eV=8000.0, detector_distance_m=2.0, detector_pixel_size_m=75e-6)
    geometry = opened(tmp_path, values).geometry
    assert (geometry.photon_energy_ev, geometry.detector_distance_m, geometry.detector_pixel_size_m) == (8000, 2, 75e-6)
    # 12.398419843 keV are one angstrom; a pixel is wavelength times distance over the width of the detector
    assert geometry.wavelength_m == pytest.approx(1e-10 * 12398.419843320026 / 8000, rel=1e-12)
    scan = opened(tmp_path, values, detector_distance_m=1.0)
    assert scan.object_pixel_m == pytest.approx(1.5498024804150033e-10 * 1.0 / (8 * 75e-6), rel=1e-12)
    scan = opened(tmp_path, values, detector_distance_m=1.0, size=4)
    assert scan.object_pixel_m == pytest.approx(1.5498024804150033e-10 * 1.0 / (4 * 75e-6), rel=1e-12)


@pytest.mark.parametrize("key", ["photons", "nphotons"])
def test_stated_photons_are_the_mean_of_what_good_pixels_count(key, tmp_path):
    mask = np.ones((8, 8), bool)
    mask[0, 3] = False
    scan = opened(tmp_path, pinn(8, mask=mask, **{key: 500.0}))
    stored = np.where(mask, numbers(FRAMES, 8, 8).astype(float) ** 2, 0)
    assert scan.counts_factor == pytest.approx(500 / (stored.sum() / FRAMES), rel=1e-6)
    assert scan.patterns.read(slice(None)) == pytest.approx(stored * scan.counts_factor, rel=1e-6)
    assert opened(tmp_path, pinn(8, **{key: 500.0}), photons=250.0).patterns.read(slice(None)).sum() == pytest.approx(1000)


@pytest.mark.parametrize(("stated", "scaled"), [(True, True), (False, False), (None, False)])
def test_a_probe_is_in_counts_where_the_file_says_yes(stated, scaled, tmp_path):
    probe = numbers(1, 8, 8) * (1 + 1j)
    values = {"intensity": numbers(FRAMES, 8, 8), "positions_px": numbers(FRAMES, 2), "probe_guess": probe}
    scan = opened(tmp_path, values if stated is None else values | {"probe_in_counts": stated})
    assert scan.probe_scaled is scaled
    assert np.array_equal(scan.positions, [[1, 2], [3, 4], [5, 6], [7, 8]])
    twice = opened(tmp_path, values | {"probe_in_counts": True}, photons=2.0 * 64 * (1 + 256) / 2)
    assert twice.probe == pytest.approx(probe * np.sqrt(2), rel=1e-6)


def test_a_probe_of_no_stated_scale_gives_the_mean_counts_in_the_good_pixels_of_an_empty_object(tmp_path):
    mask = np.ones((8, 8), bool)
    mask[4, 4] = mask[4, 5] = False  # where this probe sends most
    scan = opened(tmp_path, pinn(8, mask=mask))
    probe, factor = scaled_probe(scan)
    far = np.fft.fftshift(np.fft.fft2(probe, norm="ortho"), axes=(1, 2))
    stored = np.where(mask, numbers(FRAMES, 8, 8).astype(float) ** 2, 0)
    assert (np.abs(far) ** 2).sum(axis=0)[mask].sum() == pytest.approx(stored.sum() / FRAMES, rel=1e-9)
    assert np.allclose(probe, (numbers(2, 8, 8) + 1j) * factor, rtol=1e-12)


@pytest.mark.parametrize(("before", "size", "first"), [(8, 4, 2), (8, 5, 2), (7, 4, 1), (7, 5, 1), (8, 3, 3)])
def test_a_smaller_size_keeps_zero_frequency_in_its_pixel_and_each_centre_in_its_place(before, size, first, tmp_path):
    scan = opened(tmp_path, pinn(before), size=size)
    stored = numbers(FRAMES, before, before) ** 2
    assert np.array_equal(scan.patterns.read(slice(None)), stored[:, first : first + size, first : first + size])
    centres = np.stack([40.0 + np.arange(FRAMES), 60.0 + 2 * np.arange(FRAMES)], axis=1)
    assert scan.positions == pytest.approx(centres * size / before - size // 2)
    far = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(numbers(2, before, before) + 1j, axes=(1, 2)), norm="ortho"), axes=(1, 2))
    kept = far[:, first : first + size, first : first + size]
    found = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(scan.probe, axes=(1, 2)), norm="ortho"), axes=(1, 2))
    assert np.abs(found - kept).max() < 1e-9 * np.abs(kept).max()
    assert np.array_equal(followed_probe(scan.probe, before, size), scan.probe)  # one of the new size stays as it is


def test_an_object_with_its_probe_follows_with_its_place_and_its_pixel(tmp_path):
    scan = opened(tmp_path, pinn(8), size=4)
    stored = StoredObject(
        numbers(90, 95) + 0j, numbers(1, 8, 8) + 0j, np.array([[20.0, 30.0]]), np.array([6.0, -2.0]), pixel_size_m=(1e-8, 2e-8)
    )
    found = followed_object(scan, stored, "other.npz", own=False)
    assert found.probe.shape == (1, 4, 4)
    assert np.array_equal(found.positions, [[(20 + 4) / 2 - 2, (30 + 4) / 2 - 2]])
    assert np.array_equal(found.origin, [3.0, -1.0])
    assert found.pixel_size_m == pytest.approx((2e-8, 4e-8))
