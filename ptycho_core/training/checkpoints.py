"""Which models of a run are kept: the last and the best."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["BEST", "LAST", "is_best", "monitored"]

BEST: Final = "best.ptycho"
"""File of the model with the lowest monitored loss."""

LAST: Final = "last.ptycho"
"""File of the model as it is now, which a run goes on from."""


def monitored(row: Mapping[str, Any]) -> float:
    """The loss that decides: ``validation_loss`` of a history row, or ``loss`` where there is no validation.

    What is not finite counts as infinite, so that it is never the best.
    """
    loss = row.get("validation_loss")
    value = float(row["loss"] if loss is None else loss)
    return value if math.isfinite(value) else math.inf


def is_best(history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the last epoch's monitored loss is finite and lower than that of every epoch before; False for no epoch."""
    if not history:
        return False
    *before, now = (monitored(row) for row in history)
    return now < min(before, default=math.inf)
