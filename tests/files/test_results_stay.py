"""What was there stays until the new results are, and what belongs to a user stays for good."""

import json
import os
import signal
from pathlib import Path

import pytest

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.errors import DataError
from ptycho_core.imaging import figures, report

USERS = (
    "epoch-notes.txt",
    ".hidden.1234abcd.txt",
    ".log.mine.csv",
    "checkpoints/mine.txt",
    "tensorboard/mine.txt",
    "mlruns/mine",
)


def leave(job, events):
    raise DataError("it broke.")


def put(folder, names, text="of a user"):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_a_fit_that_fails_leaves_the_result_it_was_to_replace_log_included(fit, small, tmp_path, contents):
    assert fit(tmp_path / "out") == 0
    before = contents(tmp_path / "out")
    small.during = leave
    assert fit(tmp_path / "out", "--overwrite") == 5
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("logger", ["csv", "tensorboard", "mlflow"])
def test_a_training_that_dies_in_its_first_epoch_leaves_the_run_it_was_to_replace(
    train, scan32, small, tmp_path, contents, logger, capsys
):
    run = tmp_path / "run"
    words = ("--logger", logger, "--log-every", "1")
    assert train(run, *words, "--checkpoint-save-top-k", "2") == 0
    before = contents(run)

    def die(event):
        if event.kind == "step" and "step" in event.values:  # it is logged, and the epoch is not done
            raise KeyboardInterrupt

    settings = {"network_width": 4, "progress": False, "logger": logger, "log_every": 1}
    with pytest.raises(KeyboardInterrupt):
        ptycho_core.train(scan32, run, backend="small", overwrite=True, observers=[die], **settings)
    assert contents(run) == before
    small.during = leave
    assert train(run, "--overwrite", *words) == 5
    assert contents(run) == before


def test_a_training_takes_the_place_of_another_with_its_first_checkpoint_and_of_nothing_else(train, scan32, tmp_path, contents):
    run = tmp_path / "run"
    assert train(run, "--checkpoint-save-top-k", "-1", "--epochs", "4", "--log-every", "1") == 0
    put(run, USERS)
    old, seen = contents(run), []

    def watch(event):
        if event.kind in ("epoch", "step"):
            now = contents(run)
            seen.append((event.kind, event.epoch, {name for name, data in now.items() if old.get(name) == data} - {*USERS}))

    settings = {"epochs": 2, "network_width": 4, "progress": False, "log_every": 1}
    ptycho_core.train(scan32, run, backend="small", overwrite=True, observers=[watch], **settings)
    first = next(number for number, (kind, _, _) in enumerate(seen) if kind == "epoch")
    assert {left for _, _, names in seen[:first] for left in names} >= {"best.ptycho", "metrics.json", "log.csv", "steps.csv"}
    assert all(not names for _, epoch, names in seen if epoch == 2)
    now = contents(run)
    models = {"best.ptycho", "last.ptycho"}
    assert set(now) == models | {"settings.json", "metrics.json", "losses.png", "log.csv", "steps.csv", *USERS}
    assert {name: now[name] for name in USERS} == {name: old[name] for name in USERS}
    assert (run / "steps.csv").read_text().count("\n") == 3  # those from before the old log went, too


def test_what_mlflow_keeps_for_others_stays(train, tmp_path, contents):
    run = tmp_path / "run"
    assert train(run, "--logger", "mlflow") == 0
    stored = {name for name in contents(run) if name.startswith("mlruns")}
    ours = next(Path(name).parts[:3] for name in stored if name.endswith("ptycho.verb"))
    theirs = {str(Path(*ours[:2], "a" * 32, "meta.yaml")), str(Path(*ours, "artifacts", "mine.png"))}
    put(run, theirs)
    assert train(run, "--logger", "none", "--overwrite") == 0
    left = {name for name in contents(run) if name.startswith("mlruns")}
    assert left == theirs | {str(Path(*ours[:2], "meta.yaml"))}


def test_a_run_that_goes_on_is_not_complete_until_it_ends(train, small, tmp_path):
    run = tmp_path / "run"
    assert train(run) == 0
    small.during = leave
    assert train(run, "--resume", "--epochs", "4") == 5
    assert (run / "metrics.json").exists()  # nothing new was written
    small.during = lambda job, events: os.kill(os.getpid(), signal.SIGINT)
    assert train(run, "--resume", "--epochs", "4") == 130
    assert json.loads((run / "metrics.json").read_text())["epochs"] == 2


