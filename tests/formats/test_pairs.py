"""Pairs ``*_dp.hdf5`` and ``*_para.hdf5``, one program's transposed and the other's not; and what PtychoShelves has prepared."""

import h5py
import numpy as np
import pytest
from small_files import object_of, write
from small_scan import FRAMES, PIXEL, SIZE, WAVELENGTH, SmallScan, assert_same

from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan, opened

SMALL = SmallScan()
IMAGE, CENTER = object_of(SMALL)
MIDDLES = (SMALL.positions + (SIZE - 1) / 2 - (np.array(IMAGE.shape[1:]) - 1) / 2) * PIXEL + CENTER
OBJECT = {("object", f"pixel_{side}_m"): PIXEL for side in ("width", "height")} | {
    ("object", "center_x_m"): CENTER[1], ("object", "center_y_m"): CENTER[0],
}  # fmt: skip


def of_vit(folder, changes=None, attributes=None):
    """As ptycho-vit and the examples of pty-chi have it: frames as they are, names of ptychodus."""
    write(folder / "scan_1_dp.hdf5", {"dp": SMALL.counts.astype(np.float32)})
    values = {
        "object": IMAGE, "probe": np.ones((3, 1, SIZE, SIZE), np.complex64), "probe_position_x_m": MIDDLES[:, 1],
        "probe_position_y_m": MIDDLES[:, 0],
    }  # fmt: skip
    write(folder / "scan_1_para.hdf5", values | (changes or {}), OBJECT if attributes is None else attributes)
    return folder / "scan_1_dp.hdf5", folder / "scan_1_para.hdf5"


def of_fold_slice(folder, **changes):
    write(folder / "data_roi0_dp.hdf5", {"dp": SMALL.counts.transpose(0, 2, 1)})
    values = {"ppX": -SMALL.metres[:, 1], "ppY": -SMALL.metres[:, 0], "lambda": [[WAVELENGTH]], "dx": [[PIXEL]]}
    write(folder / "data_roi0_para.hdf5", values | changes)
    return folder / "data_roi0_dp.hdf5"


def test_the_two_are_told_apart_by_their_content(tmp_path):
    for given in (*of_vit(tmp_path), of_fold_slice(tmp_path)):
        opening = opened(given)
        assert_same(opening.scan, SMALL)
        assert opening.form.name == ("ptychodus" if "scan_1" in given.name else "foldslice")
    assert opened(tmp_path / "scan_1_dp.hdf5").scan.probe.shape == (3, SIZE, SIZE)


@pytest.mark.parametrize("stated", ["sets", "attributes", "probe"])
def test_the_scale_of_a_pair_may_stand_elsewhere(stated, tmp_path):
    told = {"dx": PIXEL, "lambda": WAVELENGTH}
    if stated == "sets":
        path, _ = of_vit(tmp_path, told, {})
    elif stated == "attributes":
        path, _ = of_vit(tmp_path, {}, {("/", name): value for name, value in told.items()})
    else:
        path, _ = of_vit(tmp_path, {}, {("probe", f"pixel_{side}_m"): PIXEL for side in ("width", "height")})
    scan = open_scan(path)
    assert_same(scan, SMALL)
    assert scan.object_pixel_m == pytest.approx(PIXEL)


def test_numbers_of_positions_pair_frames_that_have_none(tmp_path):
    order = np.random.default_rng(1).permutation(FRAMES)[:9]
    changes = {"probe_position_indexes": order, "probe_position_x_m": MIDDLES[order, 1], "probe_position_y_m": MIDDLES[order, 0]}
    scan = open_scan(of_vit(tmp_path, changes)[0])
    assert_same(scan, SMALL, frames=np.sort(order))
    lacking = np.setdiff1d(np.arange(FRAMES), order)
    assert any(f"left out (number {lacking[0]}, {lacking[1]}, {lacking[2]})" in note for note in scan.notes)


def test_a_scan_of_the_near_field_is_refused(tmp_path):
    path, _ = of_vit(tmp_path, {}, OBJECT | {("/", "far_field"): False})
    with pytest.raises(DataError, match="'far_field' is False: the scan is of the near field"):
        open_scan(path)


def test_a_folder_with_one_pair_is_a_scan(tmp_path):
    of_fold_slice(tmp_path)
    assert_same(open_scan(tmp_path), SMALL)
    write(tmp_path / "data_roi1_dp.hdf5", {"dp": SMALL.counts})
    with pytest.raises(DataError, match=r"2 files of frames: data_roi0_dp\.hdf5, data_roi1_dp\.hdf5"):
        open_scan(tmp_path)


@pytest.mark.parametrize("changes", [{"dx": [[PIXEL * 1e10]]}, {"lambda": [[WAVELENGTH * 1e10]]}], ids=["pixel", "wavelength"])
def test_lengths_of_fold_slice_may_be_in_angstrom(changes, tmp_path):
    scan = open_scan(of_fold_slice(tmp_path, **changes))
    assert_same(scan, SMALL)
    assert any("ngstrom" in note or "read as A" in note for note in scan.notes)


def prepared(path, **changes):
    """As ``prep_h5data`` of PtychoShelves writes it: counts, shifted; positions in whole pixels."""
    small = SmallScan(positions=np.rint(SMALL.positions))
    values = {
        "measurement/n0/data": np.fft.fftshift(small.counts, axes=(1, 2)).astype(np.float32),
        "measurement/n0/positions": small.positions.astype(np.uint32),
        "detector/n0/modules": np.array([[SIZE, SIZE - 4, 0, 0], [SIZE, 4, 0, SIZE - 4]], np.uint32),
        "detector/n0/bad_pixels": np.array([[1, 2]], np.uint32), "objects": np.array([[70, 50]], np.uint64),
    }  # fmt: skip
    return write(path, values | changes, {("/", "format"): 2.0, ("measurement/n0", "detector"): np.uint32(0)}), small


def test_a_prepared_scan_is_read(tmp_path):
    path, small = prepared(tmp_path / "S00001_data_016x016.h5")
    scan = open_scan(path)
    assert_same(scan, small)
    assert np.argwhere(~scan.mask).tolist() == [[9, 10]]  # [1, 2], shifted to the middle


def test_another_scan_of_prepared_data_is_chosen(tmp_path):
    path, small = prepared(tmp_path / "a.h5", **{"detector/n0/modules": np.zeros((0, 4), np.uint32)})
    with h5py.File(path, "r+") as file:
        file.copy("measurement/n0", "measurement/n1")
        file["measurement/n1/data"][...] = file["measurement/n0/data"][...][::-1]
    assert any("Scans: 'measurement/n0' is read; there are 2" in note for note in open_scan(path).notes)
    small.counts = small.counts[::-1]
    assert_same(open_scan(path, {"dataset": "measurement/n1"}), small)


def test_a_bad_pixel_outside_of_the_frames_is_refused(tmp_path):
    path, _ = prepared(tmp_path / "a.h5", **{"detector/n0/bad_pixels": np.array([[1, SIZE]])})
    with pytest.raises(DataError, match=r"bad_pixels', shape \(1, 2\), names pixels outside of 16 x 16"):
        open_scan(path)
