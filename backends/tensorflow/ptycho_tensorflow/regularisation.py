"""Total variation of the object (Rudin, Osher & Fatemi, Physica D 60 (1992) 259)."""

from __future__ import annotations

import tensorflow as tf

from ptycho_tensorflow.compiled import compiled
from ptycho_tensorflow.propagation import squared_modulus

__all__ = ["total_variation"]


@compiled
def total_variation(field: tf.Tensor, rounding: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """``sum sqrt(|D_row O|^2 + |D_column O|^2 + rounding^2) - rounding`` and its derivative ``d/dO*``.

    Forward differences of the complex field, none across the border.  Differences well below ``rounding`` are smoothed
    quadratically, larger ones like edges.

    Args:
        field: complex (rows, columns).
        rounding: real scalar, in units of the field.

    Returns:
        Real scalar and complex (rows, columns).
    """
    down = tf.pad(field[1:] - field[:-1], [[0, 1], [0, 0]])
    right = tf.pad(field[:, 1:] - field[:, :-1], [[0, 0], [0, 1]])
    length = tf.sqrt(squared_modulus(down) + squared_modulus(right) + rounding**2)
    inverse = tf.cast(0.5 / length, field.dtype)
    down, right = down * inverse, right * inverse
    gradient = tf.pad(down[:-1], [[1, 0], [0, 0]]) - down + tf.pad(right[:, :-1], [[0, 0], [1, 0]]) - right
    return tf.reduce_sum(length - rounding), gradient
