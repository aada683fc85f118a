"""Object patches out of the channels of the network; ``specs/network.md`` defines both forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_core.engine.arrays import Array, ArrayOps

__all__ = ["object_patches"]

AMPLITUDE_FLOOR = 1e-3
"""Least amplitude of an estimate that is taken through an activation, and its distance from 1 below a sigmoid."""


def object_patches(xp: ArrayOps, channels: Array, estimate: Array, output: Mapping[str, Any]) -> Array:
    """Patches, complex (group, C, N, N), from output channels (group, 2 C, N, N) and the estimate (group, C, N, N).

    Zeros give the estimate itself, but for amplitudes outside the activation's range.
    """
    members = int(channels.shape[1]) // 2
    first, second = channels[:, :members], channels[:, members:]
    if output["form"] == "real-imaginary":
        return estimate + xp.complex(first, second)
    modulus = xp.abs(estimate)
    unit = xp.over_real(estimate, xp.at_least(modulus, AMPLITUDE_FLOOR))
    amplitude = _activated(xp, modulus, first, str(output["activation"]))
    return xp.times_polar(unit, amplitude, second)


def _activated(xp: ArrayOps, modulus: Array, change: Array, activation: str) -> Array:
    """``f(f⁻¹(modulus) + change)`` for the activation f."""
    if activation == "softplus":
        start = xp.at_least(modulus, AMPLITUDE_FLOOR)
        return xp.softplus(start + xp.log(-xp.expm1(-start)) + change)
    if activation == "sigmoid":
        inside = xp.at_most(xp.at_least(modulus, AMPLITUDE_FLOOR), 1 - AMPLITUDE_FLOOR)
        return xp.sigmoid(xp.log(inside / (1 - inside)) + change)
    return modulus + change
