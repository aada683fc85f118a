"""Two answers to the same batch, side by side: how far apart they are, and how far they may be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_core.conformance.limits import Limits
    from ptycho_core.contract import EvaluateResult

__all__ = ["Difference", "differences", "relative_distance"]


@dataclass(frozen=True)
class Difference:
    """How far one quantity of two answers is apart.

    Attributes:
        quantity: ``patches``, ``intensities``, ``loss`` or ``gradient``.
        name: which loss term or tensor; empty for the others.
        value: relative; infinite where one side lacks it, has another shape or is not finite.
        limit: largest value that is allowed.
    """

    quantity: str
    name: str
    value: float
    limit: float

    @property
    def within(self) -> bool:
        """Whether the limit is kept."""
        return self.value <= self.limit


def differences(found: EvaluateResult, wanted: EvaluateResult, limits: Limits) -> tuple[Difference, ...]:
    """The differences of two answers to an ``EvaluateBatchJob``: patches, intensities, each loss term, each gradient.

    Args:
        found: one answer.
        wanted: the one that it is held against.
        limits: those of the lower precision of the two.
    """
    rows = [
        Difference("patches", "", relative_distance(found.patches, wanted.patches), limits.forward),
        Difference("intensities", "", relative_distance(found.intensities, wanted.intensities), limits.forward),
    ]
    rows += _named("loss", found.losses, wanted.losses, limits.loss)
    rows += _named("gradient", found.gradients, wanted.gradients, limits.gradient)
    return tuple(rows)


def relative_distance(found: Any, wanted: Any) -> float:  # noqa: ANN401 - arrays, numbers, None
    """``|found − wanted| / |wanted|`` with the root of the sum of squares; 0 for two that are zero alike.

    Infinite where one is missing, of another shape, or not finite, and where only ``wanted`` is zero.
    """
    if found is None or wanted is None or np.shape(found) != np.shape(wanted):
        return math.inf
    one, other = (np.asarray(value).astype(np.complex128) for value in (found, wanted))
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return math.inf
    scale = float(np.abs(other).max(initial=0.0))
    if scale == 0:
        return math.inf if one.any() else 0.0
    return float(np.linalg.norm((one - other) / scale) / np.linalg.norm(other / scale))  # squares of small numbers may vanish


def _named(quantity: str, found: Mapping[str, Any], wanted: Mapping[str, Any], limit: float) -> list[Difference]:
    """What only one side has is infinitely far."""
    names = [*wanted, *(name for name in found if name not in wanted)]
    return [Difference(quantity, name, relative_distance(found.get(name), wanted.get(name)), limit) for name in names]
