"""Steps of the weights: the optimiser, bounds on the gradient, and its state as plain arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from ptycho_backend_tensorflow.compiled import Compiled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

__all__ = ["Optimiser"]


class Optimiser:
    """Adam (Kingma & Ba, ICLR 2015), AdamW or SGD with momentum over named variables; weight decay acts on the network alone.

    ``specs/network.md`` gives the formulas. They are written out, since the libraries' differ in where they add an epsilon and in
    how they clip. All gradients are one vector, the variables one after another: few large operations take less time than many
    small ones.
    """

    def __init__(self, leaves: Mapping[str, tf.Variable], settings: Mapping[str, Any]) -> None:
        self._leaves, self._settings = dict(leaves), settings
        self._kind = str(settings["optimizer"])
        self._first, self._second = float(settings["adam_beta1"]), float(settings["adam_beta2"])
        self._epsilon = float(settings["adam_epsilon"])
        self._sizes = [math.prod(leaf.shape) for leaf in self._leaves.values()]
        self._gradient: tf.Tensor | None = None
        self._means, self._squares = (self._like_gradient() for _ in range(2))
        self._steps = 0
        self._move = Compiled(self._moved)

    def add(self, gradient: tf.Tensor) -> None:
        """Add the gradient (all elements of all variables,) of a batch to those of the step."""
        self._gradient = gradient if self._gradient is None else self._gradient + gradient

    def is_finite(self) -> bool:
        """Whether the gradients, and their squares, are finite: an optimiser that met others would never recover."""
        return self._gradient is None or bool(tf.math.is_finite(tf.reduce_sum(tf.square(self._gradient))))

    def step(self, learning_rate: float, batches: int) -> None:
        """Move the variables by the mean of the gradients of ``batches`` batches that were added, and forget these."""
        self._steps += 1
        first, second = 1 - self._first**self._steps, math.sqrt(1 - self._second**self._steps)
        self._move(self._gradient, *(tf.constant(value, tf.float64) for value in (batches, learning_rate, first, second)))
        self._gradient = None

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The state as arrays by name; empty before the first step."""
        if self._steps == 0:
            return {}
        found = {f"optimizer.{name}.mean": value for name, value in self._named(self._means)}
        if self._kind != "sgd":
            found |= {f"optimizer.{name}.square": value for name, value in self._named(self._squares)}
        return found

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], steps: int) -> None:
        """Take up the state that `arrays` gave after so many ``steps``."""
        self._steps = steps
        for part, store in (("mean", self._means), ("square", self._squares)):
            # What never had a gradient may be absent: it is zero.
            held = [arrays.get(f"optimizer.{name}.{part}", np.zeros(leaf.shape)) for name, leaf in self._leaves.items()]
            store.assign(np.concatenate([np.reshape(value, -1) for value in held]))

    def _like_gradient(self) -> tf.Variable:
        dtype = next(iter(self._leaves.values())).dtype
        return tf.Variable(tf.zeros(sum(self._sizes), dtype))

    def _named(self, vector: tf.Variable) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        parts = np.split(vector.numpy(), np.cumsum(self._sizes)[:-1])
        for (name, leaf), part in zip(self._leaves.items(), parts, strict=True):
            yield name, part.reshape(leaf.shape)

    def _moved(self, gradient: tf.Tensor, batches: tf.Tensor, rate: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> None:
        """The compiled step; ``first`` and ``second`` correct Adam's means for having started at zero."""
        gradient = self._clipped(gradient / tf.cast(batches, gradient.dtype))
        change = self._descent(gradient, rate) if self._kind == "sgd" else self._adapted(gradient, rate, first, second)
        decay = tf.cast(1 - rate * float(self._settings["weight_decay"]), gradient.dtype)
        for (name, leaf), part in zip(self._leaves.items(), tf.split(change, self._sizes), strict=True):
            shrinks = self._kind == "adamw" and name.startswith("network.")
            leaf.assign((leaf * decay if shrinks else leaf) - tf.reshape(part, leaf.shape))

    def _clipped(self, gradient: tf.Tensor) -> tf.Tensor:
        bound = self._settings["gradient_clip_val"]
        if bound is None:
            return gradient
        if self._settings["gradient_clip_algorithm"] == "value":
            return tf.clip_by_value(gradient, -float(bound), float(bound))
        norm = tf.sqrt(tf.reduce_sum(tf.square(tf.cast(gradient, tf.float64))))
        return gradient * tf.cast(tf.where(norm > float(bound), float(bound) / norm, 1.0), gradient.dtype)

    def _adapted(self, gradient: tf.Tensor, rate: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        """Adam's change."""
        mean = self._means.assign(self._first * self._means + (1 - self._first) * gradient)
        square = self._squares.assign(self._second * self._squares + (1 - self._second) * tf.square(gradient))
        root = tf.sqrt(square) / tf.cast(second, gradient.dtype) + self._epsilon
        return tf.cast(rate / first, gradient.dtype) * mean / root

    def _descent(self, gradient: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        """The change of SGD with momentum."""
        mean = self._means.assign(float(self._settings["momentum"]) * self._means + gradient)
        return tf.cast(rate, gradient.dtype) * mean
