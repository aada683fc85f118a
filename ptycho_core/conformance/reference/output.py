"""Object patches out of output channels and estimates (*Patches* in ``specs/network.md``), and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["output", "output_back"]

_LEAST = 1e-3
"""Least modulus of an estimate that is taken through an activation, and its distance from 1 below a sigmoid."""


def output(given: NDArray[np.float64], estimated: NDArray[np.complex128], asked: Mapping[str, Any]) -> NDArray[np.complex128]:
    """Patches, complex (group, C, N, N).

    Args:
        given: output channels (group, 2 C, N, N).
        estimated: complex (group, C, N, N).
        asked: ``output`` of the description: ``form`` and ``activation``.
    """
    u, v = _halves(given)
    if asked["form"] == "real-imaginary":
        return estimated + u + 1j * v
    modulus = np.abs(estimated)
    amplitude, _ = _activated(modulus, u, asked["activation"])
    found: NDArray[np.complex128] = amplitude * estimated / np.maximum(modulus, _LEAST) * np.exp(1j * v)
    return found


def output_back(
    given: NDArray[np.float64],
    estimated: NDArray[np.complex128],
    asked: Mapping[str, Any],
    slope: NDArray[np.complex128],
) -> NDArray[np.float64]:
    """Gradient with respect to the channels, given that with respect to the patches (d/d Re + i d/d Im); estimates are held.

    Where the patch changes with a channel by ``D``, the loss changes by ``Re(conj(D) slope)``.
    """
    u, v = _halves(given)
    if asked["form"] == "real-imaginary":
        return np.concatenate([slope.real, slope.imag], axis=1)
    modulus = np.abs(estimated)
    amplitude, rise = _activated(modulus, u, asked["activation"])
    unit = estimated / np.maximum(modulus, _LEAST) * np.exp(1j * v)
    parts = [(np.conj(rise * unit) * slope).real, (np.conj(1j * amplitude * unit) * slope).real]
    return np.concatenate(parts, axis=1)


def _halves(given: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    members = given.shape[1] // 2
    return given[:, :members], given[:, members:]


def _activated(
    modulus: NDArray[np.float64], u: NDArray[np.float64], activation: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``f(f⁻¹(modulus) + u)`` and its derivative with respect to u."""
    if activation == "softplus":
        start = np.maximum(modulus, _LEAST)
        inside = start + np.log(-np.expm1(-start)) + u  # log(exp(x) - 1), without overflow
        return np.logaddexp(0, inside), np.exp(-np.logaddexp(0, -inside))
    if activation == "sigmoid":
        clipped = np.clip(modulus, _LEAST, 1 - _LEAST)
        found = np.exp(-np.logaddexp(0, np.log((1 - clipped) / clipped) - u))
        return found, found * (1 - found)
    return modulus + u, np.ones_like(u)
