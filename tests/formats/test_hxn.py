"""Scans of NSLS-II HXN: of ptycho_gui (amplitudes, shifted and turned) and of holoptycho (counts)."""

import h5py
import numpy as np
import pytest
from small_scan import DISTANCE, ENERGY, FRAMES, PITCH, PIXEL, SIZE, WAVELENGTH, SmallScan, assert_same

from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan


def write(path, **values):
    scalars = {"lambda_nm": WAVELENGTH * 1e9, "z_m": DISTANCE, "ccd_pixel_um": PITCH * 1e6, "angle": 0.0}
    with h5py.File(path, "w") as file:
        for key, value in (scalars | values).items():
            if value is not None:
                file[key] = value
    return path


def gui(path, small, **changes):
    """As ``save_data`` of ptycho_gui writes it: each frame turned, shifted, its root taken; points[0] along the stored rows."""
    turned = np.rot90(small.counts, axes=(2, 1))  # of (row, column): axes=(1, 0)
    values = {"diffamp": np.sqrt(np.fft.fftshift(turned, axes=(1, 2)).astype(float))}
    values["points"] = np.stack([small.metres[:, 1], -small.metres[:, 0]]) * 1e6
    return write(path, **(values | changes))


def dump(path, small, **changes):
    """As ``dump_scan_h5.py`` of holoptycho writes it: points are (slow, fast)."""
    return write(path, **({"dp": small.counts.astype(np.float32), "points": small.metres.T * 1e6} | changes))


@pytest.mark.parametrize("size", [SIZE - 1, SIZE])
def test_amplitudes_are_squared_shifted_and_turned_back(size, tmp_path):
    small = SmallScan()
    small.counts = small.counts[:, :size, :size]
    scan = open_scan(gui(tmp_path / "scan_1.h5", small))
    assert scan.signal == "amplitude"
    assert scan.geometry.photon_energy_ev == pytest.approx(ENERGY)
    expected = small.positions * PIXEL / scan.object_pixel_m
    small.positions = expected
    assert_same(scan, small)


def test_a_dump_of_holoptycho_holds_counts(tmp_path):
    small = SmallScan()
    scan = open_scan(dump(tmp_path / "1_dp.hdf5", small))
    assert_same(scan, small)
    assert scan.format == "NSLS-II HXN"
    assert scan.signal == "counts"


def test_frames_after_the_last_position_are_left_out(tmp_path):
    """Rows of NaN fill the positions up where they end early."""
    small = SmallScan()
    points = small.metres.T * 1e6
    points[:, 9:] = np.nan
    scan = open_scan(dump(tmp_path / "1_dp.hdf5", small, points=points))
    assert_same(scan, small, frames=slice(9))
    assert any(f"{FRAMES - 9} of {FRAMES} frames are left out" in note for note in scan.notes)


def test_how_holoptycho_turned_the_frames_is_a_record(tmp_path):
    small = SmallScan()
    path = dump(tmp_path / "1_dp.hdf5", small)
    with h5py.File(path, "a") as file:
        file.attrs["dp_orient"] = "rot90_cw"
    scan = open_scan(path)
    assert_same(scan, small)
    assert any("rot90_cw" in note for note in scan.notes)


def test_points_may_lie_the_other_way(tmp_path):
    small = SmallScan()
    assert_same(open_scan(dump(tmp_path / "a.h5", small, points=small.metres * 1e6)), small)


def test_lengths_in_other_units_are_seen_through(tmp_path):
    scan = open_scan(dump(tmp_path / "a.h5", SmallScan(), ccd_pixel_um=PITCH, z_m=DISTANCE * 1e3))
    assert_same(scan, SmallScan())
    assert sum("it is read as" in note for note in scan.notes) == 2


def test_a_wavelength_of_zero_is_none(tmp_path):
    """holoptycho writes 0 where it cannot read the energy."""
    path = dump(tmp_path / "a.h5", SmallScan(), lambda_nm=0.0)
    with pytest.raises(DataError, match="--photon-energy-ev"):
        open_scan(path)
    assert_same(open_scan(path, {"photon_energy_ev": ENERGY}), SmallScan())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"points": np.zeros((3, FRAMES))}, rf"'points' has shape \(3, {FRAMES}\)"),
        ({"points": np.zeros((2, FRAMES - 2))}, rf"{FRAMES - 2} positions"),
        ({"points": None}, "holds no positions"),
        ({"diffamp": np.zeros((SIZE, SIZE))}, rf"'diffamp' has shape \({SIZE}, {SIZE}\)"),
        ({"lambda_nm": [1.0, 2.0]}, "'lambda_nm' must be one number"),
    ],
)
def test_wrong_values_are_named(changes, told, tmp_path):
    with pytest.raises(DataError, match=told):
        open_scan(gui(tmp_path / "a.h5", SmallScan(), **changes))
