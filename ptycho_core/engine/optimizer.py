"""Steps of the weights: the optimizers and the bounds on the gradient; ``specs/network.md`` gives the formulas.

They are written out, since those of the libraries differ in where they add an epsilon and in how they clip. All that learns is
one vector: few large operations take less time than many small ones.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ptycho_core.engine.arrays import Array, ArrayOps

__all__ = ["OPTIMIZERS", "Moments", "Optimizer", "Rule"]


class Moments(NamedTuple):
    """Running means of the gradient and of its square, real vectors; the latter None where an optimizer does not keep it."""

    mean: Array
    square: Array


class Step(NamedTuple):
    """Numbers of a step: batches whose gradients were added, learning rate, and Adam's corrections for a start at zero."""

    batches: Array
    rate: Array
    first: Array
    second: Array


class Rule(NamedTuple):
    """An optimizer.

    Attributes:
        move: vector and moments after a step, of the operations, vector, gradient, moments, numbers of the step and *training*
            settings.
        squares: whether it keeps the mean square of the gradient.
        decays: whether the network's weights shrink in each step.
    """

    move: Callable[[ArrayOps, Array, Array, Moments, Step, Mapping[str, Any]], tuple[Array, Moments]]
    squares: bool = False
    decays: bool = False


def _adam(
    xp: ArrayOps, vector: Array, gradient: Array, moments: Moments, step: Step, asked: Mapping[str, Any]
) -> tuple[Array, Moments]:
    """Adam (Kingma & Ba, ICLR 2015)."""
    first, second = float(asked["adam_beta1"]), float(asked["adam_beta2"])
    mean = xp.add_scaled(first * moments.mean, gradient, 1 - first)
    square = xp.add_square(second * moments.square, gradient, 1 - second)
    root = xp.sqrt(square) / step.second + float(asked["adam_epsilon"])
    return vector - step.first * mean / root, Moments(mean, square)


def _sgd(
    xp: ArrayOps, vector: Array, gradient: Array, moments: Moments, step: Step, asked: Mapping[str, Any]
) -> tuple[Array, Moments]:
    """Stochastic gradient descent with momentum."""
    mean = float(asked["momentum"]) * moments.mean + gradient
    return xp.add_scaled(vector, mean, -step.rate), Moments(mean, None)


OPTIMIZERS: Final[Mapping[str, Rule]] = {
    "adam": Rule(_adam, squares=True),
    "adamw": Rule(_adam, squares=True, decays=True),
    "sgd": Rule(_sgd),
}
"""The optimizers by name; a new one is a rule here, and its name in the *training* settings."""


class Optimizer:
    """Moves a vector by gradients that are added up; weight decay acts on its first ``decaying`` values alone.

    Attributes:
        moments: what it remembers of earlier steps.
        steps: how many there were.
    """

    def __init__(self, xp: ArrayOps, settings: Mapping[str, Any], size: int, decaying: int) -> None:
        self._xp, self._settings, self._decaying = xp, settings, decaying
        self._rule = OPTIMIZERS[str(settings["optimizer"])]
        self.moments = Moments(xp.zeros((size,)), xp.zeros((size,)) if self._rule.squares else None)
        self.steps = 0
        self._gradient: Array | None = None
        self._move = xp.compiled(self._moved)

    def add(self, gradient: Array) -> None:
        """Add the gradient of a batch to those of the step."""
        self._gradient = gradient if self._gradient is None else self._gradient + gradient

    def is_finite(self) -> bool:
        """Whether the gradients, and their squares, are finite: an optimizer that met others would never recover."""
        return self._gradient is None or self._xp.is_finite(self._xp.square_sum(self._gradient))

    def step(self, vector: Array, rate: float, batches: int) -> Array:
        """The vector, moved by the mean of the gradients of ``batches`` batches that were added; these are forgotten."""
        self.steps += 1
        first = 1 - float(self._settings["adam_beta1"]) ** self.steps
        second = math.sqrt(1 - float(self._settings["adam_beta2"]) ** self.steps)
        shrink = 1 - rate * float(self._settings["weight_decay"])
        numbers = Step(*map(self._xp.scalar, (batches, rate, rate / first, second)))
        vector, self.moments = self._move(vector, self._gradient, self.moments, numbers, self._xp.scalar(shrink))
        self._gradient = None
        return vector

    def _moved(
        self, xp: ArrayOps, vector: Array, gradient: Array, moments: Moments, step: Step, shrink: Array
    ) -> tuple[Array, Moments]:
        gradient = self._clipped(xp, gradient / step.batches)
        if self._rule.decays:
            vector = xp.concat([vector[: self._decaying] * shrink, vector[self._decaying :]])
        return self._rule.move(xp, vector, gradient, moments, step, self._settings)

    def _clipped(self, xp: ArrayOps, gradient: Array) -> Array:
        if self._settings["gradient_clip_val"] is None:
            return gradient
        bound = float(self._settings["gradient_clip_val"])
        if self._settings["gradient_clip_algorithm"] == "value":
            return xp.at_most(xp.at_least(gradient, -bound), bound)
        norm = xp.sqrt(xp.squares64(gradient))
        return gradient * xp.rounded(bound / xp.at_least(norm, bound))