def test_a_figure_that_cannot_be_drawn_is_a_note_and_the_old_one_goes(fit, scan, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert fit(out) == 0

    def broken(*_, **__):
        raise ValueError("no such backend")

    monkeypatch.setattr(figures, "figure_of_probe", broken)
    assert fit(out, "--overwrite") == 0
    assert not (out / "probe.png").exists()
    assert (out / "object.png").exists()
    told = "probe.png could not be drawn: ValueError: no such backend."
    assert json.loads((out / "metrics.json").read_text())["notes"] == [told]
    told_in_order = []
    ptycho_core.reconstruct(scan, tmp_path / "other", backend="small", progress=False, observers=[told_in_order.append])
    assert [event.message for event in told_in_order if event.kind == "message"] == [told]


def test_the_figure_of_a_training_or_a_score_ends_nothing_either(train, fit, tmp_path, monkeypatch, capsys):
    def broken(*_, **__):
        raise RuntimeError("cannot")

    monkeypatch.setattr(figures, "figure_of_losses", broken)
    monkeypatch.setattr(figures, "figure_of_score", broken)
    assert train(tmp_path / "run") == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["notes"] == [
        "losses.png could not be drawn: RuntimeError: cannot."
    ]
    assert fit(tmp_path / "out") == 0
    (tmp_path / "out" / "score.png").write_text("old")
    words = ["score", str(tmp_path / "out"), "--reference", str(tmp_path / "out"), "-o", str(tmp_path / "out"), "--overwrite"]
    assert main(words) == 0
    assert "warning: score.png could not be drawn" in capsys.readouterr().err
    assert (tmp_path / "out" / "score.json").exists()
    assert not (tmp_path / "out" / "score.png").exists()


def test_the_metrics_are_written_last_and_every_file_is_on_the_disk_before_it_has_its_name(fit, train, tmp_path, monkeypatch):
    synced, names = set(), []
    sync, replace = os.fsync, os.replace

    def watch_sync(descriptor):
        sync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    def watch_replace(source, target):
        assert source.stat().st_ino in synced
        replace(source, target)
        synced.discard(target.parent.stat().st_ino)
        names.append((target.parent.stat().st_ino, target.name))

    monkeypatch.setattr(os, "fsync", watch_sync)
    monkeypatch.setattr(os, "replace", watch_replace)
    assert fit(tmp_path / "out") == 0
    order = [name for _, name in names if name != "log.csv"]
    figures = ["object.png", "probe.png", "losses.png", "frames.png"]
    assert order == ["reconstruction.h5", "settings.json", "frames.csv", *figures, "metrics.json"]
    assert names[-1][0] in synced  # the folder, after the last name
    assert train(tmp_path / "run") == 0
    assert [name for _, name in names][-3:] == ["settings.json", "losses.png", "metrics.json"]


def test_with_new_arrays_nothing_old_is_left_beside_them_whatever_comes_after(fit, tmp_path, monkeypatch, contents):
    out = tmp_path / "out"
    assert fit(out) == 0
    old = contents(out)
    put(out, USERS)

    def end(path, values, ready=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "write_json", end)  # the process ends after the arrays
    assert fit(out, "--overwrite", "--seed", "7") == 130
    assert set(contents(out)) == {"reconstruction.h5", "log.csv", *USERS}
    assert contents(out)["reconstruction.h5"] != old["reconstruction.h5"]


def test_half_written_files_of_a_killed_job_go_at_the_next_start_and_hidden_files_of_a_user_stay(fit, train, tmp_path):
    out, run = tmp_path / "out", tmp_path / "run"
    left = [".reconstruction.0123abcd.h5", ".metrics.89abcdef.json", ".object.00000000.png", ".log.12345678.csv"]
    mine = [".reconstruction.h5", ".mine.0123abcd.h5", ".reconstruction.0123ABCD.h5", ".reconstruction.0123abcde.h5", ".x"]
    put(out, left)
    assert fit(out) == 0  # a folder of nothing else is empty
    put(out, left + mine)
    assert fit(out, "--overwrite") == 0
    assert {path.name for path in out.iterdir() if path.name.startswith(".")} == set(mine)
    assert train(run) == 0
    put(run, [".last.0123abcd.ptycho", "checkpoints/.epoch-0012.0123abcd.ptycho", "checkpoints/.epoch-notes.0123abcd.txt"])
    assert train(run, "--resume") == 0
    assert [path.name for path in (run / "checkpoints").iterdir()] == [".epoch-notes.0123abcd.txt"]
    assert not (run / ".last.0123abcd.ptycho").exists()
