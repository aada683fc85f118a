"""The verb ``train``: the steps of a `ptycho_core.training.loop.TrainingLoop` in PyTorch."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from ptycho_backend_torch.devices import configured, is_mixed, real_dtype
from ptycho_backend_torch.learner import Learner
from ptycho_backend_torch.optimiser import Optimiser
from ptycho_backend_torch.sample import Sample
from ptycho_core.model import Model, load_model
from ptycho_core.scan.reading import Readers
from ptycho_core.settings.training import loss_weights
from ptycho_core.training.data import TrainingData, training_data
from ptycho_core.training.loop import Told, TrainingLoop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from ptycho_backend_torch.learner import Outcome
    from ptycho_core.contract import EventSink, ExecutionPlan, TrainJob, TrainResult, Value
    from ptycho_core.engine.patterns import DevicePatterns
    from ptycho_core.training.course import Batch

__all__ = ["train"]


def train(job: TrainJob, plan: ExecutionPlan, events: EventSink) -> TrainResult:
    """Fit the network of the job's model file, and probes and scales where asked.

    Raises:
        DataError: if a scan cannot be used, or the loss is not a number: the message names epoch, batch and scan.
        OutputError: if a checkpoint cannot be written; the one before is then whole.
    """
    data, model = training_data(job), load_model(job.model_path, training=job.resume)
    with configured(plan) as device, closing(_Trainer(job, plan, data, model, device)) as trainer:
        return TrainingLoop(job, events, data, model, trainer).run(plan)


class _Trainer:
    """What learns, its optimiser, and the scans on the device."""

    def __init__(self, job: TrainJob, plan: ExecutionPlan, data: TrainingData, model: Model, device: torch.device) -> None:
        settings, dtype = job.settings["training"], real_dtype(plan)
        weights = loss_weights(settings, str(model.facts["model_type"]))
        self._readers = Readers.planned(plan.execution)
        self._samples = [Sample(scan, device, dtype, self._readers) for scan in data.scans]
        self._learner = Learner(model, weights, device, dtype, mixed=is_mixed(plan), compiled=bool(plan.options.get("compile")))
        self._optimiser = Optimiser(self._learner.leaves(), settings)
        self._ahead = self._readers.read(self._read, ())

    def begin(self, batches: Sequence[Batch]) -> None:
        self._ahead.close()
        self._ahead = self._readers.read(self._read, [batch for batch in batches if not self._frames(batch).cached])

    def close(self) -> None:
        """End what reads ahead."""
        self._ahead.close()

    def learn(self, batch: Batch) -> Told:
        outcome = self._outcome(batch)
        outcome.loss.backward()  # type: ignore[no-untyped-call]
        return _told(outcome)

    @torch.no_grad()
    def judge(self, batch: Batch) -> Told:
        return _told(self._outcome(batch))

    def is_finite(self) -> bool:
        return self._optimiser.is_finite()

    def step(self, rate: float, batches: int) -> None:
        self._optimiser.step(rate, batches)

    def flat_loss(self, scan: int, frames: npt.NDArray[np.int64]) -> float:
        return self._learner.flat_loss(self._samples[scan], scan, frames)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        # A model file holds float32, and a probe in counts; what goes on goes on from exactly what it is.
        return self._optimiser.arrays() | {f"exact.{name}": value for name, value in self._learner.exact().items()}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], steps: int) -> None:
        self._learner.restore({name.removeprefix("exact."): value for name, value in arrays.items() if name.startswith("exact.")})
        self._optimiser.restore(arrays, steps)

    def trained(self, model: Model) -> Model:
        return replace(model, weights=self._learner.weights_now(), physics=self._learner.physics_now())

    def facts(self) -> dict[str, Value]:
        self._ahead.close()
        compilations = getattr(self._learner.passes, "compilations", 0)
        weights = sum(leaf.numel() for leaf in self._learner.leaves().values())
        return {"weights": weights, "compilations": compilations} | self._readers.facts()

    def _frames(self, batch: Batch) -> DevicePatterns:
        return self._samples[batch.scan].frames

    def _read(self, batch: Batch) -> npt.NDArray[np.float32]:
        return self._frames(batch).read(batch.groups.reshape(-1))

    def _outcome(self, batch: Batch) -> Outcome:
        read = None if self._frames(batch).cached else next(self._ahead)
        return self._learner.outcome(self._samples[batch.scan], batch.scan, batch.groups, read)


def _told(outcome: Outcome) -> Told:
    return Told(float(outcome.loss.detach()), outcome.difference, outcome.amplitudes, outcome.deviation)
