"""The Fourier transform, and what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["back", "phase", "shifted", "transform"]


def transform(fields: NDArray[Any]) -> NDArray[np.complex128]:
    """F of complex (..., N, N): ``(1/N) Σ exp(-2πi (j k + l m) / N) x[k, m]``, zero frequency at ``[0, 0]``; unitary."""
    return np.fft.fft2(fields, norm="ortho")


def back(fields: NDArray[Any]) -> NDArray[np.complex128]:
    """The inverse of F, which is its adjoint."""
    return np.fft.ifft2(fields, norm="ortho")


def shifted(probe: NDArray[np.complex128], displacement: NDArray[np.float64]) -> NDArray[np.complex128]:
    """A field (..., N, N) moved by (row, column) pixels, as ``specs/forward-model.md`` defines it.

    ``-displacement`` is both the inverse and the adjoint. The factors are ``exp(-2πi q d / N)`` with ``-N/2 ≤ q < N/2``.
    """
    size = probe.shape[-1]
    frequency = (np.arange(size) + size // 2) % size - size // 2
    row, column = (np.exp(-2j * np.pi * frequency * float(part) / size) for part in displacement)
    return back(transform(probe) * row[:, None] * column)


def phase(numbers: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """``z / |z|``; 0 for 0."""
    found: NDArray[np.complex128] = numbers / np.maximum(np.abs(numbers), np.finfo(float).tiny)
    return found
