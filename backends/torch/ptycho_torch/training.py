"""The verb ``train``: from the job's files through the epochs to checkpoints."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch

from ptycho_core.contract import Event, EventSink, ExecutionPlan, TrainJob, TrainResult, Value
from ptycho_core.errors import DataError
from ptycho_core.model import Model, TrainingState, load_model, save_model
from ptycho_core.settings.training import loss_weights
from ptycho_core.training.checkpoints import BEST, LAST, is_best
from ptycho_core.training.course import Batch, epoch_batches, validation_batches
from ptycho_core.training.data import TrainingData, training_data
from ptycho_core.training.schedules import learning_rate, steps_in_epoch
from ptycho_core.training.stopping import collapse, should_stop
from ptycho_torch.devices import configured, is_mixed, real_dtype
from ptycho_torch.learner import Learner, Sample
from ptycho_torch.optimiser import Optimiser

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_torch.learner import Outcome

__all__ = ["train"]

SECONDS_BETWEEN_EVENTS = 0.5
FLAT_FRAMES = 64
"""Frames of a scan that tell the loss of a flat object."""


def train(job: TrainJob, plan: ExecutionPlan, events: EventSink) -> TrainResult:
    """Fit the network of the job's model file, and probes and scales where asked.

    Raises:
        DataError: if a scan cannot be used, or the loss is not a number: the message names epoch, batch and scan.
        OutputError: if a checkpoint cannot be written; the one before is then whole.
    """
    data = training_data(job)
    with configured(plan) as device:
        course = _Course(job, plan, events, data, device)
        stopped_by = course.run()
        return course.result(stopped_by, plan)


class _Sums:
    """What is summed over the batches of an epoch."""

    NAMES = ("loss", "groups", "difference", "amplitudes", "deviation", "frames", "seconds")

    def __init__(self, values: Mapping[str, float] | None = None) -> None:
        self.values = dict.fromkeys(self.NAMES, 0.0) | dict(values or {})

    def add(self, outcome: Outcome, batch: Batch, loss: float) -> None:
        groups, members = batch.groups.shape
        more = {
            "loss": loss * groups, "groups": groups, "difference": outcome.difference, "amplitudes": outcome.amplitudes,
            "deviation": outcome.deviation * groups, "frames": groups * members,
        }  # fmt: skip
        for name, value in more.items():
            self.values[name] += value

    def mean(self, name: str) -> float:
        return self.values[name] / max(self.values["groups"], 1.0)

    def misfit(self) -> float:
        return self.values["difference"] / max(self.values["amplitudes"], 1e-300)


class _Course:
    """A training on its way: the place in the order of data, the history, and what is needed to go on."""

    def __init__(self, job: TrainJob, plan: ExecutionPlan, events: EventSink, data: TrainingData, device: torch.device) -> None:
        self._folder, self._events, self._data = Path(job.output_dir), events, data
        self._settings: Mapping[str, Any] = job.settings["training"]
        self._model = load_model(job.model_path, training=job.resume)
        self._facts: Mapping[str, Any] = self._model.facts
        self._seed = int(plan.execution["seed"] or 0)
        dtype = real_dtype(plan)
        self._samples = [Sample(scan, device, dtype) for scan in data.scans]
        weights = loss_weights(self._settings, str(self._facts["model_type"]))
        self._learner = Learner(self._model, weights, device, dtype, mixed=is_mixed(plan))
        self._optimiser = Optimiser(self._learner.leaves(), self._settings)
        self._history: list[dict[str, Value]] = [dict(row) for row in self._model.history]
        self._epoch, self._batches, self._steps = len(self._history) + 1, 0, 0
        self._sums, self._before, self._told = _Sums(), 0.0, False
        self._trivial = 0.0
        if job.resume and self._model.training is not None:
            self._restore(self._model.training)
        else:
            self._trivial = self._flat_loss()
        self._began = self._last_event = time.perf_counter()
        self._interrupted = False

    def run(self) -> str:
        """Train to the end; why it ended, in a few words."""
        epochs, patience = int(self._settings["epochs"]), self._settings["early_stop_patience"]
        while self._epoch <= epochs:
            if should_stop(self._history, patience):
                return f"no lower loss for {patience} epochs"
            if not self._run_epoch(epochs):
                self._interrupted = True
                self._save(LAST)
                return "interrupted"
        return f"{epochs} epochs done"

    def result(self, stopped_by: str, plan: ExecutionPlan) -> TrainResult:
        """The answer of the hook."""
        best, last = self._folder / BEST, self._folder / LAST
        facts: dict[str, Value] = {
            "device": plan.device, "threads": plan.execution["threads"], "steps": self._steps,
            "flat_loss": self._trivial, "weights": sum(leaf.numel() for leaf in self._learner.leaves().values()),
        }  # fmt: skip
        found = best if best.exists() else last
        return TrainResult(found, last, tuple(self._history), stopped_by, self._interrupted, facts)

    def _run_epoch(self, epochs: int) -> bool:
        """One epoch, or the rest of one; False if it was asked to stop before its end."""
        began = time.perf_counter()
        spent = self._sums.values["seconds"]
        batches = epoch_batches(self._data.training_parts(), epoch=self._epoch, seed=self._seed, **self._grouping(self._settings))
        accumulate = int(self._settings["accumulate_grad_batches"])
        steps = steps_in_epoch(len(batches), accumulate)
        while self._batches < len(batches):
            part = batches[self._batches : self._batches + accumulate]
            rate = learning_rate(self._settings, step=self._steps, steps_per_epoch=steps, history=self._history)
            for number, batch in enumerate(part, self._batches + 1):
                self._learn(batch, number, len(batches), epochs)
            if not self._optimiser.is_finite():
                self._refuse("The gradient grew beyond all numbers", self._batches + len(part), len(batches), part[-1])
            self._optimiser.step(rate, len(part))
            self._steps += 1
            self._batches += len(part)
            self._sums.values["seconds"] = spent + time.perf_counter() - began
            if self._events.stop_requested and self._batches < len(batches):
                return False
        self._finish_epoch(rate, epochs)
        return not (self._events.stop_requested and self._epoch <= epochs)

    def _learn(self, batch: Batch, number: int, batches: int, epochs: int) -> None:
        outcome = self._learner.outcome(self._samples[batch.scan], batch.scan, batch.groups)
        loss = float(outcome.loss.detach())
        if not math.isfinite(loss):
            self._refuse(f"The loss became {loss}", number, batches, batch)
        outcome.loss.backward()  # type: ignore[no-untyped-call]
        self._sums.add(outcome, batch, loss)
        now = time.perf_counter()
        if number == 1 or now - self._last_event > SECONDS_BETWEEN_EVENTS:
            self._last_event = now
            values: dict[str, Value] = {"loss": loss, "batch": number, "batches": batches, "misfit": self._sums.misfit()}
            self._events.emit(Event("step", "train", self._epoch, epochs, values))

    def _refuse(self, what: str, number: int, batches: int, batch: Batch) -> NoReturn:
        """End the run before a step that would spoil the weights."""
        done = f"The checkpoints of epoch {self._epoch - 1} are kept. " if self._history else ""
        raise DataError(
            f"{what} in epoch {self._epoch}, batch {number} of {batches}, frames"
            f" {', '.join(str(frame) for frame in batch.groups[:3, 0])} … of {self._data.scans[batch.scan].scan.source}.",
            remedy=f"{done}Start anew with a lower learning rate, or clip the gradient (--gradient-clip-val).",
        )

    def _finish_epoch(self, rate: float, epochs: int) -> None:
        sums = self._sums
        judged = self._judge()
        seconds = max(sums.values["seconds"], 1e-9)
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
            "patterns_per_second": sums.values["frames"] / seconds,
        }
        self._history.append(row)
        self._epoch, self._batches, self._sums = self._epoch + 1, 0, _Sums()
        self._save(LAST)
        if is_best(self._history):
            self._save(BEST)
        self._events.emit(Event("epoch", "train", self._epoch - 1, epochs, row))
        trouble = None if self._told else collapse(self._history)
        if trouble is not None:
            self._told = True
            self._events.emit(Event("message", message=trouble))

    def _judge(self) -> _Sums | None:
        """The loss of the frames that only judge, with the weights as they are."""
        batches = validation_batches(self._data.validation_parts(), **self._grouping(judging=True))
        if not batches:
            return None
        sums = _Sums()
        with torch.no_grad():
            for batch in batches:
                outcome = self._learner.outcome(self._samples[batch.scan], batch.scan, batch.groups)
                sums.add(outcome, batch, float(outcome.loss))
        return sums

    def _grouping(self, drawn: Mapping[str, Any] | None = None, *, judging: bool = False) -> dict[str, Any]:
        found = {
            "gridsize": int(self._facts["gridsize"]), "batch_size": int(self._settings["batch_size"]),
            "merge": str(self._facts["merge"]), "neighbor_count": self._facts["neighbor_count"],
        }  # fmt: skip
        return found if judging or drawn is None else found | {"oversampling": int(drawn["oversampling"])}

    def _flat_loss(self) -> float:
        """Mean over the training scans of the loss of a flat object."""
        found = []
        for scan, one in enumerate(self._data.scans):
            if len(one.train):
                places = np.unique(np.linspace(0, len(one.train) - 1, FLAT_FRAMES).astype(np.int64))
                found.append(self._learner.flat_loss(self._samples[scan], scan, one.train[places]))
        return float(np.mean(found))

    def _save(self, name: str) -> None:
        save_model(self._folder / name, self._checkpoint())

    def _checkpoint(self) -> Model:
        learner = self._learner
        # A model file holds float32, and a probe in counts; what goes on goes on from exactly what it is.
        arrays = self._optimiser.arrays() | {f"exact.{name}": value for name, value in learner.exact().items()}
        state = {
            "epoch": self._epoch, "batches": self._batches, "steps": self._steps, "sums": self._sums.values,
            "trivial_loss": self._trivial, "collapse_told": self._told,
            "seconds": self._before + time.perf_counter() - self._began,
        }  # fmt: skip
        return replace(
            self._model,
            weights=learner.weights_now(),
            physics=learner.physics_now(),
            history=tuple(self._history),
            training=TrainingState(arrays, state),
        )

    def _restore(self, training: TrainingState) -> None:
        state, arrays = training.state, training.arrays
        self._epoch, self._batches, self._steps = int(state["epoch"]), int(state["batches"]), int(state["steps"])
        self._sums = _Sums(state["sums"])
        self._before, self._trivial = float(state["seconds"]), float(state["trivial_loss"])
        self._told = bool(state["collapse_told"])
        self._learner.restore({name.removeprefix("exact."): value for name, value in arrays.items() if name.startswith("exact.")})
        self._optimiser.restore(arrays, self._steps)
