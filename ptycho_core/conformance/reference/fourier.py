"""The Fourier transform, and what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.physics.near_field import near_field, near_field_adjoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.physics.near_field import Propagation

__all__ = ["at_detector", "back", "from_detector", "phase", "shifted", "transform"]


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


def at_detector(
    exits: NDArray[np.complex128], remainders: NDArray[np.float64], way: Propagation | None
) -> NDArray[np.complex128]:
    """Waves at the detector, in the order of the FFT, of exit waves (frame, mode, N, N).

    F in the far field. In the near field, where ``way`` leads to the detector, each is moved back by its remainder (frame, 2) and
    propagates from there.
    """
    if way is None:
        return transform(exits)
    still = np.stack([shifted(one, -rest) for one, rest in zip(exits, remainders, strict=True)])
    return np.fft.ifftshift(near_field(still, way), axes=(-2, -1))


def from_detector(
    waves: NDArray[np.complex128], remainders: NDArray[np.float64], way: Propagation | None
) -> NDArray[np.complex128]:
    """The adjoint of `at_detector`: its steps the other way."""
    if way is None:
        return back(waves)
    still = near_field_adjoint(np.fft.fftshift(waves, axes=(-2, -1)), way)
    return np.stack([shifted(one, rest) for one, rest in zip(still, remainders, strict=True)])


def phase(numbers: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """``z / |z|``; 0 for 0."""
    found: NDArray[np.complex128] = numbers / np.maximum(np.abs(numbers), np.finfo(float).tiny)
    return found
