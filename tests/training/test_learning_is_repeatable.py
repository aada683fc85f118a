"""The same training twice gives the same bits, and so does one that was stopped and went on, however it was stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

import ptycho_core
from ptycho_core.errors import DataError
from ptycho_core.model import TrainingState, load_model, save_model
from ptycho_core.scan.reading import READER_NAME

pytestmark = pytest.mark.usefixtures("only_the_backend_under_test", "undrawn")

TIMES = ("seconds", "patterns_per_second")
SMALL = {"epochs": 3, "network_width": 4, "update_steps": 2, "batch_size": 10, "threads": 1}
"""Six batches of ten frames an epoch."""

PHYSICS = {"modes": 2, "train_probe": True, "train_scale": True}
"""What learns next to the network."""


def timeless(values):
    return {name: value for name, value in values.items() if name not in TIMES}


def assert_equal(first, second):
    """The files of two trainings: all that was learned, all that is needed to continue, and the history, times aside."""
    one, other = load_model(first, training=True), load_model(second, training=True)
    for name in ("network", "facts", "scaling"):
        assert getattr(one, name) == getattr(other, name)
    assert [timeless(row) for row in one.history] == [timeless(row) for row in other.history]
    for held, again in ((one.weights, other.weights), (one.physics, other.physics), (one.training.arrays, other.training.arrays)):
        assert held.keys() == again.keys()
        assert [name for name in held if held[name].dtype != again[name].dtype] == []
        assert [name for name in held if not np.array_equal(held[name], again[name])] == []
    states = [timeless(model.training.state) for model in (one, other)]
    assert states[0] == states[1]


ALIKE = {
    "adam, bf16-mixed": {"precision": "bf16-mixed", "gridsize": 2},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "threads": 2, "gridsize": 2, "oversampling": 2} | PHYSICS,
    "sgd, float64": {"optimizer": "sgd", "learning_rate": 0.01, "accumulate_grad_batches": 4, "precision": "float64"} | PHYSICS,
}
PROGRAM = """
import json, sys, numpy, ptycho_core
from ptycho_core.imaging import drawing, figures
figures.figure_of_losses = lambda history: drawing.empty_figure(1, 1)  # no test looks at it
scan, other, folder, jobs = json.loads(sys.argv[1])
for name, settings in jobs.items():
    ptycho_core.train(scan, f"{folder}/{name}", **settings)
    found = ptycho_core.infer(other, f"{folder}/{name}", threads=settings["threads"])
    numpy.save(f"{folder}/{name}.npy", found.object)
"""


def test_another_process_learns_and_infers_the_same_bits(scans, tmp_path):
    jobs = {name: SMALL | {"epochs": 2} | settings for name, settings in ALIKE.items()}
    for place, seed in (("here", "3"), ("there", "7")):
        words = [sys.executable, "-c", PROGRAM, json.dumps([str(scans[0]), str(scans[1]), str(tmp_path / place), jobs])]
        # Threads that spin while they wait take the cores from each other.
        environment = dict(os.environ) | {"PYTHONHASHSEED": seed, "OMP_WAIT_POLICY": "PASSIVE"}
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr
    for name in jobs:
        for file in ("best.ptycho", "last.ptycho"):
            assert_equal(tmp_path / "here" / name / file, tmp_path / "there" / name / file)
        assert np.array_equal(*(np.load(tmp_path / place / f"{name}.npy") for place in ("here", "there")))


class Presses:
    """An observer that presses Ctrl-C when a step, or the end, of an epoch is reported; ``times`` in a row."""

    def __init__(self, epoch, batch, times=1):
        self.epoch, self.batch, self.times = epoch, batch, times

    def __call__(self, event):
        kind = "epoch" if self.batch is None else "step"
        if self.times and event.kind == kind and event.epoch == self.epoch and event.values.get("batch") == self.batch:
            times, self.times = self.times, 0
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)


class PressesAtTheStart:
    """An observer that presses Ctrl-C when the job begins."""

    def __call__(self, event):
        if event.kind == "started":
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def every_step_is_told(monkeypatch):
    monkeypatch.setattr("ptycho_core.training.loop.SECONDS_BETWEEN_EVENTS", 0.0)


def stopped_and_gone_on(scans, folder, settings, *stops):
    """A training that Ctrl-C stops at each of ``stops`` and that then continues; an epoch that has begun is finished first."""
    for number, stop in enumerate(stops):
        press = Presses(*stop)
        ptycho_core.train(scans, folder, resume=number > 0, observers=[press], **settings)
        assert press.times == 0, stop
        assert json.loads((folder / "metrics.json").read_text())["interrupted"] is True
        assert load_model(folder / "last.ptycho", training=True).training.state["epoch"] == stop[0] + 1
    ptycho_core.train(scans, folder, resume=True, **settings)
    assert json.loads((folder / "metrics.json").read_text())["interrupted"] is False


STOPS = {"inside the first epoch": [(1, 1)], "inside an epoch and after the next": [(1, 3), (2, None)]}


@pytest.fixture(scope="module")
def plain(scans, tmp_path_factory):
    """The folder of a training that no one stopped."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    ptycho_core.train([scans[0]], folder, **SMALL)
    return folder


