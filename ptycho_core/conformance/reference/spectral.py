"""The spectral convolution by sums over frequencies, and the way back; float64 (batch, channel, row, column)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]
    Complex = NDArray[np.complex128]

__all__ = ["spectral", "spectral_back"]


def spectral(x: Real, weight: Real) -> Real:
    """``Re F⁻¹ Σ_i W_oi F x_i`` over the lowest frequencies.

    Args:
        x: (batch, in, row, column).
        weight: (2, out, in, 2 m, m), real and imaginary parts, for rows 0 … m − 1, −m … −1 and columns 0 … m − 1.
    """
    rows, columns = _waves(x, weight)
    product = np.einsum("oikl,bikl->bokl", weight[0] + 1j * weight[1], rows @ x @ columns.T, optimize=True)
    found: Real = (rows.conj().T @ product @ columns.conj()).real
    return found


def spectral_back(x: Real, weight: Real, slope: Real) -> tuple[Real, Real]:
    """Gradients with respect to ``x`` and ``weight``, given that with respect to the result of `spectral`.

    ``y = Re Σ conj(a) Z`` gives ``dZ = Σ a slope`` (d/d Re + i d/d Im); with ``Z = W X``: ``dW = Σ dZ conj(X)``,
    ``dX = Σ conj(W) dZ``.
    """
    rows, columns = _waves(x, weight)
    seen, of_product = rows @ x @ columns.T, rows @ slope @ columns.T
    of_weight = np.einsum("bokl,bikl->oikl", of_product, seen.conj(), optimize=True)
    of_seen = np.einsum("oikl,bokl->bikl", weight[0] - 1j * weight[1], of_product, optimize=True)
    return (rows.conj().T @ of_seen @ columns.conj()).real, np.stack([of_weight.real, of_weight.imag])


def _waves(x: Real, weight: Real) -> tuple[Complex, Complex]:
    """``exp(−2πi q r / R) / √R`` for the frequencies of rows (2 m, R) and of columns (m, C)."""
    modes = weight.shape[-1]
    of_rows = np.concatenate([np.arange(modes), np.arange(-modes, 0)])
    rows, columns = (
        np.exp(-2j * np.pi * np.outer(q, np.arange(side)) / side) / np.sqrt(side)
        for q, side in zip((of_rows, np.arange(modes)), x.shape[2:], strict=True)
    )
    return rows, columns
