"""A training on its way: epochs, steps, history and checkpoints, whatever computes the steps (``specs/training.md``)."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

import numpy as np

from ptycho_core.contract import Event, EventSink, ExecutionPlan, TrainJob, TrainResult, Value
from ptycho_core.errors import DataError
from ptycho_core.files.rescue import write_or_rescue
from ptycho_core.model import Model, TrainingState, save_model
from ptycho_core.modelfile.trained import check_state
from ptycho_core.networks import sees_canvas
from ptycho_core.training.checkpoints import BEST, LAST, Checkpoints
from ptycho_core.training.epoch import Batch, epoch_batches, validation_batches
from ptycho_core.training.schedules import learning_rate, steps_in_epoch
from ptycho_core.training.stopping import collapse, should_stop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["BatchStats", "Trainer", "TrainingLoop"]

SECONDS_BETWEEN_EVENTS = 0.5
FLAT_FRAMES = 64
"""Frames of a scan that tell the loss of a flat object."""


class BatchStats(NamedTuple):
    """Statistics of a batch, plain numbers.

    Attributes:
        loss: weighted sum of the loss terms.
        difference: Σ|√I − √n| over good pixels; None where no pattern was modelled.
        amplitudes: Σ√n over good pixels.
        deviation: mean over the patches of their standard deviation within the illumination, over their mean modulus there.
    """

    loss: float
    difference: float | None
    amplitudes: float
    deviation: float


class Trainer(Protocol):
    """What a backend does of a training: it holds what learns, and the scans."""

    def begin(self, batches: Sequence[Batch]) -> None:
        """The batches that come next, in this order: what must be read can be read ahead."""

    def train_batch(self, batch: Batch) -> BatchStats:
        """The loss of a batch; its gradient is added to those of the step."""

    def validate_batch(self, batch: Batch) -> BatchStats:
        """The loss of a batch, and nothing else."""

    def is_finite(self) -> bool:
        """Whether the gradients of the step, and their squares, are finite."""

    def step(self, rate: float, batches: int) -> None:
        """Move what learns by the mean of the gradients of so many batches, and forget these."""

    def flat_loss(self, scan: int, frames: NDArray[np.int64]) -> float:
        """The loss of the best flat object on frames of a scan."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that a checkpoint needs besides the model, by name."""

    def restore(self, arrays: Mapping[str, NDArray[Any]], steps: int) -> None:
        """Take up what `arrays` gave after so many steps."""

    def trained(self, model: Model) -> Model:
        """The model with weights, probes and scales as they are now."""

    def facts(self) -> dict[str, Value]:
        """What the record of the run says of the backend's part."""


class _Sums:
    """What is summed over the batches of an epoch."""

    NAMES = ("loss", "groups", "difference", "amplitudes", "deviation", "frames")

    def __init__(self) -> None:
        self.values = dict.fromkeys(self.NAMES, 0.0)

    def add(self, stats: BatchStats, batch: Batch) -> None:
        groups, members = batch.groups.shape
        more = {"loss": stats.loss * groups, "groups": groups, "deviation": stats.deviation * groups, "frames": groups * members}
        if stats.difference is not None:
            more |= {"difference": stats.difference, "amplitudes": stats.amplitudes}
        for name, value in more.items():
            self.values[name] += value

    def mean(self, name: str) -> float:
        return self.values[name] / max(self.values["groups"], 1.0)

    def misfit(self) -> float | None:
        """R; None where no pattern was modelled."""
        return self.values["difference"] / self.values["amplitudes"] if self.values["amplitudes"] > 0 else None


