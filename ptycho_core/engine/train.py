"""The verb ``train`` on the operations of a framework: the steps of a `ptycho_core.training.loop.TrainingLoop`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ptycho_core.engine.arrays import MIXED
from ptycho_core.engine.device_scan import DeviceScan
from ptycho_core.engine.losses import built_in, weights_of
from ptycho_core.engine.objective import Objective
from ptycho_core.engine.optimizer import Optimizer
from ptycho_core.scan.reading import Readers
from ptycho_core.training.loop import BatchStats, TrainingLoop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ptycho_core.contract import EventSink, ExecutionPlan, TrainJob, TrainResult, Value
    from ptycho_core.engine.arrays import ArrayOps
    from ptycho_core.engine.objective import Outcome
    from ptycho_core.engine.patterns import DevicePatterns
    from ptycho_core.model import Model
    from ptycho_core.training.epoch import Batch

__all__ = ["train"]


def train(job: TrainJob, plan: ExecutionPlan, events: EventSink, xp: ArrayOps) -> TrainResult:
    """Fit the network of a job, and probes and scales where asked, on the operations of a framework.

    Raises:
        DataError: if a scan cannot be used, or the loss is not a number: the message names epoch, batch and scan.
        OutputError: if a checkpoint cannot be written; the one before is then whole.
    """
    with closing(_Trainer(job, plan, xp)) as trainer:
        return TrainingLoop(job, events, trainer).run(plan)


class _Trainer:
    """What learns, its optimizer, and the scans on the device."""

    def __init__(self, job: TrainJob, plan: ExecutionPlan, xp: ArrayOps) -> None:
        settings, mixed = job.settings["training"], plan.execution["precision"] == MIXED
        losses = job.losses or built_in()
        self._xp, self._readers = xp, Readers.planned(plan.execution)
        self._device_scans = [DeviceScan(xp, scan, self._readers) for scan in job.data.scans]
        self._objective = Objective(xp, job.model, losses, weights_of(settings, losses), mixed=mixed)
        self._trainable = self._objective.trainable
        self._optimizer = Optimizer(xp, settings, self._trainable.size, self._trainable.weights)
        self._ahead = self._readers.read(self._read, ())

    def begin(self, batches: Sequence[Batch]) -> None:
        self._ahead.close()
        self._ahead = self._readers.read(self._read, [batch for batch in batches if not self._frames(batch).cached])

    def close(self) -> None:
        """End what reads ahead."""
        self._ahead.close()

    def train_batch(self, batch: Batch) -> BatchStats:
        if self._objective.labels_alone:
            stats, gradient = self._objective.of_labels(self._device_scans[batch.scan], batch.scan, batch, self._given(batch))
        else:
            stats, *_, gradient = self._outcome(batch, learn=True)
        self._optimizer.add(gradient)
        return stats

    def validate_batch(self, batch: Batch) -> BatchStats:
        return self._outcome(batch, learn=False).stats

    def is_finite(self) -> bool:
        return self._optimizer.is_finite()

    def step(self, rate: float, batches: int) -> None:
        self._trainable.vector = self._optimizer.step(self._trainable.vector, rate, batches)

    def flat_loss(self, scan: int, frames: NDArray[np.int64]) -> float:
        return self._objective.flat_loss(self._device_scans[scan], scan, frames)

    def arrays(self) -> dict[str, NDArray[Any]]:
        # A model file holds float32, and a probe in counts; a continued training starts from the exact values.
        found = {f"exact.{name}": value for name, value in self._trainable.exact().items()}
        if self._optimizer.steps:
            for part, vector in self._optimizer.moments._asdict().items():
                if vector is not None:
                    named = self._trainable.named(vector)
                    found |= {f"optimizer.{name}.{part}": value for name, value in named.items()}
        return found

    def restore(self, arrays: Mapping[str, NDArray[Any]], steps: int) -> None:
        self._trainable.restore(_under("exact.", arrays))
        self._optimizer.steps = steps
        state, held = _under("optimizer.", arrays), self._optimizer.moments._asdict()
        parts = {
            part: {name.removesuffix(f".{part}"): value for name, value in state.items() if name.endswith(f".{part}")}
            for part, vector in held.items()
            if vector is not None
        }
        moments = {part: self._trainable.vector_of(named) for part, named in parts.items()}
        self._optimizer.moments = self._optimizer.moments._replace(**moments)

    def trained(self, model: Model) -> Model:
        physics = self._trainable.physics_now() if self._trainable.probe_learns else model.physics  # bit for bit what it was
        return replace(model, weights=self._trainable.weights_now(), physics=physics)

    def facts(self) -> dict[str, Value]:
        self._ahead.close()
        return {"weights": self._trainable.size} | self._xp.facts() | self._readers.facts()

    def _frames(self, batch: Batch) -> DevicePatterns:
        return self._device_scans[batch.scan].frames

    def _read(self, batch: Batch) -> NDArray[np.float32]:
        return self._frames(batch).read(batch.groups.reshape(-1))

    def _outcome(self, batch: Batch, *, learn: bool) -> Outcome:
        return self._objective.outcome(self._device_scans[batch.scan], batch.scan, batch.groups, self._given(batch), learn=learn)

    def _given(self, batch: Batch) -> NDArray[np.float32] | None:
        """What was read ahead of a batch; None where its scan is on the device."""
        return None if self._frames(batch).cached else next(self._ahead)


def _under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
