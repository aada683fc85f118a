"""Results that exist, of several makers, compared with a reference or with the first of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ptycho_core import load_reconstruction, open_scan, score
from ptycho_core.comparison.existing import compare_results
from ptycho_core.errors import DataError, UsageError
from ptycho_core.formats.product import Reconstruction
from ptycho_core.imaging.metrics import data_misfit


@pytest.fixture
def results(tmp_path: Path, scan_file: Path) -> dict[str, Path]:
    """The truth as one of our results, with a background; a noisy one in PtychoPINN's layout; and a broken file."""
    with np.load(scan_file) as file:
        image, positions, probe = file["object_true"], file["positions_px"], file["probe_true"]
    rng = np.random.default_rng(0)
    noisy = image * (1 + 0.1 * rng.normal(size=image.shape)) * np.exp(1j)
    ours = tmp_path / "ours"
    ours.mkdir()
    Reconstruction(image, probe, positions, background=np.full(probe.shape[1:], 2.0)).save(ours / "reconstruction.h5")
    np.savez(tmp_path / "pinn.npz", reconstructed_object=noisy, reconstructed_probe=probe[0])
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04junk")
    return {"ours": ours, "pinn": tmp_path / "pinn.npz", "broken": tmp_path / "broken.npz"}


def test_results_are_compared_with_the_truth_of_the_scan(fakes, results, scan_file, table):
    done = fakes.compare(scan_file, "--reconstructions", results["ours"], results["pinn"], "-o", "out")
    assert done.returncode == 0, done.stderr
    found = table(fakes.cwd / "out")
    assert (found["reference"], found["first"]) == ("truth", "ours")
    ours, pinn = found["entries"]["ours"], found["entries"]["pinn.npz"]
    assert ours["quality"]["nrmse"] < 1e-6
    assert pinn["quality"]["nrmse"] == pytest.approx(score(results["pinn"], scan_file).nrmse, rel=1e-12)
    assert 0.05 < pinn["quality"]["nrmse"] < 0.2
    assert pinn["agreement"]["nrmse"] == pytest.approx(pinn["quality"]["nrmse"], rel=0.5)
    scan, one = open_scan(scan_file), load_reconstruction(results["ours"])
    wanted = data_misfit(scan, one.object, one.probe, one.positions, background=one.background)
    assert ours["misfit"] == pytest.approx(wanted, rel=1e-12)
    assert wanted != pytest.approx(data_misfit(scan, one.object, one.probe, one.positions), rel=1e-3)
    assert (pinn["misfit"], pinn["reason"]) == (None, "no R: it has no positions")
    assert (fakes.cwd / "out" / "comparison.png").stat().st_size > 20_000


def test_without_reference_the_first_counts_and_a_broken_file_is_a_row(fakes, results, table):
    done = fakes.compare("--reconstructions", *results.values(), "-o", "out")
    assert done.returncode == 3
    entries = table(fakes.cwd / "out")["entries"]
    assert entries["ours"]["agreement"] == {} == entries["ours"]["quality"]
    assert entries["pinn.npz"]["agreement"]["nrmse"] > 0.05
    assert entries["broken.npz"]["state"] == "failed"
    assert "cannot be read as npz" in done.stdout
    assert "quality against the result of ours" in done.stdout


def test_a_reference_file_is_taken_instead(results, tmp_path):
    found = compare_results([results["pinn"]], tmp_path / "out", reference=results["ours"])
    assert found.reference == "ours"
    assert found.complete
    assert found.entries[0].quality["nrmse"] > 0.05


def test_results_of_one_name_are_told_apart_by_their_folders(results, tmp_path):
    for folder in ("a", "b"):
        shutil.copytree(results["ours"], tmp_path / folder / "torch")
    places = [tmp_path / "a" / "torch", tmp_path / "b" / "torch" / "reconstruction.h5"]
    found = compare_results(places, tmp_path / "out")
    assert [entry.name for entry in found.entries] == ["a/torch", "b/torch"]
    found = compare_results([places[0], places[0]], tmp_path / "same")
    assert len({entry.name for entry in found.entries}) == 2


def test_another_scan_has_no_misfit_and_says_why(results, tmp_path, scan_file):
    with np.load(scan_file) as file:
        fewer = {key: file[key] for key in file.files}
    fewer["intensity"], fewer["positions_px"] = fewer["intensity"][:-1], fewer["positions_px"][:-1]
    np.savez(tmp_path / "fewer.npz", **{key: value for key, value in fewer.items() if not key.endswith("_true")})
    found = compare_results([results["ours"], results["pinn"]], tmp_path / "out", scan=tmp_path / "fewer.npz")
    assert found.entries[0].misfit is None
    assert found.entries[0].reason == "no R: it has 36 frames, the scan 35"


def test_there_must_be_something_to_compare_and_it_must_be_readable(results, tmp_path, scan_file):
    with pytest.raises(UsageError, match="nothing to compare with"):
        compare_results([results["ours"]], tmp_path / "out")
    with pytest.raises(UsageError, match="holds no truth"):
        compare_results([results["ours"]], tmp_path / "out", scan="sample:siemens-star")
    with pytest.raises(DataError, match="none of the results can be used"):
        compare_results([results["broken"]], tmp_path / "out", reference=results["ours"])
    with pytest.raises(DataError, match="There is no file"):
        compare_results([results["ours"]], tmp_path / "out", reference=tmp_path / "nothing.npz")
    assert not (tmp_path / "out").exists()


def test_flags_of_jobs_have_no_meaning_for_results(fakes, results):
    done = fakes.compare("--reconstructions", results["ours"], results["pinn"], "-o", "out", "--backends", "torch")
    assert done.returncode == 2
    assert "--backends has no meaning for results that exist" in done.stderr
    done = fakes.compare("--reconstructions", results["ours"], results["pinn"], "-o", "out", "--epochs", "3")
    assert done.returncode == 2
    assert "--epochs" in done.stderr
