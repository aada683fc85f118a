"""Prepared scans of ptypy."""

import h5py
import numpy as np
import pytest
from ptypy_files import ENDS, write_ptyd
from small_scan import ENERGY, FRAMES, PIXEL, SIZE, SmallScan, assert_same

from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan


@pytest.mark.parametrize("link", [False, True])
def test_chunks_are_joined(link, tmp_path):
    small = SmallScan()
    scan = open_scan(write_ptyd(tmp_path / "a.ptyd", small, link=link))
    assert_same(scan, small)
    assert scan.geometry.photon_energy_ev == pytest.approx(ENERGY)  # keV in the file
    assert scan.object_pixel_m == pytest.approx(PIXEL)
    assert scan.mask.sum() == SIZE**2 - 1
    assert not scan.mask[2, 3]


def test_chunks_sort_as_numbers(tmp_path):
    small = SmallScan()
    path = write_ptyd(tmp_path / "a.ptyd", small)
    with h5py.File(path, "a") as file:
        file.move("chunks/2", "chunks/10")
        file.move("chunks/1", "chunks/9")
    assert_same(open_scan(path), small)


def test_a_link_that_was_moved_with_its_files_is_followed(tmp_path):
    """The folder that the link names is gone; the file lies next to the scan."""
    small = SmallScan()
    path = write_ptyd(tmp_path / "a.ptyd", small, link=True)
    with h5py.File(path, "a") as file:
        del file["chunks/1"]
        file["chunks/1"] = h5py.ExternalLink("/beamline/data/a.ptyd.part001", "/")
    assert_same(open_scan(path), small)


def test_an_absent_part_is_named(tmp_path):
    path = write_ptyd(tmp_path / "a.ptyd", SmallScan(), link=True)
    (tmp_path / "a.ptyd.part001").unlink()
    with pytest.raises(DataError, match=r"a\.ptyd\.part001, which .*a\.ptyd needs, does not exist"):
        open_scan(path)


def test_the_orientation_is_a_record(tmp_path):
    small = SmallScan()
    scan = open_scan(write_ptyd(tmp_path / "a.ptyd", small, info={"orientation": [1, 0, 1]}))
    assert_same(scan, small)
    assert any("ptypy turned the frames (1, 0, 1)" in note for note in scan.notes)


def test_a_center_elsewhere_is_the_middle(tmp_path):
    """`meta/center` need not be N // 2: the square around it is read."""
    small = SmallScan()
    scan = open_scan(write_ptyd(tmp_path / "a.ptyd", small, meta={"center": [7.0, 8.0]}))
    assert scan.size == SIZE - 2
    good = scan.mask
    np.testing.assert_array_equal(scan.patterns.read(slice(None))[:, good], small.counts[:, :-2, 1:-1][:, good])


@pytest.mark.parametrize("center", [None, SIZE / 2, [SIZE / 2, SIZE / 2]])
def test_a_center_in_the_middle_changes_nothing(center, tmp_path):
    assert_same(open_scan(write_ptyd(tmp_path / "a.ptyd", small := SmallScan(), meta={"center": center})), small)


def test_positions_of_the_whole_scan_go_by_index(tmp_path):
    """ptypy writes a list of None where a chunk has no positions."""
    small, order = SmallScan(), np.random.default_rng(1).permutation(FRAMES)
    places = np.empty_like(small.metres)
    places[order] = small.metres

    def bare(number, values):
        first = (0, *ENDS)[number]
        return {"data": values["data"], "indices": order[first : ENDS[number]], "positions": None}

    path = write_ptyd(tmp_path / "a.ptyd", small, info={"positions_scan": places}, chunk=bare)
    assert_same(open_scan(path), small)


def test_a_weight_for_all_frames_is_the_mask(tmp_path):
    weight = np.ones((SIZE, SIZE))
    weight[4] = 0

    def bare(_, values):
        return values | {"weights": np.zeros(0)}

    scan = open_scan(write_ptyd(tmp_path / "a.ptyd", small := SmallScan(), meta={"weight2d": weight}, chunk=bare))
    assert_same(scan, small)
    assert (scan.mask == (weight > 0)).all()


def test_a_pixel_bad_in_one_frame_is_bad(tmp_path):
    def odd(number, values):
        values["weights"][0, 5, 6] = number != 1
        return values

    scan = open_scan(write_ptyd(tmp_path / "a.ptyd", SmallScan(), chunk=odd))
    assert not scan.mask[5, 6]
    assert any("differ from frame to frame" in note for note in scan.notes)


def test_frames_that_are_not_there_yet_are_told(tmp_path):
    scan = open_scan(write_ptyd(tmp_path / "a.ptyd", SmallScan(), meta={"num_frames": FRAMES + 3}))
    assert any(f"{FRAMES} are stored, of {FRAMES + 3}" in note for note in scan.notes)


def test_no_chunk_is_an_empty_scan(tmp_path):
    path = write_ptyd(tmp_path / "a.ptyd", SmallScan())
    with h5py.File(path, "a") as file:
        del file["chunks"]
        file.create_group("chunks")
    with pytest.raises(DataError, match="'chunks' holds no chunk"):
        open_scan(path)


def drop(key):
    return lambda number, values: {name: value for name, value in values.items() if number != 1 or name != key}


@pytest.mark.parametrize(
    ("chunk", "told"),
    [
        (drop("data"), r"has no dataset 'chunks/1/data'"),
        (lambda number, values: values | {"data": values["data"][:, : SIZE - number]}, r"'chunks/1/data' has shape"),
        (
            lambda number, values: values | {"positions": values["positions"][number % 2 :]},
            r"'chunks/1/positions' has shape \(4, 2\)",
        ),
        (lambda number, values: values | {"weights": values["weights"][:, : SIZE - number]}, r"'chunks/1/weights' has shape"),
    ],
)
def test_wrong_chunks_are_named(chunk, told, tmp_path):
    with pytest.raises(DataError, match=told):
        open_scan(write_ptyd(tmp_path / "a.ptyd", SmallScan(), chunk=chunk))


@pytest.mark.parametrize(
    "meta",
    [{"energy": ENERGY}, {"psize": [75.0, 75.0]}, {"distance": 1920.0}, {"psize": 75e-6}],
    ids=lambda meta: next(iter(meta)),
)
def test_units_that_cannot_be_are_seen_through(meta, tmp_path):
    """eV, micrometres, millimetres; one number may stand for both pixels."""
    small = SmallScan()
    scan = open_scan(write_ptyd(tmp_path / "a.ptyd", small, meta=meta))
    assert_same(scan, small)
    assert any("it is read as" in note for note in scan.notes) == (meta != {"psize": 75e-6})


def test_without_geometry_the_flags_are_named(tmp_path):
    path = write_ptyd(tmp_path / "a.ptyd", SmallScan(), meta={"distance": None, "energy": None})
    with pytest.raises(DataError, match=r"--photon-energy-ev, --detector-distance-m"):
        open_scan(path)
