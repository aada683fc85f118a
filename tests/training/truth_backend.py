"""A complete small backend without framework: it trains nothing but keeps the contract, and infers the truth up to phases."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ptycho_core import backends
from ptycho_core.backends.registry import find_named
from ptycho_core.cli.main import main
from ptycho_core.contract import (
    BackendSpec,
    Device,
    Disposition,
    Event,
    ExecutionPlan,
    InferBatch,
    ProbeReport,
    ReconstructResult,
    TrainResult,
)
from ptycho_core.hookspecs import hookimpl
from ptycho_core.inference.order import inference_order
from ptycho_core.model import TrainingState, save_model

SPEC = BackendSpec(
    "truth", "Truth", (2, 0), None, ("train", "infer", "reconstruct"), precisions=("float32", "float64"), options=()
)


class Truth:
    """Each epoch halves the loss; a patch is the window of the scan file's ``object_true`` times a random phase factor."""

    def __init__(self):
        self.jobs = []
        self.before_epoch = lambda epoch: None
        self.between = lambda batch: None

    @hookimpl
    def ptycho_backend_spec(self):
        return SPEC

    @hookimpl
    def ptycho_probe(self):
        return ProbeReport("1.0", (Device("cpu", "cpu"),), SPEC.precisions)

    @hookimpl
    def ptycho_plan(self, request, probe):
        effective = dict(request.execution) | {"accelerator": "cpu", "threads": 1}
        answers = {name: Disposition("applied", effective.get(name)) for name in request.requested}
        return ExecutionPlan("cpu", effective, {}, answers, ("no notes",))

    @hookimpl
    def ptycho_train(self, job, plan, events):
        self.jobs.append(job)
        model = job.model
        history = list(model.history)
        best, last = job.output_dir / "best.ptycho", job.output_dir / "last.ptycho"
        for epoch in range(len(history) + 1, job.settings["training"]["epochs"] + 1):
            self.before_epoch(epoch)
            if events.stop_requested:
                save_model(last, replace(model, training=TrainingState({"step": np.zeros(1)}, {"epoch": len(history)})))
                found = best if best.exists() else last
                return TrainResult(found, last, history, "stopped by the user", interrupted=True)
            history.append({"epoch": epoch, "loss": 0.5**epoch, "misfit": 0.25**epoch, "seconds": 0.1})
            model = replace(model, history=history, training=TrainingState({"step": np.full(1, epoch, float)}, {"epoch": epoch}))
            for path in (best, last):
                save_model(path, model)
            events.emit(Event("epoch", "training", epoch, job.settings["training"]["epochs"], history[-1]))
        return TrainResult(best, last, history, "all epochs done", facts={"device": "cpu"})

    @hookimpl
    def ptycho_infer(self, job, plan, events):
        self.jobs.append(job)
        scan, self.probe = job.scan, job.probe
        with np.load(scan.source, allow_pickle=False) as file:
            truth = file["object_true"]
        corners = np.floor(scan.positions).astype(int)
        frames = np.concatenate(inference_order(scan.positions, scan.size))
        size, random = int(job.settings["execution"]["inference_batch_size"]), np.random.default_rng(4)
        for number, start in enumerate(range(0, len(frames), size)):
            self.between(number)
            some = frames[start : start + size]
            patches = [truth[r : r + scan.size, c : c + scan.size] for r, c in corners[some]]
            phases = np.exp(2j * np.pi * random.random(len(some)))
            yield InferBatch(some, (np.stack(patches) * phases[:, None, None]).astype(np.complex64))

    @hookimpl
    def ptycho_reconstruct(self, job, plan, events):
        self.jobs.append(job)
        return ReconstructResult(job.object, job.probe, job.positions, None, [], np.zeros(0, np.int64), "it stays with the start")


@pytest.fixture
def truth():
    """The backend, registered; it has no framework, so that any other may be loaded."""
    plugin = Truth()
    backends.register("truth", plugin, SPEC)
    yield plugin
    backends.unregister("truth")


def simulated(path: Path, *words: str) -> Path:
    assert main(["simulate", str(path), "--size", "32", "--frames", "60", "--photons", "1e5", *words]) == 0
    return path


@pytest.fixture(scope="session")
def scans(tmp_path_factory):
    """Two scans of 60 frames of 32 x 32 pixels with their objects: the same probe, other objects."""
    folder = tmp_path_factory.mktemp("scans")
    return simulated(folder / "first.npz", "--seed", "3"), simulated(folder / "second.npz", "--seed", "4")


def train_with_truth(*words):
    """The command, with the backend registered for as long as it runs."""
    backends.register("truth", Truth(), SPEC)
    try:
        assert main(["train", *map(str, words), "--backend", "truth", "--quiet"]) == 0
    finally:
        backends.unregister("truth")


@pytest.fixture(scope="session")
def train(backend):
    """``train(*words)``: the command with the backend under test, or with the small one where that does not train."""

    def train(*words):
        if "train" not in find_named(backend)[0].spec.capabilities:
            return train_with_truth(*words)
        assert main(["train", *map(str, words), "--backend", backend, "--quiet"]) == 0
        return None

    return train


@pytest.fixture(scope="session")
def _trained(scans, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    train_with_truth(scans[0], "-o", folder, "--epochs", "1")
    return folder


@pytest.fixture
def run(_trained, truth, tmp_path):
    """The folder of a training with the first scan."""
    return Path(shutil.copytree(_trained, tmp_path / "run"))
