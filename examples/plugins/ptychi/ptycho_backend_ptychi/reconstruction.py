"""The verb ``reconstruct``: a job through an engine of pty-chi, epoch by epoch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_backend_ptychi.conventions import Convention, Model
from ptycho_backend_ptychi.engines import Choices
from ptycho_backend_ptychi.fit import Fit
from ptycho_backend_ptychi.planning import EPOCHS
from ptycho_backend_ptychi.surroundings import surroundings
from ptycho_core.contract import Event, EventSink, ExecutionPlan, ReconstructJob, ReconstructResult, Snapshot
from ptycho_core.physics.forward import intensities
from ptycho_core.reconstruction.modes import orthogonalise_modes
from ptycho_core.reconstruction.schedule import Progress, choose_held_out, choose_plan, keep_inside
from ptycho_core.settings.reconstruction import ReconstructionSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.scan.scan import Scan

__all__ = ["reconstruct"]

JUDGED = 64
"""Frames, spread over the scan, whose misfit is computed after each epoch: all of them would cost another epoch."""


def reconstruct(job: ReconstructJob, plan: ExecutionPlan, events: EventSink) -> ReconstructResult:
    """Fit object, probe and, if asked, positions to one scan.

    The result is the state of the epoch with the smallest misfit: not all engines go steadily down.

    Raises:
        DataError: if the scan's patterns cannot be used; the message names the frame.
    """
    scan, start = job.scan, Model(job.object, job.probe, job.positions)
    settings = ReconstructionSettings(**job.settings["reconstruction"])  # type: ignore[arg-type]
    held_out = choose_held_out(len(scan), settings.held_out or 0.0, stop_on_held_out=False, seed=int(plan.execution["seed"] or 0))
    course = _Course(events, _Misfit(scan, held_out.used), _Misfit(scan, held_out.judging), start)
    with surroundings(plan) as warned:
        convention = Convention.of(start)
        choices = _choices(scan, settings, plan, len(held_out.used), convention, course.misfit)
        if choices.epochs:
            fit = Fit(scan, start, held_out.used, choices, convention, plan)
            course.run(fit, choices.engine, choices.epochs)
    notes = [*_said(choices, settings), *course.notes, *(f"pty-chi: {text}" for text in warned if not _is_usual(text))]
    for note in notes:
        events.emit(Event("message", message=note))
    return ReconstructResult(
        object=course.best.object,
        probe=orthogonalise_modes(course.best.probe),
        positions=course.best.positions,
        background=None,
        history=course.history,
        held_out=held_out.judging,
        stopped_by=course.stopped_by,
        interrupted=course.interrupted,
        facts={"notes": "; ".join(notes), "device": plan.device, "threads": plan.execution["threads"], "engine": choices.engine},
    )


class _Misfit:
    """The misfit R of a model, on some frames, by the core's own forward model; None where there are no frames."""

    def __init__(self, scan: Scan, frames: NDArray[np.int64]) -> None:
        chosen = np.unique(np.linspace(0, len(frames) - 1, min(JUDGED, len(frames))).astype(np.int64))
        self._frames, self._mask = frames[chosen], scan.mask
        self._measured = np.sqrt(scan.patterns.read(self._frames)[:, scan.mask].astype(np.float64))
        self.mean_counts = float((self._measured**2).mean()) if len(frames) else 0.0

    def __call__(self, model: Model) -> float | None:
        """Σ|√I_model − √I| / Σ√I."""
        if not len(self._frames):
            return None
        modelled = intensities(model.object, model.probe, model.positions[self._frames])[:, self._mask]
        return float(np.abs(np.sqrt(modelled) - self._measured).sum() / max(float(self._measured.sum()), 1e-300))


@dataclass
class _Course:
    """What becomes of a model from epoch to epoch: the best so far, and what is reported of it."""

    events: EventSink
    misfit: _Misfit
    held_out: _Misfit
    best: Model
    history: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stopped_by: str = "all epochs done"
    interrupted: bool = False

    def run(self, fit: Fit, engine: str, epochs: int) -> None:
        """Run all epochs, unless a stop is asked for or the numbers cease to be finite."""
        began, lowest, best = time.perf_counter(), np.inf, 0
        for epoch in range(1, epochs + 1):
            if self.events.stop_requested:
                self.interrupted, self.stopped_by = True, "stop requested"
                break
            loss, model = fit.epoch(), fit.model()
            if not model.is_finite():
                self.stopped_by = f"{engine}: epoch {epoch} is not finite"
                break
            size = model.probe.shape[-1]
            model = replace(model, positions=keep_inside(model.positions, model.object.shape, size))
            misfit = self.misfit(model)
            assert misfit is not None  # frames are used
            if misfit < lowest:
                lowest, best, self.best = misfit, epoch, model
            if self.events.snapshot_due:
                self.events.show(Snapshot(engine, epoch, model.object.copy(), model.probe.copy(), model.positions.copy()))
            self._tell(Progress(engine, epoch, epochs, loss, misfit, self.held_out(model), None, time.perf_counter() - began))
        if self.history and best < len(self.history):
            self.notes.append(f"the result is that of epoch {best} of {len(self.history)}, whose R was lowest ({lowest:.4g})")

    def _tell(self, progress: Progress) -> None:
        before = self.history[-1]["seconds"] if self.history else 0.0
        self.history.append(progress.as_dict())
        rate = len(self.best.positions) / max(progress.seconds - before, 1e-9)
        values = progress.as_dict() | {"patterns_per_second": rate}
        self.events.emit(Event("epoch", progress.stage, progress.epoch, progress.total, values))


def _choices(
    scan: Scan, settings: ReconstructionSettings, plan: ExecutionPlan, frames: int, convention: Convention, misfit: _Misfit
) -> Choices:
    likelihood = "amplitude"
    if plan.options["engine"] == "lsqml":
        likelihood = choose_plan(settings, misfit.mean_counts, len(scan), scan.size).likelihood
    epochs = EPOCHS if settings.epochs is None else settings.epochs
    return Choices(settings, dict(plan.options), likelihood, epochs, frames, convention.origin)


def _said(choices: Choices, settings: ReconstructionSettings) -> list[str]:
    return [f"likelihood {choices.likelihood}"] if settings.likelihood == "auto" else []


def _is_usual(text: str) -> bool:
    """What pty-chi says each time, whatever its options: that autodiff takes one GPU."""
    return "default parallelization behavior" in text
