"""Layouts: TOML files that describe where a scan lies, those that come with ptycho and those of a user."""

import h5py
import hdf5plugin
import numpy as np
import pytest
from small_scan import DISTANCE, ENERGY, FRAMES, PITCH, PIXEL, SIZE, SmallScan, assert_same

from ptycho_core.errors import DataError, SettingsError
from ptycho_core.formats.layout_file import read_layout
from ptycho_core.formats.opening import open_scan


def write(path, values, links=()):
    with h5py.File(path, "w") as file:
        for key, value in values.items():
            if value is not None:
                file[key] = value
        for key, name, inside in links:
            file[key] = h5py.ExternalLink(name, inside)
    return path


# cSAXS


def csaxs(folder, small, **changes):
    instrument = "entry/instrument"
    values = {
        "entry/data/data": small.counts, f"{instrument}/eiger_4/x_pixel_size": PITCH * 1e6,
        f"{instrument}/eiger_4/y_pixel_size": PITCH * 1e6, f"{instrument}/monochromator/distance": -DISTANCE * 1e3,
        f"{instrument}/monochromator/energy": ENERGY / 1e3,
    } | changes  # fmt: skip
    return write(folder / "S00084_eiger_4.h5", values)


def orchestra(path, small, rows=range(FRAMES)):
    y, x = -small.metres.T * 1e6
    lines = [f"{n} 7 {x[n] + 9} {x[n]:.9f} 0.0013 {y[n] - 9} {y[n]:.9f} 0.0015" for n in rows]
    header = "DataPoint TotalPoints Target_x Average_x_st_fzp Stdev_x_st_fzp Target_y Average_y_st_fzp Stdev_y_st_fzp"
    path.write_text("\n".join(["Scan 00084, lsamrot_encoder 0.000000", header, *lines]) + "\n")
    return path


def test_a_scan_of_csaxs_is_read_with_its_table(tmp_path):
    small = SmallScan()
    orchestra(tmp_path / "scan_00084.dat", small)
    scan = open_scan(csaxs(tmp_path, small))
    assert_same(scan, small, within=1e-4)
    assert scan.format == "cSAXS (SLS)"
    assert scan.geometry.detector_distance_m == pytest.approx(DISTANCE)
    assert scan.object_pixel_m == pytest.approx(PIXEL)
    assert any("negative" in note for note in scan.notes)


def test_the_table_of_csaxs_can_be_given(tmp_path):
    small = SmallScan()
    table = orchestra(tmp_path / "elsewhere.dat", small)
    assert_same(open_scan(csaxs(tmp_path, small), {"positions": str(table)}), small, within=1e-4)


def test_another_table_in_place_of_that_of_csaxs_is_read_as_it_says(tmp_path):
    small = SmallScan()
    np.savetxt(tmp_path / "p.csv", small.metres, delimiter=",", header="y_m,x_m")
    assert_same(open_scan(csaxs(tmp_path, small), {"positions": str(tmp_path / "p.csv")}), small)


def test_rows_that_the_table_of_csaxs_lacks_are_found_by_their_number(tmp_path):
    small, rows = SmallScan(), [0, 1, 3, 4, 5, 8, 9, 10]
    orchestra(tmp_path / "scan_84.dat", small, rows)
    scan = open_scan(csaxs(tmp_path, small))
    assert_same(scan, small, frames=rows, within=1e-4)
    assert any("4 of 12 frames have no position" in note for note in scan.notes)


def test_a_scan_of_csaxs_without_its_table_says_which_it_misses(tmp_path):
    with pytest.raises(DataError, match=r"positions lie in scan_\{number\}\.dat") as raised:
        open_scan(csaxs(tmp_path, SmallScan()))
    assert "--positions" in str(raised.value)


def test_the_number_of_an_account_is_not_that_of_a_scan(tmp_path):
    small = SmallScan()
    orchestra(tmp_path / "scan_00084.dat", small)
    path = csaxs(tmp_path, small).rename(tmp_path / "e12345_1_00084_eiger_4.h5")
    assert_same(open_scan(path), small, within=1e-4)


def test_two_tables_of_one_number_are_named(tmp_path):
    small = SmallScan()
    for name in ("scan_00084.dat", "scan_84.dat"):
        orchestra(tmp_path / name, small)
    with pytest.raises(DataError, match=r"scan_00084\.dat, scan_84\.dat"):
        open_scan(csaxs(tmp_path, small))


# LCLS