@pytest.mark.parametrize("stop", STOPS)
def test_whatever_the_moment_of_ctrl_c_the_rest_gives_the_bits_of_a_run_without(plain, stop, scans, tmp_path, every_step_is_told):
    stopped_and_gone_on([scans[0]], tmp_path / "parts", SMALL, *STOPS[stop])
    for file in ("best.ptycho", "last.ptycho"):
        assert_equal(plain / file, tmp_path / "parts" / file)


def test_a_ctrl_c_during_the_last_epoch_stops_nothing(plain, scans, tmp_path, every_step_is_told):
    press = Presses(3, 2)
    ptycho_core.train([scans[0]], tmp_path / "run", observers=[press], **SMALL)
    assert press.times == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["interrupted"] is False
    assert_equal(plain / "last.ptycho", tmp_path / "run" / "last.ptycho")


def test_a_ctrl_c_before_the_first_epoch_leaves_what_a_training_can_begin_with(plain, scans, tmp_path):
    ptycho_core.train([scans[0]], tmp_path / "parts", observers=[PressesAtTheStart()], **SMALL)
    assert load_model(tmp_path / "parts" / "last.ptycho", training=True).history == ()
    ptycho_core.train([scans[0]], tmp_path / "parts", resume=True)
    for file in ("best.ptycho", "last.ptycho"):
        assert_equal(plain / file, tmp_path / "parts" / file)


