"""Results of ptypy, as a start and for scores."""

import h5py
import numpy as np
import pytest
from ptypy_files import put, write_ptyd, write_ptyr
from small_scan import PIXEL, SIZE, SmallScan

from ptycho_core.cli.main import main
from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.product import read_object, read_probe

RNG = np.random.default_rng(3)
PROBE = (RNG.normal(size=(2, SIZE, SIZE)) + 1j).astype(np.complex64)
IMAGE = (RNG.normal(size=(1, 70, 50)) + 1j).astype(np.complex64)


def test_object_probe_and_positions_are_read(tmp_path):
    small = SmallScan()
    path = write_ptyr(tmp_path / "a.ptyr", small, IMAGE, PROBE)
    found = read_object(path)
    np.testing.assert_array_equal(found.object, IMAGE[0])
    np.testing.assert_array_equal(found.probe, PROBE)
    np.testing.assert_allclose(found.positions, small.positions, atol=1e-9)
    assert found.pixel_size_m == pytest.approx((PIXEL, PIXEL))
    np.testing.assert_array_equal(read_probe(path), PROBE)


@pytest.mark.parametrize("link", [False, True])
def test_positions_that_ptypy_leaves_out_are_those_of_the_scan(link, tmp_path):
    small = SmallScan()
    write_ptyd(tmp_path / "a.ptyd", small, link=link)
    found = read_object(write_ptyr(tmp_path / "a.ptyr", small, IMAGE, PROBE, positions=False, source="../old/a.ptyd"))
    apart = found.positions - small.positions
    np.testing.assert_allclose(apart - apart[0], 0, atol=1e-6)


def test_without_positions_that_is_told(tmp_path):
    found = read_object(write_ptyr(tmp_path / "a.ptyr", SmallScan(), IMAGE, PROBE, positions=False, source="gone.ptyd"))
    assert found.positions is None
    assert any("holds no positions" in note for note in found.notes)


def test_of_several_storages_the_first_is_taken(tmp_path):
    path = write_ptyr(tmp_path / "a.ptyr", SmallScan(), IMAGE, PROBE)
    with h5py.File(path, "a") as file:
        put(file, "content/probe/S1/data", PROBE * 2)
    found = read_object(path)
    np.testing.assert_array_equal(found.probe, PROBE)
    assert any("of 2 storages in 'content/probe' the first" in note for note in found.notes)


def test_it_is_scored(tmp_path, capsys):
    path = write_ptyr(tmp_path / "a.ptyr", SmallScan(), IMAGE, PROBE)
    assert main(["score", str(path), "--reference", str(path)]) == 0


def test_as_a_scan_it_is_refused_by_what_it_is(tmp_path):
    with pytest.raises(DataError, match="is a result of ptypy, not a scan") as caught:
        open_scan(write_ptyr(tmp_path / "a.ptyr", SmallScan(), IMAGE, PROBE))
    assert "--start" in str(caught.value) + caught.value.remedy


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"obj/S0/_psize": [0.0, 0.0]}, r"'content/obj/S0/_psize' is 0, 0"),
        ({"obj/S0/data": np.ones((1, 2, 3, 4), complex)}, r"'content/obj/S0/data' has shape \(1, 2, 3, 4\)"),
        ({"obj/S0/data": np.ones((3, 70, 50), complex)}, r"one layer"),
        ({"probe/S0/data": np.ones((1, 4, 5), complex)}, r"the probe has shape"),
    ],
)
def test_wrong_values_are_named(changes, told, tmp_path):
    with pytest.raises(DataError, match=told):
        read_object(write_ptyr(tmp_path / "a.ptyr", SmallScan(), IMAGE, PROBE, **changes))
