"""Limited-memory BFGS (Nocedal, Math. Comp. 35 (1980) 773) on one real vector of any framework, one step at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Step", "minimise"]

MEMORY = 10
ARMIJO = 1e-4
SMALLEST_STEP = 1e-3

Vector: TypeAlias = Any
"""Real vector with the operators ``+``, ``-``, and ``*`` with a Python number."""


class Step:
    """Where the minimisation is: ``point`` and ``gradient`` (real vectors), ``loss``, whether it is ``stuck``."""

    def __init__(self, point: Vector, loss: float, gradient: Vector, stuck: bool = False) -> None:
        self.point, self.loss, self.gradient, self.stuck = point, loss, gradient, stuck


def minimise(
    function: Callable[[Vector], tuple[float, Vector]], start: Vector, dot: Callable[[Vector, Vector], float]
) -> Iterator[Step]:
    """Yield a step after each iteration; losses never rise; ends when no descent is found even along the gradient.

    Args:
        function: maps a point to (loss, gradient).  The vector should be scaled so that its curvature is about equal in
            all directions.
        start: first point.
        dot: inner product of two vectors.
    """
    loss, gradient = function(start)
    now = Step(start, loss, gradient)
    moves: list[Vector] = []
    changes: list[Vector] = []
    while True:
        direction = _direction(now.gradient, moves, changes, dot)
        slope = dot(now.gradient, direction)
        following = _search(function, now, direction, slope) if slope < 0 else None
        if following is None:
            if not moves:
                yield Step(now.point, now.loss, now.gradient, stuck=True)
                return
            moves, changes = [], []
            continue
        move, change = following.point - now.point, following.gradient - now.gradient
        if dot(move, change) > 1e-10 * dot(change, change):
            moves, changes = [*moves, move][-MEMORY:], [*changes, change][-MEMORY:]
        now = following
        yield now


def _direction(gradient: Vector, moves: list[Vector], changes: list[Vector], dot: Callable[[Vector, Vector], float]) -> Vector:
    """Two-loop recursion; without memory half the negative gradient, a Newton step for unit curvature of 2."""
    direction = -gradient
    if not moves:
        return 0.5 * direction
    weights: list[tuple[float, float]] = []
    for move, change in zip(reversed(moves), reversed(changes), strict=True):
        inverse = 1 / dot(move, change)
        weight = inverse * dot(move, direction)
        weights.append((inverse, weight))
        direction = direction - weight * change
    direction = direction * (dot(moves[-1], changes[-1]) / dot(changes[-1], changes[-1]))
    for move, change, (inverse, weight) in zip(moves, changes, reversed(weights), strict=True):
        direction = direction + (weight - inverse * dot(change, direction)) * move
    return direction


def _search(function: Callable[[Vector], tuple[float, Vector]], now: Step, direction: Vector, slope: float) -> Step | None:
    """Shorten the step until the loss falls enough (Armijo); None where it does not.

    The next length is the minimum of the parabola through what is known, so that a far too long step is mended at once.
    """
    length = 1.0
    while length > SMALLEST_STEP:
        point = now.point + length * direction
        loss, gradient = function(point)
        if loss <= now.loss + ARMIJO * length * slope:
            return Step(point, loss, gradient)
        rise = loss - now.loss - length * slope
        factor = -0.5 * length * slope / rise if math.isfinite(rise) and rise > 0 else 0.1
        length *= min(max(factor, 0.02), 0.5)
    return None
