"""Scans of tike, whose object is a start and a result too."""

import numpy as np
import pytest
from small_scan import DISTANCE, ENERGY, FRAMES, PITCH, PIXEL, SIZE, SmallScan, assert_same

from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.product import read_object, read_probe

RNG = np.random.default_rng(3)
PROBE = (RNG.normal(size=(1, 1, 2, SIZE, SIZE)) + 1j).astype(np.complex64)
PSI = (RNG.normal(size=(1, 62, 42)) + 1j).astype(np.complex64)


def write(path, small, **changes):
    values = {
        "data": np.fft.ifftshift(small.counts, axes=(1, 2)), "scan": (small.positions + 1).astype(np.float32), "probe": PROBE,
        "psi": PSI,
    } | changes  # fmt: skip
    np.savez(path, **{key: value for key, value in values.items() if value is not None})
    return path


def test_a_scan_of_tike_is_read(tmp_path):
    """Zero frequency comes from the corner to the middle."""
    small = SmallScan()
    scan = open_scan(write(tmp_path / "a.npz", small))
    assert_same(scan, small, within=1e-5)
    np.testing.assert_array_equal(scan.probe, PROBE[0, 0])
    np.testing.assert_array_equal(scan.object_guess, PSI[0])
    assert scan.object_pixel_m is None


def test_geometry_is_given_by_the_user(tmp_path):
    asked = {"photon_energy_ev": ENERGY, "detector_distance_m": DISTANCE, "detector_pixel_size_m": PITCH}
    assert open_scan(write(tmp_path / "a.npz", SmallScan()), asked).object_pixel_m == pytest.approx(PIXEL)


def test_axes_of_one_before_frames_and_positions_do_not_count(tmp_path):
    """As tike's versions before 0.20 store several views."""
    small = SmallScan()
    stored = np.fft.ifftshift(small.counts, axes=(1, 2))[np.newaxis]
    path = write(tmp_path / "a.npz", small, data=stored, scan=small.positions[np.newaxis], probe=PROBE[np.newaxis])
    assert_same(open_scan(path), small)


@pytest.mark.parametrize("size", [SIZE - 1, SIZE])
def test_frames_of_odd_size_are_shifted_right(size, tmp_path):
    small = SmallScan()
    small.counts = small.counts[:, :size, :size]
    assert_same(open_scan(write(tmp_path / "a.npz", small, probe=None)), small, within=1e-5)


def test_a_probe_that_varies_is_told(tmp_path):
    scan = open_scan(write(tmp_path / "a.npz", SmallScan(), probe=np.repeat(PROBE, FRAMES, axis=0)))
    assert scan.probe.shape == (2, SIZE, SIZE)
    assert any(f"the first of {FRAMES} is taken" in note for note in scan.notes)


def test_the_object_is_a_result(tmp_path):
    small = SmallScan()
    path = write(tmp_path / "a.npz", small)
    found = read_object(path)
    np.testing.assert_array_equal(found.object, PSI[0])
    np.testing.assert_array_equal(found.probe, PROBE[0, 0])
    np.testing.assert_allclose(found.positions, small.positions + 1, atol=1e-5)
    np.testing.assert_array_equal(read_probe(path), PROBE[0, 0])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data": np.ones((2, 3, 4, 5))}, r"'data' has shape \(2, 3, 4, 5\)"),
        ({"scan": np.ones((FRAMES, 3))}, rf"'scan' has shape \({FRAMES}, 3\)"),
        ({"scan": np.ones((FRAMES - 1, 2))}, rf"{FRAMES - 1} positions"),
        ({"probe": np.ones(SIZE)}, r"'probe' has shape"),
        ({"psi": np.ones((1, 9, 9), np.int64)}, r"'psi' has shape \(1, 9, 9\)"),
    ],
)
def test_wrong_shapes_are_named(changes, told, tmp_path):
    with pytest.raises(DataError, match=told):
        open_scan(write(tmp_path / "a.npz", SmallScan(), **changes))
