"""Scan positions refined against the patterns by Gauss-Newton steps.

The derivative of a frame's wave with respect to its position is the object times the derivative of the shifted probe, which
is exact in Fourier space.  The linearised amplitudes then give two equations a frame (compare Dwivedi et al.,
Ultramicroscopy 192 (2018) 29, and Odstrcil et al., Opt. Express 26 (2018) 3108).
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from ptycho_core.reconstruction.constants import DAMPING, LARGEST_STEP
from ptycho_tensorflow.propagation import fft2_ortho, fft_frequencies

__all__ = ["gauss_newton_steps", "probe_slopes"]


def probe_slopes(probe: tf.Tensor, ramps: tf.Tensor) -> tf.Tensor:
    """Derivatives of the shifted probe by row and column position: complex (2, frame, mode, N, N)."""
    frequencies = fft_frequencies(tf.shape(probe)[-1], probe.dtype.real_dtype)
    factors = tf.complex(tf.zeros_like(frequencies), -2 * math.pi * frequencies)
    spectrum = tf.signal.fft2d(probe)[None] * ramps
    return tf.signal.ifft2d(tf.stack([spectrum * factors[:, None], spectrum * factors]))


def gauss_newton_steps(
    waves: tf.Tensor, modelled: tf.Tensor, residual: tf.Tensor, slopes: tf.Tensor, patches: tf.Tensor
) -> tf.Tensor:
    """Position changes (frame, 2), float64, in pixels that best explain the residual amplitudes, frame by frame.

    Args:
        waves: complex (frame, mode, N, N) at the detector.
        modelled: real (frame, N, N), ``sqrt(I)``.
        residual: real (frame, N, N), measured minus modelled amplitudes, zero at bad pixels.
        slopes: as from `probe_slopes`.
        patches: complex (frame, N, N), the object in each window.
    """
    changes = fft2_ortho(slopes * patches[:, None])
    jacobian = tf.reduce_sum(tf.math.real(changes * tf.math.conj(waves)), 2) / modelled
    first, second = tf.unstack(jacobian)

    def product(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(left * right, (1, 2))

    a, b, c = product(first, first), product(first, second), product(second, second)
    u, v = product(first, residual), product(second, residual)
    damping = DAMPING * tf.reduce_mean(a + c) + np.finfo(a.dtype.as_numpy_dtype).tiny
    a, c = a + damping, c + damping
    determinant = a * c - b * b
    steps = tf.cast(tf.stack([(c * u - b * v) / determinant, (a * v - b * u) / determinant], 1), tf.float64)
    steps = tf.where(tf.math.is_finite(steps), steps, 0.0)
    return tf.clip_by_value(steps, -LARGEST_STEP, LARGEST_STEP)
