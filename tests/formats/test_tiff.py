"""Frames in TIFF, with a table of positions."""

import numpy as np
import pytest
import tifffile
from small_scan import DISTANCE, ENERGY, FRAMES, PITCH, SIZE, SmallScan, assert_same

from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan

GEOMETRY = {"photon_energy_ev": ENERGY, "detector_distance_m": DISTANCE, "detector_pixel_size_m": PITCH}


def asked(folder, small, **more):
    np.savetxt(folder / "where.csv", small.metres[:, ::-1], delimiter=",", header="x_m,y_m")
    return {"positions": str(folder / "where.csv")} | GEOMETRY | more


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"compression": "zlib"},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"imagej": True},
        {"metadata": None},
        {"tile": (16, 16)},
    ],
)
def test_a_stack_is_read(how, tmp_path):
    small = SmallScan()
    tifffile.imwrite(tmp_path / "a.tif", small.counts, photometric="minisblack", **how)
    scan = open_scan(tmp_path / "a.tif", asked(tmp_path, small))
    assert_same(scan, small)
    assert (scan.format, scan.signal) == ("TIFF", "counts")


@pytest.mark.parametrize("name", ["positions.tsv", "a_positions.txt", "a.csv", "positions.dat"])
@pytest.mark.parametrize("folder", [False, True])
def test_a_table_is_found_by_its_name(folder, name, tmp_path):
    small, place = SmallScan(), tmp_path / ("a" if folder else "a.tif")
    if folder:
        place.mkdir()
    tifffile.imwrite(place / "b.tif" if folder else place, small.counts.astype(np.float32), photometric="minisblack")
    where = place if folder and name.startswith("positions") else tmp_path
    if folder and name == "a.csv":
        name = "a_positions.csv"
    np.savetxt(where / name, small.metres[:, ::-1] * 1e9, delimiter="\t", header="x_nm\ty_nm")
    scan = open_scan(place, GEOMETRY)
    assert_same(scan, small)
    assert scan.signal == "counts"


def test_a_stack_behind_one_page_is_read(tmp_path):
    small = SmallScan()
    with tifffile.TiffWriter(tmp_path / "a.tif", imagej=True) as file:
        file.write(small.counts, contiguous=True, truncate=True)
    assert_same(open_scan(tmp_path / "a.tif", asked(tmp_path, small)), small)


def test_the_files_of_a_folder_are_read_in_natural_order(tmp_path):
    small, folder = SmallScan(), tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(small.counts):
        tifffile.imwrite(folder / f"s7_{number}.{'TIFF' if number % 2 else 'tif'}", frame)
    (folder / "._s7_0.tif").write_bytes(b"a file of another system")
    (folder / "log.txt").write_text("nothing")
    scan = open_scan(folder, asked(tmp_path, small))
    assert_same(scan, small)
    assert any("s7_0.tif to s7_11.TIFF" in note for note in scan.notes)


def test_a_folder_of_stacks_is_read(tmp_path):
    small, folder = SmallScan(), tmp_path / "frames"
    folder.mkdir()
    for number, part in enumerate(np.array_split(small.counts, [5, 6])):
        tifffile.imwrite(folder / f"{number + 9}.tif", part)
    assert_same(open_scan(folder, asked(tmp_path, small)), small)


def test_frames_need_not_be_square(tmp_path):
    small = SmallScan()
    wide = np.zeros((FRAMES, SIZE + 6, SIZE + 20), np.uint16)
    wide[:, 2 : 2 + SIZE, 11 : 11 + SIZE] = small.counts
    tifffile.imwrite(tmp_path / "a.tif", wide)
    told = asked(tmp_path, small, beam_center=f"{2 + SIZE // 2},{11 + SIZE // 2}", size=SIZE)
    assert_same(open_scan(tmp_path / "a.tif", told), small)


def test_a_stack_without_positions_says_how_to_give_them(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", SmallScan().counts)
    with pytest.raises(DataError, match="holds no positions") as raised:
        open_scan(tmp_path / "a.tif")
    assert "--positions FILE" in str(raised.value)


def test_files_of_other_shapes_are_named(tmp_path):
    small, folder = SmallScan(), tmp_path / "frames"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", small.counts)
    tifffile.imwrite(folder / "dark.tif", small.counts[0, :8])
    with pytest.raises(DataError, match=r"dark\.tif has frames of shape \(8, 16\)"):
        open_scan(folder, asked(tmp_path, small))


def test_colors_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 8, 8, 3), np.uint8), photometric="rgb")
    with pytest.raises(DataError, match=r"first page has shape \(8, 8, 3\)"):
        open_scan(tmp_path / "a.tif", asked(tmp_path, SmallScan()))


def test_pages_of_other_shapes_are_named(tmp_path):
    small = SmallScan()
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for number, frame in enumerate(small.counts):
            file.write(frame[:8] if number == 4 else frame)
    with pytest.raises(DataError, match=r"page 4 has shape \(8, 16\)"):
        open_scan(tmp_path / "a.tif", asked(tmp_path, small)).patterns.read(slice(None))


def test_pages_in_a_circle_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", SmallScan().counts, compression="zlib", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        first, last = file.pages[0].offset, file.pages[FRAMES - 1].offset
    data = bytearray((tmp_path / "a.tif").read_bytes())
    entries = int.from_bytes(data[last : last + 2], "little")
    data[last + 2 + 12 * entries : last + 6 + 12 * entries] = first.to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(DataError, match="in a circle after 12"):
        open_scan(tmp_path / "a.tif", asked(tmp_path, SmallScan()))


def test_a_compression_that_is_not_known_is_named(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", SmallScan().counts, metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    entry = data.index((259).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    data[entry + 8 : entry + 10] = (32809).to_bytes(2, "little")
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.tif is compressed with THUNDERSCAN"):
        open_scan(tmp_path / "a.tif", asked(tmp_path, SmallScan()))


def test_a_folder_without_frames_is_refused(tmp_path):
    with pytest.raises(DataError, match="is a folder that holds no scan"):
        open_scan(tmp_path)
