"""The learning rate at each step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ptycho_core.errors import SettingsError
from ptycho_core.training.checkpoints import AUTO, Monitor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["learning_rate", "steps_in_epoch"]

_IMPROVEMENT = 1e-4
"""Part of the best loss by which a loss must be lower to count for the ``plateau`` schedule."""


def steps_in_epoch(batches: int, accumulate_grad_batches: int) -> int:
    """Optimizer steps of an epoch: one for every ``accumulate_grad_batches`` batches, and one for those left over."""
    return -(-batches // accumulate_grad_batches)


def learning_rate(
    settings: Mapping[str, Any],
    *,
    step: int,
    steps_per_epoch: int,
    history: Sequence[Mapping[str, Any]] = (),
    monitor: Monitor = AUTO,
) -> float:
    """The learning rate of one optimizer step, by the formulas of ``specs/training.md``.

    Args:
        settings: the *training* settings.
        step: number of the step in the whole run, from 0.
        steps_per_epoch: as `steps_in_epoch` gives it.
        history: rows of the epochs finished before this step; only ``plateau`` looks at them.
        monitor: what ``plateau`` goes by.

    Raises:
        SettingsError: there is no schedule of that name.
    """
    peak, floor = float(settings["learning_rate"]), float(settings["min_learning_rate"])
    match settings["scheduler"]:
        case "constant":
            return peak
        case "exponential":
            return max(floor, peak * float(settings["decay"]) ** (step // steps_per_epoch))
        case "warmup-cosine":
            warmup = float(settings["warmup_epochs"]) * steps_per_epoch
            return _warmup_cosine(peak, floor, step, warmup, int(settings["epochs"]) * steps_per_epoch)
        case "plateau":
            factor = float(settings["plateau_factor"])
            losses = [monitor.value(row) for row in history]
            return max(floor, peak * factor ** _reductions(losses, int(settings["plateau_patience"])))
        case other:
            raise SettingsError(f"There is no scheduler {other!r}.")


def _warmup_cosine(peak: float, floor: float, step: int, warmup: float, total: int) -> float:
    if step < warmup:
        return max(floor, peak * min(1.0, (step + 1) / warmup))
    if total <= warmup:  # the step is beyond the run that was planned
        return max(floor, peak)
    progress = min(1.0, (step - warmup) / (total - warmup))
    return max(floor, floor + (peak - floor) * (1 + math.cos(math.pi * progress)) / 2)


def _reductions(losses: Sequence[float], patience: int) -> int:
    """How often ``patience`` epochs in a row brought no lower loss."""
    best, waited, reductions = math.inf, 0, 0
    for loss in losses:
        if loss < best - (_IMPROVEMENT * abs(best) if math.isfinite(best) else 0.0):
            best, waited = loss, 0
            continue
        waited += 1
        if waited == patience:
            reductions, waited = reductions + 1, 0
    return reductions