def test_frames_of_lcls_without_light_or_position_are_left_out(tmp_path):
    small = SmallScan()
    rows, columns = -small.metres.T * 1e6
    light = np.full(FRAMES, 2500.0)
    light[[1, 2, 3]], rows[5], columns[7] = [1999.9, 3000.0, np.nan], np.nan, np.nan
    light[4] = 2000.0
    values = {
        "jungfrau1M/image_img": small.counts.astype(np.float32), "lmc/ch03": columns, "lmc/ch04": np.zeros(FRAMES),
        "lmc/ch05": rows, "ipm2/sum": light,
    }  # fmt: skip
    scan = open_scan(write(tmp_path / "a.h5", values), {"photon_energy_ev": ENERGY, "detector_distance_m": DISTANCE})
    assert_same(scan, small, frames=[0, 4, 6, 8, 9, 10, 11])
    assert any("3 of 12 frames are left out, whose 'ipm2/sum'" in note for note in scan.notes)
    assert scan.signal == "counts"


def test_positions_that_are_given_leave_the_filter_aside(tmp_path):
    small = SmallScan()
    values = {
        "jungfrau1M/image_img": small.counts, "lmc/ch03": np.zeros(12), "lmc/ch05": np.zeros(12), "ipm2/sum": np.zeros(12)
    }  # fmt: skip
    np.savetxt(tmp_path / "p.csv", small.positions, delimiter=",", header="row_px,col_px")
    scan = open_scan(write(tmp_path / "a.h5", values), {"positions": str(tmp_path / "p.csv")})
    assert_same(scan, small)
    assert any("no frame is left out" in note for note in scan.notes)


def test_a_filter_that_does_not_fit_is_refused(tmp_path):
    values = {
        "jungfrau1M/image_img": SmallScan().counts, "lmc/ch03": np.zeros(12), "lmc/ch05": np.zeros(12), "ipm2/sum": np.zeros(9)
    }  # fmt: skip
    with pytest.raises(DataError, match=r"'ipm2/sum'.*9 numbers; there are 12 positions"):
        open_scan(write(tmp_path / "a.h5", values))


# NanoMAX


def nanomax(folder, small, name="eiger", frames=True, **changes):
    y, x = -small.metres.T * 1e6
    if frames:
        write(folder / "scan_000042_eiger.hdf5", {"entry/instrument/Eiger/data": small.counts.astype(np.uint32)})
    values = {
        "entry/measurement/pseudo/x": x, "entry/measurement/pseudo/y": y, "entry/measurement/pseudo/analog_x": x + 5,
        f"entry/measurement/{name}/thumbs:": np.zeros(3), "entry/snapshots/pre_scan/energy": [ENERGY],
        "entry/snapshots/pre_scan/detector_distance": [DISTANCE], "entry/snapshots/post_scan/energy": [1.0],
    } | changes  # fmt: skip
    link = (f"entry/measurement/{name}/frames", "scan_000042_eiger.hdf5", "/entry/instrument/Eiger/data")
    return write(folder / "000042.h5", values, [link])


def test_a_scan_of_nanomax_is_read_through_its_link(tmp_path):
    small = SmallScan()
    small.counts = small.counts.astype(np.uint32)
    small.counts[:, 3, 4] = 2**32 - 1
    scan = open_scan(nanomax(tmp_path, small))
    assert_same(scan, small)
    assert np.argwhere(~scan.mask).tolist() == [[3, 4]]
    assert scan.object_pixel_m == pytest.approx(PIXEL)


def test_compressed_frames_of_nanomax_are_read(tmp_path):
    small = SmallScan()
    path = nanomax(tmp_path, small, frames=False)
    with h5py.File(tmp_path / "scan_000042_eiger.hdf5", "w") as file:
        file.create_dataset("entry/instrument/Eiger/data", data=small.counts, chunks=(1, SIZE, SIZE), **hdf5plugin.Bitshuffle())
    assert_same(open_scan(path), small)


def test_a_line_scan_of_nanomax_has_positions_in_rows(tmp_path):
    small = SmallScan()
    y, x = (-small.metres.T * 1e6).reshape(2, 3, 4)
    changes = {"entry/measurement/pseudo/x": x, "entry/measurement/pseudo/y": y}
    assert_same(open_scan(nanomax(tmp_path, small, **changes)), small)


def test_a_detector_of_another_name_has_its_own_pixel(tmp_path):
    scan = open_scan(nanomax(tmp_path, SmallScan(), name="merlin"))
    assert scan.geometry.detector_pixel_size_m == pytest.approx(55e-6)


def test_absent_frames_of_nanomax_are_named(tmp_path):
    with pytest.raises(DataError, match=r"scan_000042_eiger\.hdf5"):
        open_scan(nanomax(tmp_path, SmallScan(), frames=False))


def test_a_distance_in_millimeters_is_seen_through(tmp_path):
    changes = {"entry/snapshots/pre_scan/detector_distance": [DISTANCE * 1e3]}
    scan = open_scan(nanomax(tmp_path, SmallScan(), **changes))
    assert scan.geometry.detector_distance_m == pytest.approx(DISTANCE)
    assert any("cannot be m" in note for note in scan.notes)


