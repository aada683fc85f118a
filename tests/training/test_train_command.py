"""``ptycho train`` through the real command with a small backend: what the core does before, around and after a training."""

import csv
import json
import os
import signal
import time

import numpy as np
import pytest

import ptycho_core
from ptycho_core import backends
from ptycho_core.cli.main import main
from ptycho_core.errors import DataError, UsageError
from ptycho_core.hookspecs import hookimpl
from ptycho_core.model import load_model
from ptycho_core.networks import initial_weights

pytestmark = pytest.mark.usefixtures("only_the_backend_under_test", "undrawn")

FILES = {"best.ptycho", "last.ptycho", "settings.json", "metrics.json", "log.csv", "losses.png"}


def train(scans, folder, *words, epochs=3):
    given = ["--backend", "truth", "--epochs", str(epochs)]
    return main(["train", *map(str, scans), "-o", str(folder), *given, *map(str, words)])


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_a_training_leaves_a_run_folder_with_models_that_read_back(truth, scans, tmp_path, capsys):
    assert train(scans[:1], tmp_path / "run") == 0
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    out, err = capsys.readouterr()
    assert "3 epochs, best with loss 0.125" in out
    assert str(tmp_path / "run" / "best.ptycho") in out
    assert "60 patterns of 1 scan, backend truth" in err
    found = metrics(tmp_path / "run")
    assert (found["epochs"], found["best"]["epoch"], found["model"], found["interrupted"]) == (3, 3, "best.ptycho", False)
    rows = list(csv.DictReader((tmp_path / "run" / "log.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    model = ptycho_core.load_model(tmp_path / "run")
    assert (model.size, model.gridsize, len(model.history)) == (32, 1, 3)


def test_the_job_carries_scans_settings_and_the_model_to_begin_with(truth, scans, tmp_path):
    assert train(scans[:1], tmp_path / "run", "--validation", scans[1], "--gridsize", 2, "--seed", 5, "--network-width", 8) == 0
    job = truth.jobs[0]
    assert [one.scan.source for one in job.data.scans] == list(scans)
    assert set(job.settings) == {"data", "model", "training", "execution"}
    assert job.model.training is None
    model = load_model(tmp_path / "run")
    assert model.facts == {"size": 32, **job.settings["model"]}
    expected = initial_weights(model.network, 5)
    assert all(np.array_equal(model.weights[name], expected[name]) for name in expected)
    assert model.physics["probe"].shape == (2, 1, 32, 32)
    assert model.producer["ptycho-core"] == ptycho_core.__version__
    kept = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert kept == json.loads(json.dumps(dict(model.settings)))
    assert kept["settings"]["gridsize"]["where"] == "--gridsize 2"
    assert [(one["name"], one["frames"], one["part"]) for one in kept["scans"]] == [
        ("first.npz", 60, "training"),
        ("second.npz", 60, "validation"),
    ]


def test_the_python_call_gives_the_same_as_the_command(truth, scans, tmp_path):
    assert train(scans[:1], tmp_path / "run", "--gridsize", 2) == 0
    events = []
    model = ptycho_core.train(scans[0], tmp_path / "again", backend="truth", epochs=3, gridsize=2, observers=[events.append])
    other = load_model(tmp_path / "run")
    assert all(np.array_equal(model.weights[name], other.weights[name]) for name in other.weights)
    assert np.array_equal(model.physics["probe"], other.physics["probe"])
    assert [event.kind for event in events] == ["started", "epoch", "epoch", "epoch", "finished"]


def test_a_training_goes_on_in_its_folder_for_more_epochs(truth, scans, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(scans[:1], run, "--gridsize", 2, epochs=2) == 0
    assert main(["train", str(scans[0]), "-o", str(run), "--resume", "--epochs", "4"]) == 0
    assert "going on after epoch 2, backend truth" in capsys.readouterr().err
    assert truth.jobs[1].model.training is not None
    assert metrics(run)["epochs"] == 4
    rows = (run / "log.csv").read_text().splitlines()
    assert len(rows) == 5
    settings = load_model(run).settings["settings"]
    assert (settings["epochs"]["value"], settings["epochs"]["where"]) == (4, "--epochs 4")
    assert settings["gridsize"]["where"] == "--gridsize 2"
    # Whoever continues once more without a word continues for as long as was asked for last.
    assert main(["train", str(scans[0]), "-o", str(run), "--resume"]) == 0
    assert truth.jobs[2].settings["training"]["epochs"] == 4


def test_the_training_state_goes_to_the_backend_and_what_is_asked_anew_is_in_the_model_it_gets(truth, scans, tmp_path):
    seen = []
    assert train(scans[:1], tmp_path / "run", epochs=2) == 0
    truth.before_epoch = lambda epoch: seen.append(truth.jobs[-1].model)
    assert main(["train", str(scans[0]), "-o", str(tmp_path / "run"), "--resume", "--epochs", "3"]) == 0
    assert seen[0].training.state == {"epoch": 2}
    assert seen[0].settings["settings"]["epochs"]["value"] == 3


def test_other_scans_are_refused_when_a_training_goes_on(truth, scans, tmp_path, capsys):
    assert train(scans[:1], tmp_path / "run") == 0
    before = (tmp_path / "run" / "last.ptycho").read_bytes()
    for given in ([scans[1]], scans):
        assert main(["train", *map(str, given), "-o", str(tmp_path / "run"), "--resume"]) == 5
        message = capsys.readouterr().err
        assert "second.npz (60 frames of 32 x 32, training)" in message
        assert "last.ptycho" in message
    assert (tmp_path / "run" / "last.ptycho").read_bytes() == before
    assert len(truth.jobs) == 1


def test_there_must_be_something_to_go_on_from(truth, scans, tmp_path, capsys):
    assert main(["train", str(scans[0]), "-o", str(tmp_path / "none"), "--resume"]) == 5
    assert str(tmp_path / "none" / "last.ptycho") in capsys.readouterr().err
    assert train(scans[:1], tmp_path / "run", "--resume", "--overwrite") == 2
    assert train(scans[:1], tmp_path / "run") == 0
    with pytest.raises(UsageError, match="--overwrite"):
        ptycho_core.train(scans[0], tmp_path / "run", backend="truth", resume=True, overwrite=True)


def test_a_run_is_not_replaced_unless_asked_for_and_then_wholly(truth, scans, tmp_path, capsys):
    assert train(scans[:1], tmp_path / "run", epochs=4) == 0
    assert train(scans[:1], tmp_path / "run") == 2
    assert "--overwrite" in capsys.readouterr().err

    def leave(epoch):
        os.kill(os.getpid(), signal.SIGINT)

    truth.before_epoch = leave
    assert train(scans[:1], tmp_path / "run", "--overwrite") == 130
    assert not (tmp_path / "run" / "best.ptycho").exists()  # the one of the run before would pass for this one's
    assert len(load_model(tmp_path / "run" / "last.ptycho").history) == 0


def test_ctrl_c_keeps_a_checkpoint_says_where_and_the_rest_gives_the_same(truth, scans, tmp_path, capsys):
    truth.before_epoch = lambda epoch: os.kill(os.getpid(), signal.SIGINT) if epoch == 3 else None
    assert train(scans[:1], tmp_path / "run", epochs=5) == 130
    out = capsys.readouterr().out
    assert f"continues from {tmp_path / 'run' / 'last.ptycho'}" in out
    assert metrics(tmp_path / "run")["interrupted"] is True
    truth.before_epoch = lambda epoch: None
    assert main(["train", str(scans[0]), "-o", str(tmp_path / "run"), "--resume"]) == 0
    assert train(scans[:1], tmp_path / "whole", epochs=5) == 0
    assert load_model(tmp_path / "run").history == load_model(tmp_path / "whole").history


def test_a_second_ctrl_c_stops_at_once_and_names_the_last_checkpoint(truth, scans, tmp_path, capsys):
    def twice(epoch):
        if epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    truth.before_epoch = twice
    assert train(scans[:1], tmp_path / "run") == 130
    assert f"The last checkpoint is {tmp_path / 'run' / 'last.ptycho'}" in capsys.readouterr().err
    assert len(load_model(tmp_path / "run").history) == 1


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_training_that_fails_keeps_its_checkpoint_or_leaves_no_folder(truth, scans, tmp_path, capsys, epoch):
    def fail(number):
        if number == epoch:
            raise DataError("The loss of batch 3 is not a number.")

    truth.before_epoch = fail
    assert train(scans[:1], tmp_path / "run") == 5
    message = capsys.readouterr().err
    assert "batch 3" in message
    assert (tmp_path / "run" / "last.ptycho").exists() == (epoch == 2)
    assert (tmp_path / "run").exists() == (epoch == 2)
    assert ("The last checkpoint is" in message) == (epoch == 2)


def scan_like(scan, path, **changes):
    with np.load(scan) as file:
        arrays = {name: file[name] for name in file.files} | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def test_scans_that_cannot_be_learned_from_are_refused_and_leave_no_folder(truth, scans, tmp_path, capsys):
    with np.load(scans[0]) as file:
        larger = np.pad(file["intensity"], ((0, 0), (8, 8), (8, 8)))
        probe = file["probe_guess"]
    bad = {
        "size": (scan_like(scans[0], tmp_path / "size.npz", intensity=larger, probe_guess=None, mask=None), [], "32 x 32"),
        "modes": (
            scan_like(scans[0], tmp_path / "modes.npz", probe_guess=np.stack([probe.reshape(32, 32)] * 2)),
            [],
            "--modes 2",
        ),
        "dark": (scan_like(scans[0], tmp_path / "dark.npz", intensity=np.zeros((60, 32, 32), int)), [], "no counts"),
        "few": (scans[1], ["--gridsize", "3", "--n-subsample", "5"], "5 "),
    }
    for name, (second, words, part) in bad.items():
        assert train([scans[0], second], tmp_path / "run", *words) == 5, name
        message = capsys.readouterr().err
        assert part in message, (name, message)
        assert not (tmp_path / "run").exists(), name
    assert truth.jobs == []


@pytest.mark.parametrize("words", [(), ("--quiet",)])
def test_a_collapse_is_kept_with_the_metrics_and_said_even_without_progress(words, truth, scans, tmp_path, capsys, monkeypatch):
    told = {2: "It was flat after two.", 3: "It was flat after three."}
    monkeypatch.setattr("ptycho_core.training.stopping.collapse", lambda history: told.get(len(history)))
    assert train(scans[:1], tmp_path / "run", *words) == 0
    assert metrics(tmp_path / "run")["notes"] == ["It was flat after two."]
    if words:  # else it is the backend that says it, when it is seen
        assert capsys.readouterr().err == "It was flat after two.\n"


def test_a_scan_that_is_given_twice_is_told(truth, scans, tmp_path, capsys):
    copy = tmp_path / "copy.npz"
    copy.write_bytes(scans[0].read_bytes())
    assert train([scans[0], scans[0]], tmp_path / "twice", epochs=1) == 0
    assert metrics(tmp_path / "twice")["notes"] == [f"{scans[0]} is given twice and counts twice."]
    assert "is given twice" in capsys.readouterr().err
    assert train([scans[0]], tmp_path / "judged", "--validation", copy, "--quiet", epochs=1) == 0
    (note,) = metrics(tmp_path / "judged")["notes"]
    assert note.startswith(f"{copy} (the same as {scans[0]}) is learned from, so it cannot tell")
    assert note in capsys.readouterr().err
    assert train([scans[0]], tmp_path / "apart", "--validation", scans[1], epochs=1) == 0
    assert metrics(tmp_path / "apart")["notes"] == []


def test_a_ctrl_c_that_an_import_turns_into_another_error_is_still_a_ctrl_c(truth, scans, tmp_path, capsys):
    class Importing(type(truth)):
        @hookimpl
        def ptycho_probe(self):
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(5)
            except KeyboardInterrupt:
                raise AttributeError("module has no attribute 'matrix'") from None

    backends.unregister("truth")
    backends.register("truth", Importing(), truth.ptycho_backend_spec())
    before = signal.getsignal(signal.SIGINT)
    assert train(scans[:1], tmp_path / "run") == 130
    assert capsys.readouterr().err == "ptycho: interrupted\n"
    assert not (tmp_path / "run").exists()
    assert signal.getsignal(signal.SIGINT) is before
