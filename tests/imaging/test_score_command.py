"""``ptycho score`` from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ptycho_core.cli.main import main
from ptycho_core.formats.product import Reconstruction, StoredObject
from ptycho_core.physics.forward import intensities
from ptycho_core.scan.opening import open_scan
from ptycho_core.scan.size import followed_object


@pytest.fixture
def files(tmp_path):
    rows, columns = np.mgrid[:80, :80]
    truth = np.exp(1j * np.sin(rows / 4) * np.cos(columns / 6)) * (1 + 0.2 * np.sin((rows + columns) / 5))
    positions = np.array([[r, c] for r in range(4, 56, 8) for c in range(4, 56, 8)], float)
    probe = np.zeros((1, 16, 16), complex)
    probe[0, 4:12, 4:12] = 9
    counts = intensities(truth, probe, positions).astype(np.float32)
    np.savez(tmp_path / "scan.npz", intensity=np.rint(counts).astype(np.uint16), positions_px=positions, probe_guess=probe[0])
    np.savez(tmp_path / "truth.npz", object_true=truth, positions_px=positions)
    noise = 0.02 * np.random.default_rng(0).normal(size=truth.shape)
    ours = (truth + noise) * np.exp(0.02j * columns + 1j)
    (tmp_path / "result").mkdir()
    Reconstruction(ours, probe, positions, held_out=np.array([3])).save(tmp_path / "result/reconstruction.h5")
    return tmp_path


def test_it_prints_a_table_and_writes_nothing_unasked(files, capsys):
    before = sorted(files.rglob("*"))
    assert main(["score", str(files / "result"), "--reference", str(files / "truth.npz")]) == 0
    out = capsys.readouterr().out
    assert "NRMSE" in out
    assert "removed: shift" in out
    assert sorted(files.rglob("*")) == before


def test_json_has_every_number_and_the_misfit_of_a_scan(files, capsys):
    arguments = ["score", str(files / "result"), "--reference", str(files / "truth.npz"), "--json"]
    assert main([*arguments, "--scan", str(files / "scan.npz")]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["nrmse"] == pytest.approx(0.02, rel=0.1)
    assert values["registration"]["ramp_rad_per_px"][1] == pytest.approx(-0.02, abs=1e-4)
    assert 0 < values["misfit"] < 0.2
    assert 0 < values["held_out_misfit"] < 0.2


def test_output_is_written_once_and_replaced_only_when_asked(files, capsys):
    arguments = ["score", str(files / "result"), "--reference", str(files / "truth.npz"), "-o", str(files / "out")]
    assert main(arguments) == 0
    assert {file.name for file in (files / "out").iterdir()} == {"score.json", "score.png"}
    assert main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


def test_max_shift_bounds_the_shift(files, capsys):
    reference = np.load(files / "truth.npz")["object_true"]
    np.save(files / "moved.npy", np.roll(reference, 5, axis=0))
    shifts = {}
    for bound in ("1", "8"):
        assert (
            main(["score", str(files / "moved.npy"), "--reference", str(files / "truth.npz"), "--json", "--max-shift", bound])
            == 0
        )
        shifts[bound] = json.loads(capsys.readouterr().out)["registration"]["shift_px"][0]
    assert abs(shifts["1"]) <= 1
    assert shifts["8"] == pytest.approx(-5, abs=1e-3)


def test_the_twin_is_tried_when_asked(files, capsys):
    np.save(files / "twin.npy", np.conj(np.load(files / "truth.npz")["object_true"][::-1, ::-1]))
    found = {}
    for name, extra in (("plain", []), ("twin", ["--twin"])):
        assert main(["score", str(files / "twin.npy"), "--reference", str(files / "truth.npz"), "--json", *extra]) == 0
        found[name] = json.loads(capsys.readouterr().out)
    assert found["twin"]["nrmse"] < 1e-4 < found["plain"]["nrmse"]
    assert found["twin"]["registration"]["twin"]


@pytest.mark.parametrize(
    ("changed", "status", "words"),
    [
        (["--reference", "none.npz"], 5, "There is no file"),
        (["--reference", "scan.npz"], 5, "holds no object"),
        (["--reference", "truth.npz", "--max-shift", "-1"], 2, "--max-shift"),
        (["--reference", "truth.npz", "--scan", "truth.npz"], 5, "truth.npz"),
    ],
)
def test_a_mistake_is_one_sentence_and_a_status(files, monkeypatch, capsys, changed, status, words):
    monkeypatch.chdir(files)
    assert main(["score", "result", *changed]) == status
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_the_misfit_is_of_the_patterns_as_the_result_says_that_they_were_read(files, capsys):
    scan = open_scan(files / "scan.npz", {"size": 32, "photons": 1e6})
    with np.load(files / "truth.npz") as file:
        truth = followed_object(scan, StoredObject(file["object_true"]), "truth.npz", own=True).object
    kept = {"settings": {"size": {"value": 32}, "photons": {"value": 1e6}}}
    probe = scan.probe * np.sqrt(scan.counts_factor)
    (files / "padded").mkdir()
    path = Reconstruction(truth, probe, scan.positions, settings=kept).save(files / "padded/reconstruction.h5")
    words = ["score", str(path), "--reference", str(path), "--json", "--scan", str(files / "scan.npz")]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["misfit"] < 0.15  # the probe's square is not band-limited
    Reconstruction(truth, probe, scan.positions).save(path)
    assert main(words) == 5
    assert "patterns of 16 pixels" in capsys.readouterr().err
