"""A small backend without a framework: it fits and learns nothing, and a test can look into its hooks or break them off."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ptycho_core.contract import (
    BackendSpec,
    Device,
    Disposition,
    Event,
    ExecutionPlan,
    InferBatch,
    ProbeReport,
    ReconstructResult,
)
from ptycho_core.hookspecs import hookimpl
from ptycho_core.inference.order import inference_order
from ptycho_core.training.loop import BatchStats, TrainingLoop

SPEC = BackendSpec("small", "Small", (2, 0), None, ("train", "infer", "reconstruct"), precisions=("float32",), options=())
LOSSES = (5.0, 4.0, 4.5, 3.0, 6.0, 2.0, 2.5, 1.0)
"""Of the epochs of a training, each of one step."""


class Steps:
    """The backend's part of a training whose losses are known beforehand."""

    def __init__(self) -> None:
        self.done = 0

    def begin(self, batches: Any) -> None:
        pass

    def train_batch(self, batch: Any) -> BatchStats:
        return BatchStats(LOSSES[self.done], 1.0, 2.0, 0.5)

    validate_batch = train_batch

    def is_finite(self) -> bool:
        return True

    def step(self, rate: float, batches: int) -> None:
        self.done += 1

    def flat_loss(self, scan: int, frames: Any) -> float:
        return 9.0

    def arrays(self) -> dict[str, Any]:
        return {"done": np.array([self.done])}

    def restore(self, arrays: Any, steps: int) -> None:
        self.done = steps

    def trained(self, model: Any) -> Any:
        return model

    def facts(self) -> dict[str, Any]:
        return {}


class Small:
    """It fits and learns nothing; ``during`` is called inside each hook, with its job and events."""

    def __init__(self) -> None:
        self.during: Callable[[Any, Any], None] = lambda job, events: None

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
        return ExecutionPlan("cpu", effective, {}, answers, ())

    @hookimpl
    def ptycho_train(self, job, plan, events):
        loop = TrainingLoop(job, events, Steps())
        self.during(job, events)
        return loop.run(plan)

    @hookimpl
    def ptycho_infer(self, job, plan, events):
        scan = job.scan
        self.during(job, events)
        for some in inference_order(scan.positions, scan.size):
            yield InferBatch(some, np.ones((len(some), scan.size, scan.size), np.complex64))

    @hookimpl
    def ptycho_reconstruct(self, job, plan, events):
        history = [{"stage": "fit", "epoch": 1, "loss": 1.0, "misfit": 0.5}]
        events.emit(Event("epoch", "fit", 1, 1, history[0]))
        self.during(job, events)
        return ReconstructResult(job.object, job.probe, job.positions, None, history, np.zeros(0, np.int64), "it is done")
