"""``ptycho score`` from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ptycho_core.cli.main import main
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.product import Reconstruction, StoredObject
from ptycho_core.imaging.metrics import data_misfit
from ptycho_core.physics.forward import intensities
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


def test_what_became_of_the_bound_is_said(files, capsys):
    reference = np.load(files / "truth.npz")["object_true"]
    rng = np.random.default_rng(4)
    rough = reference * np.exp(0.5j * rng.normal(size=reference.shape))
    np.save(files / "rough.npy", rough)
    np.save(files / "moved.npy", np.roll(rough, (12, -9), axis=(0, 1)))
    command = ["score", str(files / "moved.npy"), "--reference", str(files / "rough.npy")]
    for given, words, absent in (
        ([], "shift (-12.000, 9.000) px (beyond ±8 px: search widened to ±16 px)", "on the bound"),
        (["--max-shift", "15"], "shift (-12.000, 9.000) px, ramp", "widened"),
        (["--max-shift", "9"], "on the bound of ±9 px", "widened"),
    ):
        assert main([*command, *given]) == 0
        told = capsys.readouterr().out
        assert words in told
        assert absent not in told
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["registration"]
    assert (found["search_widened"], found["shift_on_bound"], found["max_shift_px"]) == (True, False, 16)
    folder = str(files / "comparison")
    assert main(["compare", "--reconstructions", command[1], "--reference", command[3], "-o", folder]) == 0
    assert "shift (-12.0, 9.0) px, search widened" in capsys.readouterr().out


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
        (["--reference", "truth.npz", "--max-shift", "inf"], 2, "--max-shift"),
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


def test_a_result_of_another_size_is_compared_only_with_one_of_as_many_pixels(files, capsys):
    with np.load(files / "truth.npz") as file:
        truth, positions = file["object_true"], file["positions_px"]
    probes = {size: np.ones((1, size, size), complex) for size in (8, 16, 32)}
    cropped = Reconstruction(truth[:40, :40], probes[8], positions / 2, facts={"stored_size": 16}).save(files / "cropped.h5")
    np.savez(files / "same.npz", object=truth[:40, :40], probe=probes[8])
    np.savez(files / "other.npz", object=truth, probe=probes[16])
    unknown, uncropped = "truth.npz is an object without a probe", "other.npz is of patterns of 16 pixels"
    for ours, theirs, told in (
        (cropped, "other.npz", uncropped),
        ("other.npz", cropped, uncropped),
        (cropped, "truth.npz", unknown),
    ):
        assert main(["score", str(files / ours), "--reference", str(files / theirs)]) == 5
        error = capsys.readouterr().err
        assert f"{cropped} is of patterns of 8 pixels in place of the 16 of their file" in error
        assert told in error
        assert "--size" in error
    assert main(["score", str(cropped), "--reference", str(files / "same.npz")]) == 0
    plain = Reconstruction(truth, probes[32], positions).save(files / "plain.h5")
    assert main(["score", str(plain), "--reference", str(files / "other.npz")]) == 0  # no one changed a size


def test_the_misfit_is_over_the_pixels_that_were_good_for_the_result(files, capsys):
    with np.load(files / "scan.npz") as file:
        held = dict(file)
    mask = np.ones((16, 16), bool)
    mask[:, 5:9] = False
    held["intensity"] = held["intensity"].copy()
    held["intensity"][:, ~mask] = 50_000
    np.savez(files / "spoilt.npz", **held)
    np.save(files / "mask.npy", mask)
    scan = open_scan(files / "spoilt.npz", {"mask": str(files / "mask.npy"), "photons": 1e5})
    with np.load(files / "truth.npz") as file:
        truth = file["object_true"]
    kept = {"settings": {"photons": {"value": 1e5}, "mask": {"value": "a file that is gone.npy"}}}
    probe = np.zeros((1, 16, 16), complex)
    probe[0, 4:12, 4:12] = 9 * np.sqrt(scan.counts_factor)
    facts = {"counts_factor": scan.counts_factor}
    told = {}
    for name, known in (("with", scan.mask), ("without", None)):
        path = files / f"{name}.h5"
        Reconstruction(truth, probe, scan.positions, mask=known, settings=kept, facts=facts).save(path)
        assert main(["score", str(path), "--reference", str(path), "--json", "--scan", str(files / "spoilt.npz")]) == 0
        told[name] = json.loads(capsys.readouterr().out)["misfit"]
    assert told["with"] == pytest.approx(data_misfit(scan, truth, probe, scan.positions), rel=1e-6)
    assert told["without"] > 2 * told["with"]
