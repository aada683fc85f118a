"""Object patches out of the channels of the network; ``specs/network.md`` defines both forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_backend_tensorflow.estimate import Estimate
    from ptycho_backend_tensorflow.networks import Network

__all__ = ["object_patches", "predict"]

SMALLEST = 1e-3
"""Least amplitude of an estimate that is taken through an activation, and its distance from 1 below a sigmoid."""


def predict(network: Network, estimate: Estimate, description: Mapping[str, Any], *, mixed: bool) -> tf.Tensor:
    """The network's object patches: complex (group, C, N, N).

    Args:
        network: built from the description.
        estimate: what it corrects.
        description: of the network.
        mixed: compute the network in bfloat16 where the specification says so; everything else stays as it is.
    """
    channels = network.forward(estimate.features(), mixed=mixed)
    return object_patches(tf.transpose(channels, (0, 3, 1, 2)), estimate.patches, description["output"])


def object_patches(channels: tf.Tensor, estimate: tf.Tensor, output: Mapping[str, Any]) -> tf.Tensor:
    """Patches from output channels (group, 2 C, N, N) and the estimate (group, C, N, N).

    Zeros give the estimate itself, but for amplitudes outside the activation's range.
    """
    first, second = tf.split(channels, 2, 1)
    if output["form"] == "real-imaginary":
        return estimate + tf.complex(first, second)
    modulus = tf.abs(estimate)
    unit = estimate / tf.cast(tf.maximum(modulus, SMALLEST), estimate.dtype)
    amplitude = _activated(modulus, first, str(output["activation"]))
    real, imaginary, cosine, sine = tf.math.real(unit), tf.math.imag(unit), tf.cos(second), tf.sin(second)
    return tf.complex(amplitude * (real * cosine - imaginary * sine), amplitude * (real * sine + imaginary * cosine))


def _activated(modulus: tf.Tensor, change: tf.Tensor, activation: str) -> tf.Tensor:
    """``f(f⁻¹(modulus) + change)`` for the activation f."""
    if activation == "softplus":
        start = tf.maximum(modulus, SMALLEST)
        return tf.nn.softplus(start + tf.math.log(-tf.math.expm1(-start)) + change)
    if activation == "sigmoid":
        inside = tf.clip_by_value(modulus, SMALLEST, 1 - SMALLEST)
        return tf.sigmoid(tf.math.log(inside / (1 - inside)) + change)
    return modulus + change
