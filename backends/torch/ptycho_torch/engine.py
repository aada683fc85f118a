"""A reconstruction from start to end: rPIE epochs, the joint fit, then total variation where photons are few."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ptycho_core.reconstruction.modes import orthogonalise_modes
from ptycho_core.reconstruction.schedule import (
    HeldOut,
    Plan,
    Progress,
    batches,
    choose_held_out,
    choose_plan,
    positions_settled,
    settled,
)
from ptycho_core.settings.reconstruction import ReconstructionSettings
from ptycho_torch.coarse import CoarseFrames, coarse_model, fine_model
from ptycho_torch.frames import Frames, Patterns
from ptycho_torch.joint import Joint, Stopped, score
from ptycho_torch.pie import Momentum, pie_epoch
from ptycho_torch.positions import keep_inside
from ptycho_torch.propagation import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Result", "reconstruct"]

WORSE = 1.005
"""Frames held out may fit worse than their best by this factor before it counts as fitting noise.  Smooth phase still
converges long after their loss has stopped to fall, so that the first rise must not end the joint fit."""

TV_WEIGHTS = (0.5, 1.0, 2.0, 4.0)
TV_ITERATIONS = 8

REFIT_ITERATIONS = 10
"""Iterations at the end in which the frames held out to stop by are used too."""


@dataclass(frozen=True)
class Result:
    """A reconstruction.

    Attributes:
        object: complex (rows, columns).
        probe: complex (mode, N, N), orthogonal modes, strongest first.
        positions: float64 (frame, 2), row and column in ``object``.
        background: float (1, 1) or (N, N), counts, zero frequency at ``[N // 2, N // 2]``; None where none was fitted.
        history: one dictionary an epoch or iteration, as `schedule.Progress`.
        stopped_by: why it ended, in words.
        interrupted: whether a stop was asked for; the arrays are then the best so far.
        held_out: numbers of the frames that were never used.
        notes: choices made from the data and what went wrong on the way, in words.
    """

    object: npt.NDArray[np.complexfloating]
    probe: npt.NDArray[np.complexfloating]
    positions: npt.NDArray[np.float64]
    background: npt.NDArray[np.floating] | None
    history: list[dict[str, Any]]
    stopped_by: str
    interrupted: bool
    held_out: npt.NDArray[np.int64]
    notes: list[str]


def reconstruct(
    patterns: Patterns,
    positions: npt.NDArray[np.float64],
    probe: npt.NDArray[np.complexfloating],
    object_start: npt.NDArray[np.complexfloating],
    *,
    mask: npt.NDArray[np.bool_] | None = None,
    options: ReconstructionSettings | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    report: Callable[[Progress, Model], None] | None = None,
    stop_requested: Callable[[], bool] | None = None,
) -> Result:
    """Reconstruct the object and, as ``options`` say, probe, positions and background.

    Args:
        patterns: counts (frame, N, N), read when needed.
        positions: (frame, 2) row and column of each window's ``[0, 0]`` corner in ``object_start``, every window inside.
        probe: complex (mode, N, N), in counts: squared modulus sums to the mean counts of an empty object.
        object_start: complex (rows, columns), ones unless something better is known.
        mask: bool (N, N), True for good pixels, zero frequency at ``[N // 2, N // 2]``.
        options: defaults serve most scans.
        device: where to compute.
        dtype: ``torch.float32`` or ``torch.float64``.
        seed: of the order of frames and of the frames held out.  On the CPU the same seed and number of threads give the
            same result; on CUDA sums over overlapping windows are taken in no fixed order.
        report: called with a `schedule.Progress` and the current model (not to be changed) after every epoch and iteration.
        stop_requested: asked between batches; True ends the reconstruction with the best so far.
    """
    run = _Run(
        Frames(patterns, mask, torch.device(device), dtype, (options or ReconstructionSettings()).memory_gib * 2**30),
        options or ReconstructionSettings(),
        seed,
        report or (lambda *_: None),
        stop_requested or (lambda: False),
    )
    return run.result(run.start(positions, probe, object_start, dtype))


class _Run:
    """One reconstruction: its data, choices, history and best state."""

    def __init__(
        self,
        frames: Frames,
        options: ReconstructionSettings,
        seed: int,
        report: Callable[[Progress, Model], None],
        stop: Callable[[], bool],
    ) -> None:
        self.frames, self.options, self.seed, self.report, self.stop_requested = frames, options, seed, report, stop
        counts = frames.mean_counts_per_pixel()
        self.plan: Plan = choose_plan(options, counts, frames.number, frames.size)
        stopping = self.plan.stop_on_held_out
        self.held_out: HeldOut = choose_held_out(frames.number, options.held_out, stopping, seed)
        self.random = np.random.default_rng([seed, 2])
        self.history: list[dict[str, Any]] = []
        self.notes = list(self.plan.notes)
        self.stopped_by = "all epochs done"
        self.interrupted = False
        self._began = time.perf_counter()

    def start(
        self,
        positions: npt.NDArray[np.float64],
        probe: npt.NDArray[np.complexfloating],
        object_start: npt.NDArray[np.complexfloating],
        dtype: torch.dtype,
    ) -> Model:
        """The model to start from, on the device."""
        complex_type = torch.complex64 if dtype == torch.float32 else torch.complex128
        device = self.frames.device
        first = torch.as_tensor(np.array(object_start), dtype=complex_type, device=device)
        modes = torch.as_tensor(np.array(probe).reshape(-1, *np.shape(probe)[-2:]), dtype=complex_type, device=device)
        background = None
        if self.options.background != "none":
            shape = (1, 1) if self.options.background == "constant" else (self.frames.size, self.frames.size)
            # Not zero: the fit is on its square root, which has no slope there.
            level = 0.01 * self.frames.mean_counts_per_pixel()
            background = torch.full(shape, level, dtype=dtype, device=device)
        inside = keep_inside(np.array(positions, dtype=np.float64), (first.shape[0], first.shape[1]), self.frames.size)
        return Model(first, modes, inside, background)

    def result(self, model: Model) -> Result:
        """Run all stages from ``model``."""
        best = model
        try:
            for state in self._stages(model):
                best = state
        except Stopped:
            self.interrupted, self.stopped_by = True, "stop requested"
        background = None
        if best.background is not None:
            background = np.fft.fftshift(best.background.cpu().numpy())
        return Result(
            best.object.cpu().numpy(),
            orthogonalise_modes(best.probe.cpu().numpy()),
            keep_inside(best.positions, (best.object.shape[0], best.object.shape[1]), self.frames.size),
            background,
            self.history,
            self.stopped_by,
            self.interrupted,
            self.held_out.judging,
            self.notes,
        )

    def _stages(self, model: Model) -> Iterator[Model]:
        """Yield the best model so far after every epoch and iteration."""
        used, best = self.held_out.used, model
        if self.plan.coarse_epochs:
            for small in self._pie("coarse", coarse_model(model), CoarseFrames(self.frames), self.plan.coarse_epochs, used):
                best = fine_model(small, model)
                yield best
        for now in self._pie("pie", best, self.frames, self.plan.epochs, used):
            best = now
            yield best
        if self.options.iterations < 1:
            return
        search = self.plan.total_variation is None
        weight = 0.0 if self.plan.total_variation is None else self.plan.total_variation
        for now in self._joint("joint", best, weight, self.options.iterations, used):
            best = now
            yield best
        if search and len(self.held_out.stopping):
            yield from self._search_total_variation(best)
        elif len(self.held_out.stopping):
            yield from self._joint("all frames", best, weight, REFIT_ITERATIONS, self._training())

    def _pie(
        self, stage: str, model: Model, frames: Frames | CoarseFrames, epochs: int, training: npt.NDArray[np.int64]
    ) -> Iterator[Model]:
        """Epochs of rPIE; the state is handed on as it is, unless R got much worse, which ends the stage."""
        model = model.copy()
        best, lowest = model.copy(), math.inf
        momentum = Momentum(model)
        places: list[npt.NDArray[np.float64]] = []
        for epoch in range(1, epochs + 1):
            misfit = pie_epoch(
                model,
                frames,
                batches(training, self.options.batch_size, self.random),
                object_alpha=self.options.object_alpha,
                refine_probe=self.options.refine_probe,
                position_step=self._position_step(stage, epoch),
                momentum=momentum,
                stop_requested=self.stop_requested,
            )
            if misfit is None:
                if model.is_finite():
                    yield model
                raise Stopped
            if not model.is_finite() or misfit > 1.3 * lowest + 1e-3:
                self.notes.append(f"{stage}: epoch {epoch} diverged (R {misfit:.3g}); went back to the best state")
                yield best
                return
            if misfit < lowest:
                best, lowest = model.copy(), misfit
            self._record(stage, epoch, epochs, None, misfit, model)
            yield model
            places.append(model.positions.copy())
            if self.options.refine_positions and positions_settled(places):
                return

    def _position_step(self, stage: str, epoch: int) -> float:
        # The object must show some structure before positions mean anything.
        return 1.0 if self.options.refine_positions and stage == "pie" and epoch > 3 else 0.0

    def _joint(self, stage: str, model: Model, weight: float, most: int, used: npt.NDArray[np.int64]) -> Iterator[Model]:
        """The joint fit of the frames ``used``; with frames to stop by, ends before it fits them clearly worse."""
        joint = Joint(
            model,
            self.frames,
            used,
            likelihood=self.plan.likelihood,
            refine_probe=self.options.refine_probe,
            refine_positions=self.options.refine_positions,
            tv_weight=weight,
            stop_requested=self.stop_requested,
        )
        losses: list[float] = []
        lowest = math.inf
        for iteration, (now, loss) in enumerate(joint.iterate(), 1):
            if not (math.isfinite(loss) and now.is_finite()):
                self.notes.append(f"{stage}: iteration {iteration} is not finite; went back to the best state")
                return
            losses.append(loss)
            held = self._record(stage, iteration, most, loss, joint.misfit, now)
            if held is not None and held > WORSE * lowest:
                self.stopped_by = f"{stage}: frames held out fit worse"
                return
            lowest = lowest if held is None else min(held, lowest)
            yield now
            if settled(losses, self.options.tolerance):
                self.stopped_by = f"{stage}: the loss changes by less than the tolerance"
                return
            if iteration >= most:
                self.stopped_by = f"{stage}: all iterations done"
                return

    def _search_total_variation(self, model: Model) -> Iterator[Model]:
        """Double the weight of the total variation until the frames held out fit worse; then fit with all frames."""
        best, lowest, chosen = model, self._stopping_loss(model), 0.0
        for weight in TV_WEIGHTS:
            now = best
            for smoother in self._joint("total variation", best, weight, TV_ITERATIONS, self.held_out.used):
                now = smoother
                yield best
            loss = self._stopping_loss(now)
            if loss >= lowest:
                break
            best, lowest, chosen = now, loss, weight
            yield best
        self.notes.append(f"total variation weight {chosen:g}, chosen by {len(self.held_out.stopping)} frames held out")
        yield best
        yield from self._joint("all frames", best, chosen, REFIT_ITERATIONS, self._training())

    def _training(self) -> npt.NDArray[np.int64]:
        return np.union1d(self.held_out.used, self.held_out.stopping)

    def _stopping_loss(self, model: Model) -> float:
        chosen = self.held_out.stopping
        return score(model, self.frames, chosen, self.plan.likelihood, self.stop_requested)[0]

    def _record(self, stage: str, epoch: int, total: int, loss: float | None, misfit: float, model: Model) -> float | None:
        """Report an epoch; returns the loss of the frames to stop by."""
        held_misfit = held_loss = None
        whole = stage != "coarse"  # the coarse model sees another detector
        if whole and len(self.held_out.judging):
            held_misfit = score(model, self.frames, self.held_out.judging, self.plan.likelihood, self.stop_requested)[1]
        if whole and stage != "all frames" and len(self.held_out.stopping):
            held_loss = self._stopping_loss(model)
        seconds = time.perf_counter() - self._began
        progress = Progress(stage, epoch, total, loss, misfit, held_misfit, held_loss, seconds)
        self.history.append(progress.as_dict())
        self.report(progress, model)
        return held_loss