class TrainingLoop:
    """The epochs of a training, their history, and what is needed to continue.

    Args:
        job: what to train.
        events: gets steps, epochs and checkpoints, and says when to stop.
        trainer: the backend's part, with the model of the job.
    """

    def __init__(self, job: TrainJob, events: EventSink, trainer: Trainer) -> None:
        self._folder, self._events, self._data = Path(job.output_dir), events, job.data
        self._settings: Mapping[str, Any] = job.settings["training"]
        self._execution: Mapping[str, Any] = job.settings["execution"]
        self._model, self._trainer = job.model, trainer
        self._facts: Mapping[str, Any] = self._model.facts
        self._seed = int(self._execution["seed"] or 0)
        self._history: list[dict[str, Value]] = [dict(row) for row in self._model.history]
        state = self._model.training
        self._checkpoints = Checkpoints(self._folder, self._execution, () if state is None else self._history)
        self._epoch, self._steps = len(self._history) + 1, 0
        self._sums, self._before, self._told = _Sums(), 0.0, False
        self._trivial = 0.0
        if state is None:
            self._trivial = self._flat_loss()
        else:
            self._restore(state)
        self._began = self._last_event = time.perf_counter()
        self._interrupted = False

    def run(self, plan: ExecutionPlan) -> TrainResult:
        """Train to the end; the answer of the hook.

        Raises:
            DataError: the loss is not a number: the message names epoch, batch and scan.
            OutputError: if a checkpoint cannot be written; the one before is then whole.
            KeyboardInterrupt: it was asked to stop before there was anything to save.
        """
        self._checkpoints.catch_up(self._history, self._save)
        stopped_by = self._run()
        self._tell_checkpoints(self._checkpoints.at_end(self._history, self._save_result), len(self._history))
        best, last = self._folder / BEST, self._folder / LAST
        facts: dict[str, Value] = {"device": plan.device, "threads": plan.execution["threads"]}
        facts |= {"steps": self._steps, "flat_loss": self._trivial} | self._trainer.facts()
        found = best if best.exists() else last
        return TrainResult(found, last, tuple(self._history), stopped_by, self._interrupted, facts)

    def _run(self) -> str:
        """All epochs; why they ended, in a few words."""
        epochs, patience = int(self._settings["epochs"]), self._execution["early_stop_patience"]
        while self._epoch <= epochs:
            if should_stop(self._history, patience, self._checkpoints.monitor):
                return f"no better for {patience} epochs"
            if self._events.stop_requested:
                self._stop()
                return "interrupted"
            self._run_epoch(epochs)
        return f"{epochs} epochs done"

    def _stop(self) -> None:
        """What was asked for before an epoch began: whatever was finished is saved already, unless nothing was."""
        self._interrupted = True
        if not self._history:
            if not self._checkpoints.on:
                raise KeyboardInterrupt
            self._save(self._folder / LAST)
            self._tell_checkpoints([self._folder / LAST], int(self._settings["epochs"]))

    def _run_epoch(self, epochs: int) -> None:
        """One epoch. A stop waits for its end: training cannot continue from a part of an epoch."""
        began = time.perf_counter()
        drawn = {"oversampling": int(self._settings["oversampling"]), "n_groups": self._settings["n_groups"]}
        parts = self._data.training_parts()
        grouping = self._grouping() | drawn | {"canvas": sees_canvas(self._model.network)}
        batches = epoch_batches(parts, epoch=self._epoch, seed=self._seed, **grouping)
        accumulate = int(self._settings["accumulate_grad_batches"])
        steps = steps_in_epoch(len(batches), accumulate)
        self._trainer.begin(batches)
        for first in range(0, len(batches), accumulate):
            part = batches[first : first + accumulate]
            rate = learning_rate(
                self._settings, step=self._steps, steps_per_epoch=steps, history=self._history, monitor=self._checkpoints.monitor
            )
            losses = [self._learn(batch, number, len(batches), epochs) for number, batch in enumerate(part, first + 1)]
            if not self._trainer.is_finite():
                self._refuse("The gradient grew beyond all numbers", first + len(part), len(batches), part[-1])
            self._trainer.step(rate, len(part))
            self._steps += 1
            self._tell_step(float(np.mean(losses)), rate, epochs)
        self._finish_epoch(rate, epochs, time.perf_counter() - began)

    def _tell_step(self, loss: float, rate: float, epochs: int) -> None:
        """Every so many steps of the run, for the log."""
        every = int(self._execution["log_every"])
        if every and self._steps % every == 0:
            values: dict[str, Value] = {"step": self._steps, "loss": loss, "learning_rate": rate}
            self._events.emit(Event("step", "train", self._epoch, epochs, values))

    def _learn(self, batch: Batch, number: int, batches: int, epochs: int) -> float:
        stats = self._trainer.train_batch(batch)
        if not math.isfinite(stats.loss):
            self._refuse(f"The loss became {stats.loss}", number, batches, batch)
        self._sums.add(stats, batch)
        now = time.perf_counter()
        if number == 1 or now - self._last_event > SECONDS_BETWEEN_EVENTS:
            self._last_event = now
            values: dict[str, Value] = {"loss": stats.loss, "batch": number, "batches": batches, "misfit": self._sums.misfit()}
            self._events.emit(Event("step", "train", self._epoch, epochs, values))
        return stats.loss

    def _refuse(self, what: str, number: int, batches: int, batch: Batch) -> NoReturn:
        """End the run before a step that would spoil the weights."""
        done = f"The checkpoints of epoch {self._epoch - 1} are kept. " if self._history and self._checkpoints.on else ""
        raise DataError(
            f"{what} in epoch {self._epoch}, batch {number} of {batches}, frames"
            f" {', '.join(str(frame) for frame in batch.groups[:3, 0])} … of {self._data.scans[batch.scan].scan.source}.",
            remedy=f"{done}Start anew with a lower learning rate, or clip the gradient (--gradient-clip-val).",
        )

    def _finish_epoch(self, rate: float, epochs: int, seconds: float) -> None:
        sums = self._sums
        judged = self._judge()
        row: dict[str, Value] = {
            "epoch": self._epoch,
            "loss": sums.mean("loss"),
            "misfit": sums.misfit(),
            "validation_loss": None if judged is None else judged.mean("loss"),
            "validation_misfit": None if judged is None else judged.misfit(),
            "learning_rate": rate,
            "output_deviation": sums.mean("deviation"),
            "trivial_loss": self._trivial,
            "seconds": self._before + time.perf_counter() - self._began,
            "patterns_per_second": sums.values["frames"] / max(seconds, 1e-9),
        }
        self._history.append(row)
        self._epoch, self._sums = self._epoch + 1, _Sums()
        saved = self._checkpoints.after_epoch(self._history, self._save)
        self._events.emit(Event("epoch", "train", self._epoch - 1, epochs, row))
        self._tell_checkpoints(saved, epochs)
        trouble = None if self._told else collapse(self._history)
        if trouble is not None:
            self._told = True
            self._events.emit(Event("message", message=trouble))

    def _judge(self) -> _Sums | None:
        """The loss of the validation frames, with the weights as they are."""
        grouping = self._grouping() | {"batch_size": int(self._execution["inference_batch_size"])}
        batches = validation_batches(self._data.validation_parts(), **grouping)
        if not batches:
            return None
        sums = _Sums()
        self._trainer.begin(batches)
        for batch in batches:
            sums.add(self._trainer.validate_batch(batch), batch)
        return sums

    def _grouping(self) -> dict[str, Any]:
        return {
            "gridsize": int(self._facts["gridsize"]), "batch_size": int(self._settings["batch_size"]),
            "merge": str(self._facts["merge"]), "neighbor_count": self._facts["neighbor_count"],
        }  # fmt: skip

    def _flat_loss(self) -> float:
        """Mean over the training scans of the loss of a flat object."""
        found = []
        for scan, one in enumerate(self._data.scans):
            if len(one.train):
                places = np.unique(np.linspace(0, len(one.train) - 1, FLAT_FRAMES).astype(np.int64))
                found.append(self._trainer.flat_loss(scan, one.train[places]))
        return float(np.mean(found))

    def _tell_checkpoints(self, saved: Sequence[Path], epochs: int) -> None:
        for path in saved:
            self._events.emit(Event("checkpoint", "train", len(self._history), epochs, path=str(path)))

    def _save(self, path: Path) -> None:
        """A checkpoint, which a training can continue from."""
        state = {
            "epoch": self._epoch, "steps": self._steps, "trivial_loss": self._trivial, "collapse_told": self._told,
            "seconds": self._before + time.perf_counter() - self._began,
        }  # fmt: skip
        self._write(path, replace(self._result(), training=TrainingState(self._trainer.arrays(), state)))

    def _save_result(self, path: Path) -> None:
        """A model, which no training can continue from."""
        self._write(path, self._result())

    def _write(self, path: Path, model: Model) -> None:
        write_or_rescue(path.parent, [(path.name, lambda place: save_model(place, model))])

    def _result(self) -> Model:
        return replace(self._trainer.trained(self._model), history=tuple(self._history), training=None)

    def _restore(self, training: TrainingState) -> None:
        state = training.state
        if state.get("batches"):  # of a version that could stop there
            raise DataError(
                f"The checkpoint stands within epoch {state.get('epoch')}; a training continues from the end of an epoch only.",
                remedy="Train anew, or continue with the version of ptycho that wrote it until an epoch is done.",
            )
        check_state(state, len(self._history), "The checkpoint")
        self._epoch, self._steps = int(state["epoch"]), int(state["steps"])
        self._before, self._trivial = float(state["seconds"]), float(state["trivial_loss"])
        self._told = bool(state["collapse_told"])
        try:
            self._trainer.restore(training.arrays, self._steps)
        except (LookupError, TypeError, ValueError) as error:
            message = f"The arrays of the checkpoint's training are not those of its model: {error}."
            raise DataError(message, remedy="Train anew in another folder.") from error