def test_a_checkpoint_of_an_older_version_that_stands_within_an_epoch_is_refused(plain, scans, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(plain, run)
    model = load_model(run / "last.ptycho", training=True)
    old = TrainingState(model.training.arrays, {**model.training.state, "batches": 3, "sums": {}})
    save_model(run / "last.ptycho", replace(model, training=old))
    with pytest.raises(DataError, match="stands within epoch 4; a training continues from the end of an epoch only"):
        ptycho_core.train([scans[0]], run, resume=True, epochs=5)


def test_what_a_second_ctrl_c_cut_off_goes_on_from_the_epoch_before(plain, scans, tmp_path, every_step_is_told):
    with pytest.raises(KeyboardInterrupt):
        ptycho_core.train([scans[0]], tmp_path / "parts", observers=[Presses(2, 2, times=2)], **SMALL)
    assert load_model(tmp_path / "parts" / "last.ptycho", training=True).training.state["epoch"] == 2
    ptycho_core.train([scans[0]], tmp_path / "parts", resume=True)
    for file in ("best.ptycho", "last.ptycho"):
        assert_equal(plain / file, tmp_path / "parts" / file)


RESUMED = {
    "gathered gradients of sgd": {"optimizer": "sgd", "learning_rate": 0.01, "accumulate_grad_batches": 2} | PHYSICS,
    "adamw with drawn groups": {"optimizer": "adamw", "weight_decay": 0.1, "gridsize": 2, "oversampling": 2, "batch_size": 20}
    | PHYSICS,
    "float64, supervised": {"precision": "float64", "model_type": "supervised", "merge": "group"} | PHYSICS | {"mae_weight": 0.1},
    "bf16-mixed": {"precision": "bf16-mixed", "train_scale": True},
}
"""What a backend keeps by itself; that rates, means and files continue too is tried in ``tests/training``."""


@pytest.mark.parametrize("what", RESUMED)
def test_every_kind_of_training_goes_on_with_the_bits_of_a_run_without_a_stop(what, scans, tmp_path, every_step_is_told):
    settings = SMALL | {"epochs": 2, "n_subsample": 40} | RESUMED[what]
    ptycho_core.train([scans[0]], tmp_path / "whole", **settings)
    stopped_and_gone_on([scans[0]], tmp_path / "parts", settings, (1, 2))
    for file in ("best.ptycho", "last.ptycho"):
        assert_equal(tmp_path / "whole" / file, tmp_path / "parts" / file)


def test_scans_that_learn_and_one_that_judges_go_on_together(scans, tmp_path, every_step_is_told):
    settings = SMALL | PHYSICS | {"epochs": 2, "validation": [scans[1]]}
    both = [scans[1], scans[0]]
    ptycho_core.train(both, tmp_path / "whole", **settings)
    stopped_and_gone_on(both, tmp_path / "parts", settings, (1, 5))
    for file in ("best.ptycho", "last.ptycho"):
        assert_equal(tmp_path / "whole" / file, tmp_path / "parts" / file)


def test_a_training_that_is_done_has_nothing_to_go_on_with(scans, tmp_path):
    settings = SMALL | {"learning_rate": 1e-12, "early_stop_patience": 1, "epochs": 9}
    ptycho_core.train([scans[0]], tmp_path / "run", **settings)
    before = [load_model(tmp_path / "run" / name, training=True) for name in ("last.ptycho", "best.ptycho")]
    assert 1 < len(before[0].history) < 9
    ptycho_core.train([scans[0]], tmp_path / "run", resume=True)
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert found["stopped_by"] == "no better for 1 epochs"
    after = [load_model(tmp_path / "run" / name, training=True) for name in ("last.ptycho", "best.ptycho")]
    assert [one.history for one in after] == [one.history for one in before]
    assert all(np.array_equal(after[0].weights[name], value) for name, value in before[0].weights.items())


READ_AGAIN = SMALL | {"epochs": 2, "gridsize": 2, "validation_split": 0.2, "progress": False}


def test_what_is_read_ahead_makes_no_difference(scans, tmp_path, backend, monkeypatch):
    """Two scans that are not kept on the device, so that every batch is read again, by no thread or by three."""
    monkeypatch.setattr("ptycho_core.engine.device_scan.FRAMES_BYTES", 0)
    for workers in (0, 3):
        ptycho_core.train(scans, tmp_path / str(workers), backend=backend, num_workers=workers, **READ_AGAIN)
    for file in ("best.ptycho", "last.ptycho"):
        assert_equal(tmp_path / "0" / file, tmp_path / "3" / file)
    facts = [json.loads((tmp_path / name / "metrics.json").read_text())["facts"] for name in ("0", "3")]
    assert [one["readers"] for one in facts] == [0, 3]
    assert 1 < facts[1]["read_ahead"] <= 6
    assert not [one.name for one in threading.enumerate() if one.name.startswith(READER_NAME)]


@pytest.mark.parametrize("workers", [0, 2])
def test_damage_that_is_read_late_is_told_as_ever_and_leaves_no_thread(scans, tmp_path, backend, monkeypatch, workers):
    """A file that is spoiled after the first epoch, of a scan too large to be kept; what was learned until then is kept."""
    monkeypatch.setattr("ptycho_core.scan.kept.KEPT_BYTES", 0)
    monkeypatch.setattr("ptycho_core.engine.device_scan.FRAMES_BYTES", 0)
    with np.load(scans[0]) as file:
        arrays = {name: file[name] for name in file.files}
    key = max(arrays, key=lambda name: arrays[name].ndim * 1000 + arrays[name].size)
    arrays[key] = arrays[key].astype(np.float32)
    path = tmp_path / "scan.npz"
    np.savez(path, **arrays)

    def spoil(event):
        if event.kind == "epoch" and event.epoch == 1:
            content = bytearray(path.read_bytes())
            place = content.index(arrays[key].tobytes()) + arrays[key].nbytes // 2
            content[place : place + 4] = np.float32(np.nan).tobytes()
            with path.open("r+b") as file:  # the same file, which is mapped
                file.write(content)

    settings = SMALL | {"signal": "counts", "num_workers": workers}
    with pytest.raises(DataError, match=r"scan\.npz.*nan in frame"):
        ptycho_core.train(path, tmp_path / "run", backend=backend, observers=[spoil], **settings)
    assert len(load_model(tmp_path / "run" / "last.ptycho").history) == 1
    assert not [one.name for one in threading.enumerate() if one.name.startswith(READER_NAME)]