def test_a_distance_of_zero_is_none(tmp_path):
    path = nanomax(tmp_path, SmallScan(), **{"entry/snapshots/pre_scan/detector_distance": [0.0]})
    with pytest.raises(DataError, match="how wide a pixel of the object is") as raised:
        open_scan(path)
    assert "--detector-distance-m" in str(raised.value)


# layouts of a user

MINE = """
title = "Mine"
[frames]
path = "scan/images"
[positions]
x = "scan/sx"
y = "scan/sy"
unit = "um"
[geometry]
energy = { path = "beam/energy", unit = "keV" }
distance = { value = 1.92 }
pixel = { path = "detector@pitch", default_unit = "um" }
"""


def mine(folder, small, text=MINE, **changes):
    y, x = small.metres.T * 1e6
    values = {"scan/images": small.counts, "scan/sx": x, "scan/sy": y, "beam/energy": ENERGY / 1e3} | changes
    path = write(folder / "mine.h5", values)
    with h5py.File(path, "a") as file:
        file.require_group("detector").attrs["pitch"] = PITCH * 1e6
    (folder / "mine.toml").write_text(text)
    return path, {"format": str(folder / "mine.toml")}


def test_a_layout_of_ten_lines_reads_a_scan(tmp_path):
    small = SmallScan()
    scan = open_scan(*mine(tmp_path, small))
    assert_same(scan, small)
    assert scan.format == "Mine"
    assert scan.object_pixel_m == pytest.approx(PIXEL)


def changed(old, new):
    assert old in MINE
    return MINE.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "turned"),
    [
        ('images"', 'images"\nturn = "swap"', lambda counts: counts.swapaxes(1, 2)),
        ('images"', 'images"\nturn = "flip-rows"', lambda counts: counts[:, ::-1]),
        ('images"', 'images"\nzero = "corner"', lambda counts: np.roll(counts, (-SIZE // 2, -SIZE // 2), (1, 2))),
        ('images"', 'images"\naxes = ["row", "column", "frame"]', lambda counts: np.moveaxis(counts, 0, -1)),
        ('images"', 'images"\nsignal = "amplitude"', lambda counts: np.sqrt(counts.astype(float))),
        ('images"', 'images"\naxes = ["slow", "fast", "row", "column"]', lambda counts: counts.reshape(3, 4, SIZE, SIZE)),
        ("images", "im*", lambda counts: counts),
    ],
)
def test_a_layout_says_how_frames_lie(old, new, turned, tmp_path):
    small = SmallScan()
    path, asked = mine(tmp_path, small, changed(old, new), **{"scan/images": turned(small.counts)})
    scan = open_scan(path, asked)
    if "amplitude" in new:
        np.testing.assert_allclose(scan.patterns.read(slice(None)), small.counts, rtol=1e-12)
    else:
        assert_same(scan, small)


def test_a_layout_says_how_positions_lie(tmp_path):
    small = SmallScan()
    text = changed('x = "scan/sx"\ny = "scan/sy"\nunit = "um"', 'pairs = "p"\norder = "xy"\nunit = "nm"\nsign = { x = -1 }')
    pairs = small.metres[:, ::-1] * 1e9 * [-1, 1]
    for values in (pairs, pairs.T, np.column_stack([pairs, np.zeros(FRAMES)])):
        assert_same(open_scan(*mine(tmp_path, small, text, p=values)), small)


def test_axes_of_a_grid_make_its_points(tmp_path):
    small = SmallScan()
    rows, columns = np.array([0.0, 3.0, 7.0]), np.array([0.0, 2.0, 5.0, 6.0])
    small.positions = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    counts = small.counts.reshape(3, 4, SIZE, SIZE)
    changes = {"scan/images": counts, "scan/sx": columns * PIXEL * 1e6, "scan/sy": rows * PIXEL * 1e6}
    assert_same(open_scan(*mine(tmp_path, small, **changes)), small)


def test_a_unit_of_the_layout_goes_before_one_that_lies(tmp_path):
    small = SmallScan()
    path, asked = mine(tmp_path, small)
    with h5py.File(path, "a") as file:
        file["scan/sx"].attrs["units"] = file["scan/sy"].attrs["units"] = "mm"
    scan = open_scan(path, asked)
    assert_same(scan, small)
    assert any("states 'mm'" in note for note in scan.notes)


def test_a_mask_and_a_beam_of_the_file(tmp_path):
    small = SmallScan()
    flags = np.zeros((SIZE, SIZE), np.uint32)
    flags[2, 3] = 8
    text = changed('images"', 'images"\nzero = ["detector/y0", 8]') + '[mask]\npath = "detector/flags"\ngood = "zero"\n'
    path, asked = mine(tmp_path, small, text, **{"detector/flags": flags, "detector/y0": 8.0})
    scan = open_scan(path, asked)
    assert_same(scan, small)
    assert np.argwhere(~scan.mask).tolist() == [[2, 3]]


def test_what_a_file_lacks_of_its_layout_is_noted(tmp_path):
    small = SmallScan()
    text = changed('unit = "um"\n', '[mask]\npath = "bad"\ngood = "zero"\n')
    y, x = small.positions.T
    scan = open_scan(*mine(tmp_path, small, text, **{"scan/sx": x, "scan/sy": y, "beam/energy": None}))
    assert_same(scan, small)
    told = " ".join(scan.notes)
    assert "no 'bad', where the layout says" in told
    assert "no 'beam/energy', which the layout names for photon_energy_ev" in told
    assert "pixels of the object (--position-unit)" in told


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[frames]", "[frame]", r"'frame'.*[Dd]id you mean 'frames'"),
        ('path = "scan/images"', "", r"\[frames\] has no path"),
        ('unit = "um"', 'unit = "parsec"', r"'parsec'.*no unit"),
        ('y = "scan/sy"', "", r"\[positions\] must have x and y"),
        ('images"', 'images"\nturn = "left"', "turn = 'left'"),
        ('images"', 'images"\naxes = ["row", "row", "frame"]', "has axes"),
        ("value = 1.92", "", "one of path, value and detectors"),
        ("value = 1.92", 'value = "1.92"', "must be a finite number"),
        ("title", "title = [", "is not TOML"),
        ('unit = "um"', "sign = 2", "sign = 2"),
        ('unit = "um"', '[mask]\npath = "a"', "must say good"),
        ('unit = "um"', '[[filter]]\npath = "a"', "must have minimum"),
    ],
)
def test_a_layout_that_is_wrong_is_told_where(old, new, said, tmp_path):
    path, asked = mine(tmp_path, SmallScan(), MINE.replace(old, new, 1))
    with pytest.raises(SettingsError, match=said) as raised:
        open_scan(path, asked)
    assert "mine.toml" in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scan/images": None}, r"has no 'scan/images', where the layout says that frames lie"),
        ({"scan/sx": None}, r"has no 'scan/sx'"),
        ({"scan/sx": np.zeros(5)}, r"'scan/sy' has shape \(12,\) and 'scan/sx' \(5,\)"),
        ({"scan/images": np.zeros((12, 16))}, r"'scan/images' has shape \(12, 16\)"),
        ({"beam/energy": -1.0}, r"'beam/energy' is -1000; it must be positive"),
        ({"beam/energy": np.array([1.0, 2.0])}, "must be one number"),
    ],
)
def test_a_file_that_does_not_fit_its_layout_is_refused(changes, said, tmp_path):
    path, asked = mine(tmp_path, SmallScan(), **changes)
    with pytest.raises(DataError, match=said):
        open_scan(path, asked)


