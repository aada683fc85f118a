"""Bad input to ``train`` and ``infer``: one sentence, the documented exit status, and no half-written file."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ptycho_core.cli.main import main
from ptycho_core.model import load_model

pytestmark = pytest.mark.usefixtures("only_the_backend_under_test", "undrawn")

SMALL = {"--epochs": "1", "--network-width": "4", "--update-steps": "2", "--batch-size": "20", "--threads": "1"}
NAMES = ["best.ptycho", "last.ptycho"]


def command(verb, *words):
    given = [str(word) for word in words]
    if verb == "train" and "--resume" not in given:
        given += [item for name, value in SMALL.items() if name not in given for item in (name, value)]
    return [verb, *given, "--quiet"]


def refused(capsys, status, verb, *words):
    """Run the command, which must fail with this status; the one line that it says."""
    capsys.readouterr()
    assert main(command(verb, *words)) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    return err


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def folder(scans, tmp_path_factory):
    """Two good scans, and files that do not fit them."""
    folder = tmp_path_factory.mktemp("bad")
    for name, scan in zip(("good", "also"), scans, strict=True):
        shutil.copy(scan, folder / f"{name}.npz")
    with np.load(scans[0]) as file:
        good = {name: file[name] for name in file.files if name != "mask"}
    counts, probe = good["intensity"], good["probe_guess"]
    wider = ((0, 0), (8, 8), (8, 8))
    spoilt = {
        "n24": {"intensity": counts[:, 4:-4, 4:-4], "probe_guess": probe[:, 4:-4, 4:-4], "probe_true": None},
        "n16": {"intensity": counts[:, 8:-8, 8:-8], "probe_guess": probe[:, 8:-8, 8:-8], "probe_true": None},
        "n48": {"intensity": np.pad(counts, wider), "probe_guess": np.pad(probe, wider), "probe_true": None},
        "eight": {name: good[name][:8] for name in ("intensity", "positions_px", "positions_true_px")},
        "unlabelled": {"object_true": None},
        "only-true": {"probe_guess": None, "probe_true": probe},
    }
    for name, changes in spoilt.items():
        np.savez(folder / f"{name}.npz", **{key: value for key, value in (good | changes).items() if value is not None})
    np.save(folder / "narrow.npy", probe[:, 8:-8, 8:-8])
    np.save(folder / "flat.npy", np.ones((99, 99), np.complex64))
    (folder / "nan.toml").write_text("[training]\nlearning_rate = nan\n")
    return folder


SUPERVISED = ["--model-type", "supervised"]
TRAIN = {
    "N that is no multiple of 16": (5, ["n24.npz"], ["n24.npz", "24 x 24", "multiple of 16 from 32"]),
    "N that is too small": (5, ["n16.npz"], ["n16.npz", "16 x 16", "multiple of 16 from 32"]),
    "scans of different N": (5, ["good.npz", "n48.npz"], ["good.npz", "32 x 32", "n48.npz", "48 x 48"]),
    "a scan to judge by of another N": (5, ["good.npz", "--validation", "n48.npz"], ["32 x 32", "n48.npz", "48 x 48"]),
    "fewer frames than a group": (5, ["good.npz", "eight.npz", "--gridsize", "3"], ["eight.npz", "8 frames", "takes 9"]),
    "fewer frames than neighbours": (
        5,
        ["eight.npz", "--gridsize", "2", "--neighbor-count", "9"],
        ["eight.npz", "8 frames", "neighbor_count", "nearest 9"],
    ),
    "fewer neighbours than a group": (
        2,
        ["good.npz", "--gridsize", "2", "--neighbor-count", "3"],
        ["--neighbor-count 3", "gridsize 2", "4 frames"],
    ),
    "too few frames to judge by": (
        5,
        ["good.npz", "--gridsize", "3", "--validation-split", "0.1"],
        ["good.npz", "validation_split 0.1", "6 frames", "takes 9"],
    ),
    "more frames asked for than there are": (5, ["eight.npz", "--n-subsample", "9"], ["eight.npz", "8 frames", "asks for 9"]),
    "supervised without labels": (5, ["unlabelled.npz", *SUPERVISED], ["unlabelled.npz", "object_true", "--labels"]),
    "one of the scans without labels": (5, ["good.npz", "unlabelled.npz", *SUPERVISED], ["unlabelled.npz", "object_true"]),
    "flat labels": (5, ["good.npz", *SUPERVISED, "--labels", "flat.npy"], ["flat.npy", "(99, 99)", "flat"]),
    "one object for two": (2, ["good.npz", "also.npz", *SUPERVISED, "--labels", "flat.npy"], ["--labels flat.npy", "are 2"]),
    "no data to learn from": (2, ["good.npz", "--amplitude-weight", "0", "--tv-weight", "1"], ["amplitude_weight", "above 0"]),
    "a learning rate of nothing": (2, ["good.npz", "--learning-rate", "0"], ["--learning-rate 0", "above 0"]),
    "a negative learning rate": (2, ["good.npz", "--learning-rate=-1e-3"], ["--learning-rate", "-0.001", "above 0"]),
    "a learning rate that is no number": (2, ["good.npz", "--learning-rate", "nan"], ["--learning-rate nan", "number"]),
    "an infinite learning rate": (2, ["good.npz", "--learning-rate", "inf"], ["--learning-rate inf", "number"]),
    "such a rate in a file": (2, ["good.npz", "--config", "nan.toml"], ["nan.toml, line 2", "learning_rate", "finite"]),
    "a probe of another size": (5, ["good.npz", "--probe", "narrow.npy"], ["narrow.npy", "16 x 16", "32 x 32"]),
    "the true probe": (
        5,
        ["good.npz", "--probe", "only-true.npz"],
        ["only-true.npz", "'probe_true' is the truth", "probe_guess"],
    ),
}


@pytest.mark.parametrize("what", TRAIN)
def test_what_cannot_be_learned_from_is_refused_before_anything_is_written(what, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    before = contents(folder)
    status, words, parts = TRAIN[what]
    message = refused(capsys, status, "train", *words, "-o", "deep/run")
    assert [part for part in parts if part not in message] == []
    assert contents(folder) == before
    assert not (folder / "deep").exists()


@pytest.fixture(scope="module")
def trained(scans, tmp_path_factory):
    """The folder of a training with the first scan."""
    run = tmp_path_factory.mktemp("trained") / "run"
    assert main(command("train", scans[0], "-o", run)) == 0
    return run


@pytest.fixture
def run(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "run"))


def cut(data):
    return data[: len(data) // 2]


def tampered(data):
    place = len(data) // 3
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


FILES = {
    "cut off": (cut, "is cut off or damaged"),
    "empty": (lambda data: b"", "is no ptycho model file: it is not a zip archive"),
    "tampered with": (tampered, "is damaged"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_model_that_is_not_as_it_was_written_is_refused(what, run, scans, tmp_path, capsys):
    change, part = FILES[what]
    for name in NAMES:
        (run / name).write_bytes(change((run / name).read_bytes()))
    before = contents(tmp_path)
    for model, name in ((run, "best.ptycho"), (run / "last.ptycho", "last.ptycho")):
        message = refused(capsys, 5, "infer", scans[1], "--model", model, "-o", tmp_path / "out")
        assert str(run / name) in message
        assert part in message
    message = refused(capsys, 5, "train", scans[0], "-o", run, "--resume", "--epochs", "2")
    assert f"{run / 'last.ptycho'}" in message
    assert contents(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_files_of_other_programs_are_no_models(scans, tmp_path, capsys):
    foreign = shutil.copy(scans[0], tmp_path / "model.ptycho")
    message = refused(capsys, 5, "infer", scans[1], "--model", foreign, "-o", tmp_path / "out")
    assert f"{foreign} is a zip archive but no ptycho model" in message
    message = refused(capsys, 5, "infer", scans[1], "--model", tmp_path, "-o", tmp_path / "out")
    assert f"The folder {tmp_path} has no best.ptycho" in message
    message = refused(capsys, 5, "infer", scans[1], "--model", tmp_path / "none", "-o", tmp_path / "out")
    assert f"There is no file {tmp_path / 'none'}" in message
    assert {path.name for path in tmp_path.iterdir()} == {"model.ptycho"}


INFER = {
    "a scan of another N": (5, ["n48.npz"], ["n48.npz", "48 x 48", "best.ptycho", "32 x 32"]),
    "a probe of another size": (5, ["also.npz", "--probe", "narrow.npy"], ["narrow.npy", "16 x 16", "32 x 32"]),
    "what the model fixes": (2, ["also.npz", "--gridsize", "2"], ["--gridsize 2", "best.ptycho", "fixes it at 1"]),
}


@pytest.mark.parametrize("what", INFER)
def test_a_scan_that_does_not_fit_the_model_is_refused(what, folder, trained, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    status, words, parts = INFER[what]
    message = refused(capsys, status, "infer", *words, "--model", trained, "-o", "out")
    assert [part for part in parts if part not in message] == []
    assert not (folder / "out").exists()


RESUME = {
    "another gridsize": (2, ["{first}", "--gridsize", "2"], ["--gridsize 2", "last.ptycho", "fixes it at 1"]),
    "another width": (2, ["{first}", "--network-width", "8"], ["--network-width 8", "last.ptycho", "fixes it at 4"]),
    "another learning rate": (2, ["{first}", "--learning-rate", "0.1"], ["--learning-rate 0.1", "last.ptycho", "0.001"]),
    "another seed": (2, ["{first}", "--seed", "5"], ["--seed 5", "last.ptycho", "fixes it at 0"]),
    "another scan": (5, ["{second}"], ["last.ptycho", "first.npz", "second.npz"]),
    "one scan more": (5, ["{first}", "{second}"], ["last.ptycho", "place 2", "second.npz"]),
    "a scan that judges": (5, ["{first}", "--validation", "{second}"], ["last.ptycho", "second.npz", "validation"]),
    "other patterns under the same name": (5, ["{renamed}"], ["last.ptycho", "first.npz"]),
}


@pytest.mark.parametrize("what", RESUME)
def test_a_training_does_not_go_on_with_something_else(what, run, scans, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    renamed = shutil.copy(scans[1], tmp_path / "other" / scans[0].name)
    status, words, parts = RESUME[what]
    before = contents(run)
    given = [word.format(first=scans[0], second=scans[1], renamed=renamed) for word in words]
    message = refused(capsys, status, "train", *given, "-o", run, "--resume", "--epochs", "2")
    assert [part for part in parts if part not in message] == []
    assert contents(run) == before


DIVERGING = ["--optimizer", "sgd", "--learning-rate", "0.1", "--momentum", "0.98", "--scheduler", "constant", "--batch-size", "6"]
"""Grows from step to step until nothing is a number: not yet in the first epoch."""


def test_a_loss_that_is_no_number_stops_the_training_and_keeps_the_last_good_checkpoint(scans, tmp_path, capsys):
    run = tmp_path / "run"
    message = refused(capsys, 5, "train", scans[0], "-o", run, *DIVERGING, "--n-subsample", "30", "--epochs", "9")
    told = re.search(r"The loss became (nan|inf) in epoch (\d), batch (\d) of 5, frames (\d+), .* of .*first\.npz", message)
    assert told, message
    assert "lower learning rate" in message
    assert "checkpoints of epoch" in message
    assert int(told[2]) > 1
    for name in NAMES:
        model = load_model(run / name, training=True)
        assert len(model.history) <= int(told[2]) - 1
        assert all(np.isfinite(row["loss"]) for row in model.history)
    assert len(model.history) == int(told[2]) - 1  # of last.ptycho
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_a_loss_that_is_no_number_in_the_first_epoch_leaves_no_folder(scans, tmp_path, capsys):
    rate = ["--learning-rate", "1e20", "--scheduler", "constant", "--batch-size", "6"]
    message = refused(capsys, 5, "train", scans[0], "-o", tmp_path / "run", *rate)
    assert re.search(r"in epoch 1, batch 2 of 10", message), message
    assert "checkpoint" not in message.lower()  # there is none
    assert list(tmp_path.iterdir()) == []


def test_a_gradient_beyond_all_numbers_is_told_as_such(scans, tmp_path, capsys):
    """Its square, which Adam keeps, overflows before the loss does."""
    rate = ["--learning-rate", "1", "--scheduler", "constant", "--tv-weight", "1e30", "--batch-size", "30"]
    message = refused(capsys, 5, "train", scans[0], "-o", tmp_path / "run", *rate)
    assert "epoch 1" in message
    assert "learning rate" in message
    assert list(tmp_path.iterdir()) == []


def test_what_a_replaced_run_left_does_not_stay_beside_a_failed_one(run, scans, capsys):
    refused(capsys, 5, "train", scans[0], "-o", run, "--overwrite", *DIVERGING, "--n-subsample", "30", "--epochs", "9")
    assert sorted(path.name for path in run.iterdir()) == [*NAMES, "log.csv"]


def test_a_second_ctrl_c_stops_in_the_middle_of_a_batch(scans, tmp_path, started):
    slow = ["--gridsize", "3", "--network-width", "48", "--batch-size", "60", "--epochs", "1000", "--threads", "1"]
    running = started("train", scans[0], "-o", tmp_path / "run", *slow)
    running.await_line("train")  # the first batch was done: the second is being learned, which takes seconds
    running.process.send_signal(signal.SIGINT)
    running.await_line("ptycho: stopping after this epoch, which is then saved; press Ctrl-C again")
    running.process.send_signal(signal.SIGINT)
    assert running.end() == (130, "", "ptycho: interrupted\n")
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, sys
import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.errors import PtychoError
scan, folder, *words = sys.argv[1:]

def fill(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def fill_after_the_first_epoch(event):
    if event.kind == "epoch":
        fill(20_000)

small = {"epochs": 3, "network_width": 4, "update_steps": 2, "batch_size": 20, "threads": 1}
try:
    ptycho_core.train(scan, folder + "/half", observers=[fill_after_the_first_epoch], **small)
except PtychoError as error:
    print("status", error.exit_status, error)
fill(90_000)  # enough for the model to begin with, but not with the state of its optimizer
print("status", main([*words, "-o", folder + "/none"]))
fill(20_000)
print("status", main([*words[:2], "--resume", "-o", folder + "/whole", "--epochs", "2"]))
"""


