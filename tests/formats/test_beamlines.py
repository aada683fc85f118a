"""Files of cSAXS, NanoMAX and LCLS as other detectors, motors and years of them have it."""

import numpy as np
import pytest
from small_files import write
from small_scan import DISTANCE, ENERGY, FRAMES, PITCH, PIXEL, SmallScan, assert_same

from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan, opened

SMALL = SmallScan()
Y, X = -SMALL.metres.T * 1e6
TABLES = {
    "orchestra": ("DataPoint Average_x_st_fzp Average_y_st_fzp", [f"{n} {X[n]:.9f} {Y[n]:.9f}" for n in range(FRAMES)]),
    "softGlueZynq": (
        "DataPoint x_st_fzp y_st_fzp ckUser_Clk_Count Detector_Count",
        [f"{2 * n + k} {X[n] - 0.1 + 0.2 * k:.9f} {Y[n]:.9f} 7 {n + 1}" for n in range(FRAMES) for k in (0, 1)],
    ),
    "averaged": (
        "Detector_Count Average_x_st_fzp Average_y_st_fzp",
        [f"{n + 1} {X[n]:.9f} {Y[n]:.9f}" for n in range(2, FRAMES)],
    ),
}


def csaxs(folder, table, detector="eiger_4", frames="entry/data/data"):
    header, rows = TABLES[table]
    (folder / "scan_positions").mkdir()
    (folder / "scan_positions" / "scan_00084.dat").write_text("\n".join(["Scan 00084, encoder", header, *rows]))
    instrument = "entry/instrument"
    values = {
        frames: SMALL.counts, f"{instrument}/{detector}/x_pixel_size": PITCH * 1e6,
        f"{instrument}/monochromator/distance": -DISTANCE * 1e3, f"{instrument}/monochromator/energy": ENERGY / 1e3,
    }  # fmt: skip
    return write(folder / f"S00084_{detector}.h5", values)


@pytest.mark.parametrize("table", TABLES)
def test_tables_of_csaxs(table, tmp_path):
    frames = slice(2, None) if table == "averaged" else slice(None)
    assert_same(open_scan(csaxs(tmp_path, table)), SMALL, frames=frames, within=1e-4)


@pytest.mark.parametrize("frames", ["entry/data/data", "entry/instrument/pilatus_1/data"])
def test_another_detector_of_csaxs(frames, tmp_path):
    opening = opened(csaxs(tmp_path, "orchestra", "pilatus_1", frames))
    assert_same(opening.scan, SMALL, within=1e-4)
    assert opening.form.name == "csaxs"


MEASURED = "entry/measurement"
OF_NANOMAX = {
    "motors": {"x": f"{MEASURED}/sx", "y": f"{MEASURED}/sy"},
    "analog": {"x": f"{MEASURED}/pseudo/analog_x", "y": f"{MEASURED}/pseudo/analog_y"},
    "a buffer of lines": {"x": f"{MEASURED}/npoint_buff/x", "y": f"{MEASURED}/npoint_buff/y"},
    "raw energy": {"energy": "entry/snapshots/pre_scan/energy_raw"},
    "a dataset a line": {"frames": ""},
}


@pytest.mark.parametrize("other", OF_NANOMAX)
def test_nanomax(other, tmp_path):
    keys = {
        "x": f"{MEASURED}/pseudo/x", "y": f"{MEASURED}/pseudo/y", "energy": "entry/snapshots/pre_scan/energy",
        "frames": f"{MEASURED}/eiger/frames",
    } | OF_NANOMAX[other]  # fmt: skip
    values = {"x": X, "y": Y, "energy": [ENERGY], "frames": SMALL.counts}
    shape = (3, -1) if "buffer" in other else (-1,)
    values |= {axis: values[axis].reshape(shape) for axis in "xy"}
    held = {keys[name]: value for name, value in values.items() if keys[name]}
    held |= {} if keys["frames"] else {f"{MEASURED}/eiger/{line:06d}": SMALL.counts[line * 4 : line * 4 + 4] for line in range(3)}
    scan = open_scan(write(tmp_path / "000042.h5", held | {"entry/snapshots/pre_scan/detector_distance": [DISTANCE]}))
    assert_same(scan, SMALL)
    assert scan.object_pixel_m == pytest.approx(PIXEL)


def test_what_pilatus_writes_at_dead_pixels_is_bad(tmp_path):
    counts = SMALL.counts.astype(np.int32)
    counts[:, 3, 4], counts[:, 5, 6] = -2, -1
    values = {f"{MEASURED}/pilatus/frames": counts, f"{MEASURED}/pseudo/x": X, f"{MEASURED}/pseudo/y": Y}
    scan = open_scan(write(tmp_path / "000042.h5", values), {"object_pixel_m": PIXEL})
    assert_same(scan, SMALL)
    assert np.argwhere(~scan.mask).tolist() == [[3, 4], [5, 6]]
    assert any("2 of 256 pixels are bad" in note and "values -1, -2" in note for note in scan.notes)


def test_lcls_without_a_monitor_takes_all_frames(tmp_path):
    values = {"jungfrau1M/image_img": SMALL.counts.astype(np.float32), "lmc/ch03": X, "lmc/ch05": Y}
    scan = open_scan(write(tmp_path / "r.h5", values), {"object_pixel_m": PIXEL})
    assert_same(scan, SMALL)
    assert any("no 'ipm2/sum'" in note for note in scan.notes)
    path = write(tmp_path / "s.h5", values | {"ipm2/sum": np.full(FRAMES, 0.25)})
    with pytest.raises(DataError, match=r"'ipm2/sum' is from 2000 to below 3000 for no frame.*it runs from 0\.25 to 0\.25"):
        open_scan(path, {"object_pixel_m": PIXEL})


def test_datasets_of_a_frame_are_joined_in_order(tmp_path):
    """And not in that of their names: 10 follows 9."""
    values = {f"run/frame_{n}": SMALL.counts[n] for n in range(FRAMES)} | {"run/x": X, "run/y": Y}
    layout = '[frames]\npath = "run/frame_#"\n[positions]\nx = "run/x"\ny = "run/y"\nunit = "um"\nsign = -1\n'
    (tmp_path / "a.toml").write_text(layout)
    asked = {"format": str(tmp_path / "a.toml"), "object_pixel_m": PIXEL}
    assert_same(open_scan(write(tmp_path / "a.h5", values), asked), SMALL)
