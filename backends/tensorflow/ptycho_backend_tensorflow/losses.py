"""The loss terms in TensorFlow, differentiable; definitions and roundings are those of ``specs/forward-model.md``.

Sums run in double precision, whatever the precision of the model: a mean over millions of pixels must not lose digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import tensorflow as tf

from ptycho_core.physics import INTENSITY_FLOOR, VARIATION_ROUNDING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["data_sums", "total_variation"]

_TERMS: Final[dict[str, Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]]] = {
    "nll": lambda modelled, counts, _: modelled - counts * tf.math.log(modelled),
    "amplitude": lambda _, __, difference: tf.square(difference),
    "mae": lambda _, __, difference: tf.abs(difference),
}


def data_sums(
    modelled: tf.Tensor, counts: tf.Tensor, mask: tf.Tensor | None, names: Collection[str] = ("nll", "amplitude", "mae")
) -> dict[str, tf.Tensor]:
    """Sums over good pixels and patterns of the loss terms ``names``, in their order; float64 scalars.

    Args:
        modelled: real (frame, N, N), I.
        counts: real (frame, N, N), n, zero where the mask is False.
        mask: bool (N, N), True = good pixel, or None for all good.
        names: which of ``nll``, ``amplitude`` and ``mae``.
    """
    rounded = modelled + INTENSITY_FLOOR
    difference = tf.sqrt(rounded) - tf.sqrt(counts)
    terms = {name: _TERMS[name](rounded, counts, difference) for name in names}
    if mask is not None:
        terms = {name: tf.where(mask, values, tf.zeros_like(values)) for name, values in terms.items()}
    return {name: tf.reduce_sum(tf.cast(values, tf.float64)) for name, values in terms.items()}


def total_variation(transmission: tf.Tensor) -> tf.Tensor:
    """Isotropic total variation of complex objects (…, rows, columns), a mean over all their pixels; float64 scalar."""
    parts = tf.stack([tf.math.real(transmission), tf.math.imag(transmission)])
    ahead = [[0, 0]] * (len(transmission.shape) - 1)
    down = tf.pad(parts[..., 1:, :] - parts[..., :-1, :], [*ahead, [0, 1], [0, 0]])
    right = tf.pad(parts[..., 1:] - parts[..., :-1], [*ahead, [0, 0], [0, 1]])
    squares = tf.reduce_sum(tf.square(down) + tf.square(right), 0)
    # The plain "root minus rounding" would lose a flat object's value to cancellation in single precision.
    lengths = squares / (tf.sqrt(squares + VARIATION_ROUNDING**2) + VARIATION_ROUNDING)
    return tf.reduce_mean(tf.cast(lengths, tf.float64))
