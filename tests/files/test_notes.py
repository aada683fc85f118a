"""What a user must know of a result stands in ``metrics.json``, not only in what scrolled by."""

import json

from ptycho_core.cli.main import main
from ptycho_core.contract import Event

TROUBLE = "pie: epoch 3 diverged (R 0.5); went back to the best state"


def notes(folder):
    return json.loads((folder / "metrics.json").read_text())["notes"]


def test_what_a_backend_says_of_a_fit_is_kept_once_and_its_progress_is_not(fit, small, tmp_path):
    def say(job, events):
        for _ in range(2):
            events.emit(Event("message", message=TROUBLE))
        events.emit(Event("step", "fit", 1, 1, {"loss": 1.0}))

    small.during = say
    assert fit(tmp_path / "out") == 0
    assert notes(tmp_path / "out") == [TROUBLE]
    small.during = lambda job, events: None
    assert fit(tmp_path / "out", "--overwrite") == 0
    assert notes(tmp_path / "out") == []


def test_a_divergence_of_an_engine_is_a_note(scan, tmp_path, monkeypatch):
    words = ["--backend", "reference", "--epochs", "6", "--iterations", "1", "--object-alpha", "0.0001", "--batch-size", "2"]
    assert main(["reconstruct", str(scan), "-o", str(tmp_path), "--quiet", *words]) == 0
    assert any("went back to the best state" in note for note in notes(tmp_path)), notes(tmp_path)


def test_so_are_the_notes_of_an_inference_also_of_one_that_a_fit_starts_with(train, fit, small, scan32, tmp_path):
    run = tmp_path / "run"
    assert train(run) == 0
    small.during = lambda job, events: events.emit(Event("message", message=f"{type(job).__name__} says so"))
    words = [str(scan32), "--backend", "small", "--quiet"]
    assert main(["infer", *words, "--model", str(run), "-o", str(tmp_path / "out")]) == 0
    assert "InferJob says so" in notes(tmp_path / "out")
    assert main(["reconstruct", *words, "--start", str(run), "-o", str(tmp_path / "fit")]) == 0
    assert notes(tmp_path / "fit") == [*notes(tmp_path / "out"), "ReconstructJob says so"]
