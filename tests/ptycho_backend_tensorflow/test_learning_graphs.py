"""Graphs of ``train`` and ``infer``: few are made, whatever the batches, and XLA can compile them."""

from collections import Counter

import numpy as np
import pytest

import ptycho_core
import ptycho_core.formats.product
from ptycho_backend_tensorflow import compiled
from ptycho_core.cli.main import main
from ptycho_core.errors import DataError
from ptycho_core.model import load_model
from ptycho_core.scan.kept import KeptPatterns

FOUR = {"gridsize": 2, "neighbor_count": 4}
QUICK = {"network_width": 4, "update_steps": 2, "threads": 1, "epochs": 2}


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.setenv("PTYCHO_BACKENDS_ALLOW", "tensorflow")


@pytest.fixture
def graphs(monkeypatch):
    """How many graphs were made, by the name of the function and whether XLA compiles it."""
    made, original = Counter(), compiled.Compiled._trace

    def watched(piece, *given):
        made[piece._function.func.__name__, compiled._TARGET.get()[1]] += 1
        return original(piece, *given)

    monkeypatch.setattr(compiled.Compiled, "_trace", watched)
    return made


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Two scans of different numbers of frames and different canvases."""
    folder, found = tmp_path_factory.mktemp("scans"), []
    for number, frames in enumerate(("46", "33")):
        found.append(folder / f"{number}.npz")
        words = ["--size", "32", "--frames", frames, "--photons", "1e5", "--seed", str(number), "--scan", "random"]
        assert main(["simulate", str(found[-1]), *words]) == 0
    return found


@pytest.mark.parametrize("settings", [{"gridsize": 1}, FOUR | {"train_probe": True}, FOUR | {"merge": "group"}])
def test_one_graph_learns_and_one_judges_for_uneven_batches_of_several_scans(settings, scans, graphs, tmp_path):
    told = []
    ptycho_core.train(
        scans,
        tmp_path / "run",
        batch_size=10,
        validation_split=0.3,
        observers=[told.append],
        **QUICK | settings,
    )
    # Of 32 and 23 frames: four batches and three, one of them smaller.
    assert {event.values["batches"] for event in told if event.kind == "step" and "batches" in event.values} == {7}
    # Estimates of single frames that never change are made once, by their own graph.
    own = {("_estimated", False): 1} if settings == {"gridsize": 1} else {}
    # What compares the network with the untrained pass makes graphs too.
    learned = {what: number for what, number in graphs.items() if what[0] in ("_estimated", "_stepped", "_moved")}
    assert learned == own | {("_stepped", False): 2, ("_moved", False): 1}
    assert graphs["_of_groups", False] <= 1, "passes that are timed next to each other make no graphs of their own"
    graphs.clear()
    ptycho_core.infer(scans[0], tmp_path / "run", inference_batch_size=7)
    assert not graphs


@pytest.mark.long
def test_xla_trains_and_infers_what_is_trained_and_inferred_without(scans, graphs, tmp_path):
    losses, objects = [], []
    for number, options in enumerate(([], ["--opt", "tensorflow.jit=true"])):
        run = tmp_path / str(number)
        settings = ["--gridsize", "2", "--network-width", "4", "--update-steps", "1", "--epochs", "1", "--batch-size", "12"]
        words = [*settings, "--neighbor-count", "4", "--train-probe", "--threads", "1", "--quiet", *options]
        assert main(["train", str(scans[0]), "-o", str(run), *words]) == 0
        losses.append(load_model(run / "last.ptycho").history[-1]["loss"])
        assert main(["infer", str(scans[0]), "--model", str(tmp_path / "0"), "-o", f"{run}i", "--quiet", *options]) == 0
        objects.append(ptycho_core.formats.product.load_reconstruction(f"{run}i").object)
    assert {jit for _, jit in graphs} == {False, True}
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert np.linalg.norm(objects[1] - objects[0]) < 1e-4 * np.linalg.norm(objects[0])


def test_what_is_read_ahead_is_learned_from_as_what_is_kept(scans, monkeypatch, tmp_path):
    for name in ("kept", "read"):
        ptycho_core.train(scans, tmp_path / name, batch_size=10, accumulate_grad_batches=2, **QUICK)
        monkeypatch.setattr("ptycho_core.engine.device_scan.FRAMES_BYTES", 0)
    kept, read = (load_model(tmp_path / name / "last.ptycho").weights for name in ("kept", "read"))
    assert all(np.array_equal(value, read[name]) for name, value in kept.items())


def test_a_pattern_that_cannot_be_read_ahead_is_told_as_such(scans, monkeypatch, tmp_path):
    monkeypatch.setattr("ptycho_core.engine.device_scan.FRAMES_BYTES", 0)
    original, calls = KeptPatterns.read, []

    def broken(patterns, frames):
        calls.append(frames)
        if np.size(frames) == 10:  # a batch, not the whole scan
            raise DataError("the disk is gone")
        return original(patterns, frames)

    monkeypatch.setattr(KeptPatterns, "read", broken)
    with pytest.raises(DataError, match="the disk is gone"):
        ptycho_core.train(scans, tmp_path / "run", batch_size=10, n_subsample=30, **QUICK)
    assert calls