def test_frames_and_geometry_in_another_file(tmp_path):
    small = SmallScan()
    text = changed('images"', 'images"\nfile = "{stem}_det*.h5"').replace(
        "{ value = 1.92 }", '{ path = "z", default_unit = "mm" }'
    )
    write(tmp_path / "mine_det_7.h5", {"scan/images": small.counts, "z": DISTANCE * 1e3})
    path, asked = mine(tmp_path, small, text, **{"scan/images": None})
    assert_same(open_scan(path, asked), small)
    (tmp_path / "mine_det_7.h5").unlink()
    with pytest.raises(DataError, match=r"\{stem\}_det\*\.h5 next to it"):
        open_scan(path, asked)


def test_positions_in_another_file(tmp_path):
    small = SmallScan()
    y, x = small.metres.T * 1e6
    write(tmp_path / "mine_motors.h5", {"scan/sx": x, "scan/sy": y})
    path, asked = mine(
        tmp_path,
        small,
        changed('y = "scan/sy"', 'y = "scan/sy"\nfile = "{stem}_motors.h5"'),
        **{"scan/sx": None, "scan/sy": None},
    )
    assert_same(open_scan(path, asked), small)


def test_several_keys_of_a_pattern_are_named(tmp_path):
    path, asked = mine(tmp_path, SmallScan(), changed("scan/images", "*/images"), **{"other/images": np.zeros((12, 16, 16))})
    with pytest.raises(DataError, match="'other/images', 'scan/images'") as raised:
        open_scan(path, asked)
    assert "--dataset KEY" in str(raised.value)
    assert_same(open_scan(path, asked | {"dataset": "scan/images"}), SmallScan())


def test_a_layout_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"no\.toml cannot be read"):
        read_layout(tmp_path / "no.toml")
