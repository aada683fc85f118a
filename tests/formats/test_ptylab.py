"""Scans of PtyLab."""

import pytest
from small_files import ptylab
from small_scan import ENERGY, PIXEL, SmallScan, assert_same

from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan


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
