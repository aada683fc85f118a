"""Steps of what learns, as *Learning* in ``specs/network.md`` has them, on float64 arrays by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Real = NDArray[np.float64]

__all__ = ["Optimizer"]


class Optimizer:
    """Adam (Kingma & Ba, ICLR 2015), AdamW or SGD with momentum; weight decay acts on the network alone.

    Args:
        settings: the *training* settings.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings, self._kind = settings, str(settings["optimizer"])
        self._means: dict[str, Real] = {}
        self._squares: dict[str, Real] = {}
        self._steps = 0

    def step(self, values: Mapping[str, Real], gradients: Mapping[str, Real], rate: float) -> dict[str, Real]:
        """Where a step with mean gradients leads from ``values``; names without a gradient stay where they are."""
        self._steps += 1
        clipped = self._clipped(gradients)
        move = self._descended if self._kind == "sgd" else self._adapted
        return {name: move(name, value, clipped[name], rate) if name in clipped else value for name, value in values.items()}

    def arrays(self) -> dict[str, Real]:
        """The state by name; empty before the first step."""
        found = {f"optimizer.{name}.mean": value.copy() for name, value in self._means.items()}
        return found | {f"optimizer.{name}.square": value.copy() for name, value in self._squares.items()}

    def restore(self, arrays: Mapping[str, NDArray[Any]], steps: int) -> None:
        """Take up what `arrays` gave after so many ``steps``."""
        self._steps = steps
        for name, value in arrays.items():
            for part, store in ((".mean", self._means), (".square", self._squares)):
                if name.startswith("optimizer.") and name.endswith(part):
                    store[name.removeprefix("optimizer.").removesuffix(part)] = value.astype(np.float64)

    def _clipped(self, gradients: Mapping[str, Real]) -> Mapping[str, Real]:
        bound = self._settings["gradient_clip_val"]
        if bound is None:
            return gradients
        if self._settings["gradient_clip_algorithm"] == "value":
            return {name: np.clip(value, -bound, bound) for name, value in gradients.items()}
        norm = float(np.sqrt(sum((value**2).sum() for value in gradients.values())))
        factor = bound / norm if norm > bound else 1.0
        return {name: value * factor for name, value in gradients.items()}

    def _adapted(self, name: str, value: Real, gradient: Real, rate: float) -> Real:
        """Adam; for AdamW the weights of the network shrink first."""
        if self._kind == "adamw" and name.startswith("network."):
            value = value * (1 - rate * self._settings["weight_decay"])
        first, second = self._settings["adam_beta1"], self._settings["adam_beta2"]
        self._means[name] = first * self._means.get(name, 0.0) + (1 - first) * gradient
        self._squares[name] = second * self._squares.get(name, 0.0) + (1 - second) * gradient**2
        mean = self._means[name] / (1 - first**self._steps)
        root = np.sqrt(self._squares[name] / (1 - second**self._steps))
        found: Real = value - rate * mean / (root + self._settings["adam_epsilon"])
        return found

    def _descended(self, name: str, value: Real, gradient: Real, rate: float) -> Real:
        """SGD with momentum."""
        self._means[name] = self._settings["momentum"] * self._means.get(name, 0.0) + gradient
        found: Real = value - rate * self._means[name]
        return found
