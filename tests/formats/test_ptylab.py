"""Scans of PtyLab."""

import h5py
import numpy as np
import pytest
from small_files import ptylab
from small_scan import DISTANCE, ENERGY, FRAMES, PITCH, PIXEL, SIZE, WAVELENGTH, SmallScan, assert_same

from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.product import read_object, read_probe


def test_a_scan_of_ptylab_is_read(tmp_path):
    small = SmallScan()
    scan = open_scan(ptylab(tmp_path / "a.hdf5", small))
    assert_same(scan, small)
    assert scan.format == "PtyLab"
    assert scan.probe is None
    assert scan.object_pixel_m == pytest.approx(PIXEL)
    assert scan.geometry.photon_energy_ev == pytest.approx(ENERGY)


@pytest.mark.parametrize("code", range(8))
def test_the_orientation_is_applied_on_reading(code, tmp_path):
    """The inverse of: 1 flips columns, 2 rows, 3 both, 4 swaps, 4 + i swaps and then does i."""
    small = SmallScan()
    stored = small.counts
    stored = stored[:, ::-1] if code & 2 else stored
    stored = stored[:, :, ::-1] if code & 1 else stored
    stored = stored.swapaxes(1, 2) if code & 4 else stored
    assert_same(open_scan(ptylab(tmp_path / "a.hdf5", small, ptychogram=stored, orientation=code)), small)


def test_an_encoder_of_matlab_lies_the_other_way(tmp_path):
    small = SmallScan()
    assert_same(open_scan(ptylab(tmp_path / "a.hdf5", small, encoder=small.metres.T)), small)


def test_a_code_that_is_none_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"'orientation' is 9"):
        open_scan(ptylab(tmp_path / "a.hdf5", SmallScan(), orientation=9))


def result(path, **changes):
    """As ``saveResults`` of PtyLab writes it: six axes, no frames."""
    rng = np.random.default_rng(2)
    values = {
        "object": (rng.normal(size=(1, 1, 1, 1, 61, 61)) + 1j).astype(np.complex64),
        "probe": (rng.normal(size=(1, 1, 3, 1, SIZE, SIZE)) + 1j).astype(np.complex64),
        "dxp": np.float32(PIXEL), "zo": np.float32(DISTANCE), "wavelength": np.float32(WAVELENGTH),
        "encoder_corrected": (SmallScan().positions - 20) * PIXEL,
    } | changes  # fmt: skip
    with h5py.File(path, "w") as file:
        for key, value in values.items():
            if value is not None:
                file[key] = value
    return path, values


def test_a_result_is_read(tmp_path):
    path, values = result(tmp_path / "a.hdf5")
    found = read_object(path)
    np.testing.assert_array_equal(found.object, values["object"][0, 0, 0, 0])
    np.testing.assert_array_equal(found.probe, values["probe"][0, 0, :, 0])
    np.testing.assert_array_equal(found.positions, np.rint(SmallScan().positions - 20) + 61 // 2 - SIZE // 2)
    assert found.pixel_size_m == pytest.approx((PIXEL, PIXEL))
    np.testing.assert_array_equal(read_probe(path), found.probe)


def test_of_several_wavelengths_the_first_is_taken(tmp_path):
    path, _ = result(tmp_path / "a.hdf5", object=np.ones((2, 1, 1, 1, 61, 61), complex))
    found = read_object(path)
    assert found.object.shape == (61, 61)
    assert any("of 2 wavelengths and modes" in note for note in found.notes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"object": np.ones((1, 1, 1, 4, 61, 61), complex)}, "one layer"),
        ({"dxp": 0.0}, "'dxp' must be a length above 0 m"),
        ({"encoder_corrected": np.ones((FRAMES, 3))}, rf"'encoder_corrected' has shape \({FRAMES}, 3\)"),
    ],
)
def test_wrong_results_are_named(changes, told, tmp_path):
    with pytest.raises(DataError, match=told):
        read_object(result(tmp_path / "a.hdf5", **changes)[0])


def test_scalars_of_matlab_are_arrays_too(tmp_path):
    small = SmallScan()
    scalars = {"wavelength": [[WAVELENGTH]], "dxd": [[PITCH]], "zo": [[DISTANCE]], "orientation": [[0]]}
    assert_same(open_scan(ptylab(tmp_path / "a.hdf5", small, **scalars)), small)
