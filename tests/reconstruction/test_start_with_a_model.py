"""``ptycho reconstruct --start MODEL``: the fit begins with what the model gives for the scan."""

import numpy as np
import pytest

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.product import StoredObject
from ptycho_core.reconstruction.start import prepare_start
from ptycho_core.settings.reconstruction import ReconstructionSettings

pytestmark = pytest.mark.usefixtures("only_the_backend_under_test", "undrawn")


@pytest.mark.parametrize("name", ["", "best.ptycho", "last.ptycho"])
def test_the_start_is_what_the_model_gives_where_the_scan_lies(run, scans, tmp_path, capsys, name):
    start = str(run / name)
    assert main(["reconstruct", str(scans[1]), "-o", str(tmp_path / "out"), "--backend", "truth", "--start", start]) == 0
    err = capsys.readouterr().err
    assert f"model {run / (name or 'best.ptycho')}, probe: the scan's own" in err
    assert err.count("60 patterns of second.npz, backend truth") == 1
    assert ptycho_core.score(tmp_path / "out", scans[1]).nrmse < 1e-5


def test_the_job_begins_once_for_observers(run, scans):
    events = []
    ptycho_core.reconstruct(scans[1], backend="truth", start=str(run), observers=[events.append])
    kinds = [event.kind for event in events if event.kind != "step"]
    assert kinds == ["started", "message", "finished"]


def test_what_is_inferred_lies_right_on_a_larger_canvas(run, scans):
    scan = open_scan(scans[1])
    found = ptycho_core.infer(scans[1], run, backend="truth")
    inferred = StoredObject(found.object, found.probe, found.positions, found.origin)
    start = prepare_start(scan, ReconstructionSettings(start=str(run), refine_positions="on"), seed=0, inferred=inferred)
    row, column = (found.origin - start.origin).astype(int)
    rows, columns = found.object.shape
    assert (row, column) == (8, 8)
    assert np.array_equal(start.object[row : row + rows, column : column + columns], found.object)
    assert (start.object[:8] == 1).all()


def test_a_model_of_another_size_and_settings_of_the_inference_are_told_as_usual(run, scans, tmp_path, capsys):
    words = ["-o", str(tmp_path / "out"), "--backend", "truth", "--start", str(run)]
    assert main(["reconstruct", "sample:siemens-star", *words]) == 5
    assert "was trained with 32 x 32" in capsys.readouterr().err
    (run / "best.ptycho").unlink()
    assert main(["reconstruct", str(scans[1]), *words]) == 5
    assert "best.ptycho" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_probe_that_is_given_serves_inference_and_fit(truth, run, scans, tmp_path):
    with np.load(scans[1]) as file:
        probe = np.roll(file["probe_guess"], 2, axis=-1)
    np.save(tmp_path / "probe.npy", probe)
    found = ptycho_core.reconstruct(scans[1], backend="truth", start=str(run), probe=str(tmp_path / "probe.npy"))
    same = [np.vdot(one, probe) / np.linalg.norm(one) / np.linalg.norm(probe) for one in (truth.probe, found.probe)]
    assert np.abs(same) == pytest.approx(1)
