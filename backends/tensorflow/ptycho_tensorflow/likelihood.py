"""How far modelled intensities are from counted ones, and the gradient with respect to the wave at the detector.

Each function returns the summed loss, a real factor ``w`` (frame, N, N) and ``sum |sqrt I - sqrt n|`` (the numerator of R),
with ``dL/dF* = w F`` for every mode ``F`` at the detector
(Wirtinger derivative, Thibault & Guizar-Sicairos, New J. Phys. 14 (2012) 063004), so that the gradient of all modes is one
product.
"""

from __future__ import annotations

import tensorflow as tf

from ptycho_core.reconstruction.constants import SMALLEST

__all__ = ["amplitude_loss", "poisson_loss"]


def amplitude_loss(intensity: tf.Tensor, amplitudes: tf.Tensor, mask: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """``sum (sqrt I - sqrt n)^2`` over good pixels, and ``w = 1 - sqrt(n / I)``.

    ``intensity``, ``amplitudes`` (= ``sqrt n``): real (frame, N, N); ``mask``: real (N, N), 1 for good pixels, or None.
    Counts' variance is stabilised by the root, so this is also the Gaussian approximation of the Poisson likelihood.
    """
    modelled = tf.sqrt(intensity + SMALLEST)
    difference = modelled - amplitudes
    if mask is not None:
        difference = difference * mask
    factor = difference / modelled
    return tf.reduce_sum(tf.square(difference)), factor, tf.reduce_sum(tf.abs(difference))


def poisson_loss(intensity: tf.Tensor, amplitudes: tf.Tensor, mask: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Half the Poisson deviance ``sum (I - n + n log(n / I))`` over good pixels, and ``w = 1 - n / I``.

    The terms without ``I`` make a perfect fit zero, so that sums stay exact in float32.  Shapes as in `amplitude_loss`.
    """
    modelled = intensity + SMALLEST
    counts = amplitudes * amplitudes
    ratio = counts / modelled
    factor = 1 - ratio
    if mask is not None:
        factor = factor * mask
    log = counts * tf.math.log(tf.maximum(ratio, 1e-30))
    if mask is not None:
        log = log * mask
    difference = tf.sqrt(modelled) - amplitudes
    if mask is not None:
        difference = difference * mask
    return tf.reduce_sum(modelled * factor + log), factor, tf.reduce_sum(tf.abs(difference))
