"""Merging of overlapping object patches into one object, differentiable; ``specs/network.md`` defines it."""

from __future__ import annotations

import tensorflow as tf

from ptycho_backend_tensorflow.arrays import gather, scatter_add
from ptycho_backend_tensorflow.estimate import unit_phase

__all__ = ["merge_patches"]

ALIGNMENTS = 4
"""Rounds in which the phases of the patches are turned towards their average."""

FLOOR = 1e-3
"""Added to the illumination as a weight, so that every pixel of a window has one."""


def merge_patches(patches: tf.Tensor, weight: tf.Tensor, windows: tf.Tensor, canvas: tf.Tensor) -> tf.Tensor:
    """Average overlapping patches with weights, and cut the windows out again.

    One pattern says nothing of its patch's phase as a whole. So each patch is first turned towards the average of all, in a few
    rounds; the angles are taken as constants of the gradient.

    Args:
        patches: complex (frame, N, N).
        weight: real (N, N), intensity of the illumination, greatest 1.
        windows: int64 corners (frame, 2) of the patches on a canvas (or on several that are stacked).
        canvas: real zeros (rows, columns), which gives the canvas its shape.

    Returns:
        Complex (frame, N, N).
    """
    size, kind = tf.shape(patches)[-1], patches.dtype
    lit = tf.cast(weight + FLOOR, kind)
    total = scatter_add(canvas, tf.broadcast_to(weight + FLOOR, tf.shape(patches)), windows)
    inverse = tf.cast(1 / tf.maximum(total, FLOOR), kind)
    empty = tf.cast(canvas, kind)
    turn = tf.stop_gradient(_aligned(tf.stop_gradient(patches) * lit, inverse, windows, empty))
    merged = scatter_add(empty, patches * (lit * turn[:, None, None]), windows) * inverse
    return gather(merged, windows, size)


def _aligned(weighted: tf.Tensor, inverse: tf.Tensor, windows: tf.Tensor, empty: tf.Tensor) -> tf.Tensor:
    """Complex (frame,) of modulus one: what turns each weighted patch towards the average."""
    size = tf.shape(weighted)[-1]
    conjugate = tf.math.conj(weighted)

    def turned(turn: tf.Tensor) -> tuple[tf.Tensor]:
        canvas = scatter_add(empty, weighted * turn[:, None, None], windows) * inverse
        return (unit_phase(tf.reduce_sum(gather(canvas, windows, size) * conjugate, (1, 2))),)

    start = tf.ones_like(weighted[:, 0, 0])
    return tf.while_loop(lambda _: True, turned, (start,), parallel_iterations=1, maximum_iterations=ALIGNMENTS)[0]
