"""Files that are written, in the programs that they are for, which live in environments that ``make test-all`` makes."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_files import cxi
from small_scan import DISTANCE, ENERGY, PITCH, PIXEL, SIZE, WAVELENGTH, SmallScan

from ptycho_core.conversion import convert
from ptycho_core.formats.opening import open_scan

OWNERS = Path(__file__).parent / "owners"
PTYCHODUS = Path(__file__).parents[2] / "build/ptychodus/bin/python"
pytestmark = pytest.mark.long


def run(python, script, *words):
    assert Path(python).exists(), f"There is no {python}; 'make test-all' makes it."
    done = subprocess.run([python, OWNERS / script, *map(str, words)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def scan(tmp_path):
    """A scan with a mask, a probe of two modes and an object that is no constant."""
    small = SmallScan()
    shape = (np.ceil(small.positions.max(axis=0)) + SIZE).astype(int)
    rows, columns = np.indices((SIZE, SIZE)) - SIZE / 2
    probe = np.exp(-(rows**2 + columns**2) / 20) * np.stack([np.ones((SIZE, SIZE)), rows / 9])
    mask = np.ones((SIZE, SIZE), bool)
    mask[2, 3] = False
    arrays = {
        "intensity": small.counts, "positions_px": small.positions, "probe_guess": probe.astype(np.complex64), "mask": mask,
        "object_guess": np.exp(1j * np.indices(shape).sum(axis=0) / 30).astype(np.complex64), "photon_energy_ev": ENERGY,
        "detector_distance_m": DISTANCE, "detector_pixel_size_m": PITCH,
    }  # fmt: skip
    np.savez(tmp_path / "scan.npz", **arrays)
    return tmp_path / "scan.npz"


@pytest.mark.parametrize(("to", "kind"), [("ptychodus", "h5"), ("cxi", "cxi")])
def test_ptychodus_opens_what_is_written_for_it_and_gives_the_same_back(to, kind, scan, tmp_path):
    convert(scan, tmp_path / f"out.{kind}", to)
    (tmp_path / "saved").mkdir()
    run(PTYCHODUS, "in_ptychodus.py", kind, tmp_path / f"out.{kind}", tmp_path / "saved")
    before, after = open_scan(scan), open_scan(tmp_path / "saved" / "diffraction.h5")
    for part in ("mask", "probe", "object_guess"):
        np.testing.assert_array_equal(getattr(after, part), getattr(before, part))
    np.testing.assert_array_equal(after.patterns.read(slice(None)), before.patterns.read(slice(None)))
    np.testing.assert_allclose(after.positions, before.positions, rtol=0, atol=1e-9)
    assert after.object_pixel_m == pytest.approx(before.object_pixel_m, rel=1e-12)


@pytest.mark.parametrize("to", ["cxi", "nexus"])
def test_cdtools_opens_cxi_and_nxcxi_ptycho_and_fits_to_them(to, scan, tmp_path):
    if importlib.util.find_spec("cdtools") is None:
        pytest.skip("cdtools-py is not installed; 'make test-all' installs it")
    convert(scan, tmp_path / "out.cxi", to)
    run(sys.executable, "in_cdtools.py", tmp_path / "out.cxi", tmp_path / "seen.npz")
    seen, before = dict(np.load(tmp_path / "seen.npz")), open_scan(scan)
    np.testing.assert_array_equal(seen["patterns"], before.patterns.read(slice(None)))
    np.testing.assert_array_equal(seen["mask"], before.mask)
    assert seen["wavelength"] == pytest.approx(WAVELENGTH, rel=1e-6)
    assert seen["distance"] == pytest.approx(DISTANCE, rel=1e-6)
    basis = seen["basis"] / np.linalg.norm(seen["basis"], axis=0)
    apart = seen["moves"] @ np.linalg.pinv(basis).T / PIXEL - before.positions  # where the probe goes, in rows and columns
    np.testing.assert_allclose(apart, np.broadcast_to(apart.mean(axis=0), apart.shape), atol=1e-5)  # float32
    assert np.isfinite(seen["losses"]).all()
    assert (seen["losses"][:, 1] < seen["losses"][:, 0]).all()


def test_nexusformat_finds_nothing_wrong_with_nxcxi_ptycho(tmp_path):
    convert(cxi(tmp_path / "a.cxi", SmallScan()), tmp_path / "out.nxs", "nexus")
    assert run(PTYCHODUS, "in_nexusformat.py", tmp_path / "out.nxs").splitlines()[-1] == "found 0 0"
