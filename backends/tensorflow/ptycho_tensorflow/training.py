"""The verb ``train``: the steps of a `ptycho_core.training.loop.TrainingLoop` in TensorFlow."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ptycho_core.model import Model, load_model
from ptycho_core.settings.training import loss_weights
from ptycho_core.training.data import TrainingData, training_data
from ptycho_core.training.loop import Told, TrainingLoop
from ptycho_tensorflow.devices import configured, is_mixed, real_dtype
from ptycho_tensorflow.learner import Learner
from ptycho_tensorflow.optimiser import Optimiser
from ptycho_tensorflow.reading import ReadAhead
from ptycho_tensorflow.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from ptycho_core.contract import EventSink, ExecutionPlan, TrainJob, TrainResult, Value
    from ptycho_core.training.course import Batch
    from ptycho_tensorflow.learner import Outcome

__all__ = ["train"]


def train(job: TrainJob, plan: ExecutionPlan, events: EventSink) -> TrainResult:
    """Fit the network of the job's model file, and probes and scales where asked.

    Raises:
        DataError: if a scan cannot be used, or the loss is not a number: the message names epoch, batch and scan.
        OutputError: if a checkpoint cannot be written; the one before is then whole.
    """
    data, model = training_data(job), load_model(job.model_path, training=job.resume)
    with configured(plan):
        return TrainingLoop(job, events, data, model, _Trainer(job, plan, data, model)).run(plan)


class _Trainer:
    """What learns, its optimiser, and the scans on the device."""

    def __init__(self, job: TrainJob, plan: ExecutionPlan, data: TrainingData, model: Model) -> None:
        settings, dtype = job.settings["training"], real_dtype(plan)
        weights = loss_weights(settings, str(model.facts["model_type"]))
        self._samples = [Sample(scan, dtype) for scan in data.scans]
        self._learner = Learner(model, weights, dtype, mixed=is_mixed(plan), jit=bool(plan.options.get("jit")))
        self._optimiser = Optimiser(self._learner.leaves(), settings)
        self._ahead: ReadAhead | None = None

    def begin(self, batches: Sequence[Batch]) -> None:
        read = [batch for batch in batches if not self._samples[batch.scan].frames.cached]
        self._ahead = ReadAhead(self._samples, read) if read else None

    def learn(self, batch: Batch) -> Told:
        read = None if self._samples[batch.scan].frames.cached or self._ahead is None else self._ahead.next()
        outcome = self._learner.outcome(self._samples[batch.scan], batch.scan, batch.groups, learn=True, amplitudes=read)
        self._optimiser.add(outcome.gradient)
        return _told(outcome)

    def judge(self, batch: Batch) -> Told:
        return _told(self._learner.outcome(self._samples[batch.scan], batch.scan, batch.groups))

    def is_finite(self) -> bool:
        return self._optimiser.is_finite()

    def step(self, rate: float, batches: int) -> None:
        self._optimiser.step(rate, batches)

    def flat_loss(self, scan: int, frames: npt.NDArray[np.int64]) -> float:
        return self._learner.flat_loss(self._samples[scan], scan, frames)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        # A model file holds float32, and a probe in counts; what goes on goes on from exactly what it is.
        state = {name: self._learner.canonical(_leaf(name), value) for name, value in self._optimiser.arrays().items()}
        return state | {f"exact.{name}": value for name, value in self._learner.exact().items()}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], steps: int) -> None:
        exact = {name.removeprefix("exact."): value for name, value in arrays.items() if name.startswith("exact.")}
        state = {name: value for name, value in arrays.items() if name.startswith("optimizer.")}
        self._learner.restore(exact)
        self._optimiser.restore({name: self._learner.native(_leaf(name), value) for name, value in state.items()}, steps)

    def trained(self, model: Model) -> Model:
        return replace(model, weights=self._learner.weights_now(), physics=self._learner.physics_now())

    def facts(self) -> dict[str, Value]:
        return {"weights": sum(math.prod(leaf.shape) for leaf in self._learner.leaves().values())}


def _told(outcome: Outcome) -> Told:
    return Told(outcome.loss, outcome.difference, outcome.amplitudes, outcome.deviation)


def _leaf(name: str) -> str:
    """The name of the leaf that a part of the optimiser's state is of."""
    return name.removeprefix("optimizer.").rpartition(".")[0]