def test_a_full_disk_is_told_and_the_checkpoint_before_stays_whole(trained, scans, tmp_path):
    shutil.copytree(trained, tmp_path / "whole")
    assert (trained / "last.ptycho").stat().st_size > 90_000
    words = [sys.executable, "-c", FULL_DISK, scans[0], tmp_path, *command("train", scans[0])]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    for said in (f"status 2 Cannot write {tmp_path / 'half'}", f"ptycho: Cannot write {tmp_path / 'none'}"):
        told_so = f"{said}/last.ptycho: File too large. Nothing could be saved elsewhere either; tried: "
        assert sum(line.startswith(told_so) for line in told) == 1, told
    assert [line for line in told if line.startswith("status")][1:] == ["status 2", "status 2"]
    assert sorted(path.name for path in (tmp_path / "half").iterdir()) == [*NAMES, "log.csv"]
    for name in NAMES:
        assert len(load_model(tmp_path / "half" / name, training=True).history) == 1
    assert not (tmp_path / "none").exists()
    left, before = ({path.name: data for path, data in contents(one).items()} for one in (tmp_path / "whole", trained))
    assert left == before


def test_a_model_in_the_place_of_a_scan_is_called_one(run, scans, tmp_path, capsys):
    assert main(["infer", str(run / "best.ptycho"), "--model", str(scans[0]), "-o", str(tmp_path / "out")]) == 5
    capsys.readouterr()
    assert main(["inspect", str(run / "best.ptycho")]) == 5
    said = capsys.readouterr().err
    assert said == f"ptycho: {run / 'best.ptycho'} is a model, not a scan. Give the scan as SCAN and the model with --model.\n"
