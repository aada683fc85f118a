"""When training has nothing more to give: no better for long, or collapsed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ptycho_core.training.checkpoints import AUTO, Monitor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["collapse", "should_stop"]

_FLAT = 1e-3
_FLAT_EPOCHS = 3
_TRIVIAL = 0.02
_TRIVIAL_EPOCHS = 5


def should_stop(history: Sequence[Mapping[str, Any]], patience: int | None, monitor: Monitor = AUTO) -> bool:
    """Whether the last ``patience`` epochs brought nothing better by the monitor; never with a patience of None."""
    return patience is not None and _stale([monitor.value(row) for row in history]) >= patience


def collapse(history: Sequence[Mapping[str, Any]]) -> str | None:
    """What to tell if the network has collapsed to something that ignores its input, else None.

    It has if ``output_deviation`` (mean over the patches of the relative deviation of a patch where it is lit) was below 1e-3 for
    3 epochs, or if ``loss`` has not become lower for 5 epochs and is still not 2 % below ``trivial_loss`` (that of the best flat
    object). Rows that lack a value are no evidence.
    """
    deviations = [row.get("output_deviation") for row in history[-_FLAT_EPOCHS:]]
    if len(deviations) == _FLAT_EPOCHS and all(value is not None and value < _FLAT for value in deviations):
        return (
            f"The network has collapsed: its patches vary by {deviations[-1]:.1g} only, for {_FLAT_EPOCHS} epochs now, so they"
            " are flat. Start anew with a lower learning rate, gradient clipping, another seed or more data."
        )
    trivial = history[-1].get("trivial_loss") if history else None
    losses = [float(row["loss"]) for row in history]
    if trivial is None or _stale(losses) < _TRIVIAL_EPOCHS or losses[-1] < trivial - _TRIVIAL * abs(trivial):
        return None
    return (
        f"The network has not learned: its loss of {losses[-1]:.4g} is no better than the {trivial:.4g} of a flat object, and has"
        f" not become lower for {_stale(losses)} epochs. Check probe and positions, or start anew with another learning rate."
    )


def _stale(losses: Sequence[float]) -> int:
    """Number of epochs since the lowest loss (the first of equals); all of them if none is finite."""
    best, since = math.inf, 0
    for loss in losses:
        best, since = (loss, 0) if loss < best else (best, since + 1)
    return since
