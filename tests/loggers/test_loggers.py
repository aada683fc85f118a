"""What a training writes of itself, read back with the packages that it is written for."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.errors import DataError, SettingsError
from ptycho_core.loggers import table
from ptycho_core.model import load_model

pytestmark = pytest.mark.usefixtures("only_the_backend_under_test", "undrawn")

SMALL = {"epochs": 2, "network_width": 4, "update_steps": 1, "batch_size": 20, "threads": 1}
"""Three steps an epoch."""

READ_EVENTS = """
import json, sys, types
sys.modules["tensorboard.compat.notf"] = types.ModuleType("tensorboard.compat.notf")  # its own reader, not TensorFlow's
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
rows = []
for raw in RawEventFileLoader(sys.argv[1]).Load():
    event = Event.FromString(raw)
    rows += [[value.tag, event.step, value.simple_value] for value in event.summary.value]
print(json.dumps(rows))
"""
READ_STORE = """
import json, os, sys
from mlflow.tracking import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1])
(run,) = client.search_runs([client.get_experiment_by_name("ptycho").experiment_id])
metrics = {name: [[one.step, one.value] for one in client.get_metric_history(run.info.run_id, name)] for name in run.data.metrics}
print(json.dumps({"metrics": metrics, "params": run.data.params, "status": run.info.status, "name": run.info.run_name}))
"""


def read_back(program, place):
    """What another process reads; reading may import a framework, writing must not."""
    environment = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", program, place], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def columns(model):
    """Each figure of a history under its name in a log: number of the epoch and value, where it was measured."""
    return {
        f"epoch/{name}": [(row["epoch"], pytest.approx(row[name])) for row in model.history]
        for name, value in model.history[0].items()
        if name != "epoch" and value is not None
    }


def test_tensorboard_reads_the_figures_of_epochs_and_steps(scans, tmp_path, backend):
    ptycho_core.train(scans[0], tmp_path / "run", logger="tensorboard", log_every=2, validation_split=0.2, **SMALL)
    model = load_model(tmp_path / "run" / "last.ptycho")
    others = {"torch": {"tensorflow"}, "tensorflow": {"torch"}}[backend]
    assert not others & set(sys.modules)
    (file,) = (tmp_path / "run" / "tensorboard").iterdir()
    found = read_back(READ_EVENTS, str(file))
    epochs = {tag for tag, _, _ in found if tag.startswith("epoch/")}
    assert {tag: [(step, value) for name, step, value in found if name == tag] for tag in epochs} == columns(model)
    assert "epoch/validation_loss" in epochs
    told = [(step, value) for tag, step, value in found if tag == "step/learning_rate"]
    assert [step for step, _ in told] == [2, 4, 6]
    assert told[-1][1] == pytest.approx(model.history[1]["learning_rate"])
    assert {tag for tag, _, _ in found if tag.startswith("step/")} == {"step/loss", "step/learning_rate"}
    assert not (tmp_path / "run" / "log.csv").exists()


def test_mlflow_reads_settings_and_figures_and_how_it_ended(scans, tmp_path):
    ptycho_core.train(scans[0], tmp_path / "run", logger="mlflow", log_every=3, **SMALL)
    model = load_model(tmp_path / "run" / "last.ptycho")
    found = read_back(READ_STORE, (tmp_path / "run" / "mlruns").as_uri())
    assert (found["status"], found["name"]) == ("FINISHED", "run")
    assert (found["params"]["learning_rate"], found["params"]["network_width"]) == ("0.001", "4")
    kept = {name: [tuple(pair) for pair in pairs] for name, pairs in found["metrics"].items()}
    assert {name: pairs for name, pairs in kept.items() if name.startswith("epoch/")} == columns(model)
    assert [step for step, _ in kept["step/loss"]] == [3, 6]
    assert kept["step/learning_rate"][1][1] == pytest.approx(model.history[1]["learning_rate"])


def test_the_log_grows_with_the_run_and_goes_on_with_it(scans, tmp_path):
    seen = []

    def watch(event):
        if event.kind == "epoch":  # the logger has its turn after the observers
            log = tmp_path / "run" / "log.csv"
            seen.append(len(rows(log)) if log.exists() else 0)

    ptycho_core.train(scans[0], tmp_path / "run", log_every=1, observers=[watch], **SMALL)
    assert seen == [0, 1]
    with (tmp_path / "run" / "log.csv").open("a") as file:
        file.write("9,a row that an epoch left which was then cut off\n")
    ptycho_core.train(scans[0], tmp_path / "run", resume=True, epochs=3)
    assert [row["epoch"] for row in rows(tmp_path / "run" / "log.csv")] == ["1", "2", "3"]
    steps = rows(tmp_path / "run" / "steps.csv")
    assert [(row["step"], row["epoch"]) for row in steps] == [(str(k), str((k + 2) // 3)) for k in range(1, 10)]
    assert [float(row["learning_rate"]) for row in steps[2::3]] == [
        float(row["learning_rate"]) for row in rows(tmp_path / "run" / "log.csv")
    ]


def press(times):
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)


def ends(how, truth, scans, run, **settings):
    """A training with the small backend that is asked to stop, or fails, before its third epoch; how it ended."""

    def happens(epoch):
        if epoch == 3:
            press({"interrupted": 1, "interrupted at once": 2}.get(how, 0))
            if how == "failed":
                raise DataError("The loss of batch 3 is not a number.")

    truth.before_epoch = happens
    try:
        ptycho_core.train(scans[0], run, backend="truth", epochs=4, **settings)
    except (KeyboardInterrupt, DataError) as error:
        return type(error)
    return None


ENDINGS = {
    "finished": ("finished", None, 4),
    "interrupted": ("interrupted", None, 2),
    "interrupted at once": ("interrupted", KeyboardInterrupt, 2),
    "failed": ("failed", DataError, 2),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_a_logger_is_closed_once_after_all_epochs_and_told_how_it_ended(how, truth, scans, tmp_path, monkeypatch):
    seen, (state, error, epochs) = [], ENDINGS[how]

    class Recorder:
        def __call__(self, event):
            seen.append((event.kind, event.epoch))

        def close(self, state):
            seen.append(("closed", state))

    for name in ("__call__", "close"):
        monkeypatch.setattr(table.Tables, name, getattr(Recorder, name))
    assert ends(how, truth, scans, tmp_path / "run") is error
    told = [one for one in seen if one[0] in ("epoch", "closed")]
    assert told == [*(("epoch", number) for number in range(1, epochs + 1)), ("closed", state)]
    assert [kind for kind, _ in seen[seen.index(("closed", state)) + 1 :]] == ["finished"] * (error is None)


@pytest.mark.parametrize(("how", "status"), [("interrupted", "5"), ("interrupted at once", "5"), ("failed", "4")])
def test_mlflow_keeps_how_a_run_ended_that_did_not_finish(how, status, truth, scans, tmp_path):
    ends(how, truth, scans, tmp_path / "run", logger="mlflow")
    (kept,) = (tmp_path / "run" / "mlruns").glob("*/*/meta.yaml")
    lines = dict(line.split(": ", 1) for line in kept.read_text().splitlines())
    assert lines["status"] == status  # of MLflow: 4 is FAILED, 5 is KILLED
    assert lines["end_time"].isdigit()


@pytest.mark.parametrize("when", ["before the row", "after it"])
def test_a_second_ctrl_c_while_a_row_is_written_leaves_whole_rows_and_the_rest_comes(when, truth, scans, tmp_path, monkeypatch):
    run, original = tmp_path / "run", table._Table.add

    def pressed(one, row):
        if row["epoch"] == 3 and when == "before the row":
            press(2)
        original(one, row)
        if row["epoch"] == 3:
            press(2)

    monkeypatch.setattr(table._Table, "add", pressed)
    with pytest.raises(KeyboardInterrupt):
        ptycho_core.train(scans[0], run, backend="truth", epochs=4)
    written = ["1", "2", "3"] if when == "after it" else ["1", "2"]
    assert [row["epoch"] for row in rows(run / "log.csv")] == written
    assert (run / "log.csv").read_text().endswith("\n")
    monkeypatch.undo()
    ptycho_core.train(scans[0], run, resume=True)
    assert [(row["epoch"], float(row["loss"])) for row in rows(run / "log.csv")] == [(str(k), 0.5**k) for k in range(1, 5)]


def test_a_log_that_fails_is_a_warning_and_the_run_goes_on(truth, scans, tmp_path):
    def spoil(epoch):
        if epoch == 2:
            (tmp_path / "run" / "log.csv").unlink()
            (tmp_path / "run" / "log.csv").mkdir()

    truth.before_epoch = spoil
    with pytest.warns(RuntimeWarning, match=r"the observer Tables failed and is left out from now on: IsADirectoryError"):
        model = ptycho_core.train(scans[0], tmp_path / "run", backend="truth", epochs=3)
    assert len(model.history) == 3


@pytest.mark.parametrize(("logger", "line"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow-skinny")])
def test_a_logger_that_is_not_installed_is_refused_with_its_line_before_anything_is_made(
    logger, line, truth, scans, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, logger, None)  # so Python is reported that there is none
    words = ["train", str(scans[0]), "-o", str(tmp_path / "run"), "--backend", "truth", "--logger", logger]
    assert main(words) == 2
    message = capsys.readouterr().err
    assert f"{line} is not installed. (from --logger {logger}) Install it with 'pip install {line}'" in message
    assert not (tmp_path / "run").exists()


def test_a_logger_whose_package_cannot_be_imported_is_refused_too(truth, scans, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    with pytest.raises(SettingsError, match="logger tensorboard cannot be made: import of tensorboard"):
        ptycho_core.train(scans[0], tmp_path / "run", backend="truth", logger="tensorboard")
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_replaced_leaves_no_log_and_no_checkpoints(truth, scans, tmp_path):
    run = tmp_path / "run"
    ptycho_core.train(scans[0], run, backend="truth", epochs=1)
    for name in ("checkpoints/epoch-0001.ptycho", "tensorboard/events.out.tfevents.1", "mlruns/0/meta.yaml", "steps.csv"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("old")
    ptycho_core.train(scans[0], run, backend="truth", epochs=1, logger="none", overwrite=True)
    left = {str(Path(path).relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert left == {"best.ptycho", "last.ptycho", "settings.json", "metrics.json", "losses.png"}


def test_without_checkpoints_nothing_is_written_while_it_runs_and_nothing_goes_on_from_it(scans, tmp_path, capsys):
    seen = []
    run = tmp_path / "run"
    words = {"logger": "none", "enable_checkpointing": False}
    model = ptycho_core.train(scans[0], run, observers=[lambda event: seen.extend(run.iterdir())], **words, **SMALL)
    assert [path.name for path in seen if path.suffix == ".ptycho"] == ["last.ptycho"] * seen.count(run / "last.ptycho")
    assert len(model.history) == 2
    assert main(["train", str(scans[0]), "-o", str(run), "--resume"]) == 5
    assert "is the result of a training without checkpoints" in capsys.readouterr().err
    ptycho_core.infer(scans[0], run, threads=1)
