"""Counting noise."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from ptycho_core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["expected_residual", "poisson"]

_MOST: Final = 64.0
"""Mean counts from which the expansion for many counts is right to 2e-4 of the residual."""


def poisson(mean: ArrayLike, random: np.random.Generator) -> NDArray[np.int64]:
    """Draw detector counts whose means are given, each pixel on its own.

    Args:
        mean: mean counts, any shape, finite, not negative.
        random: the generator; the same state gives the same counts.

    Returns:
        Counts, int64, in the shape of ``mean``.

    Raises:
        DataError: if a mean is negative, not finite or beyond what int64 counts can hold.
    """
    values = np.asarray(mean, dtype=np.float64)
    if not np.isfinite(values).all() or (values < 0).any():
        raise DataError("Mean counts must be finite and not negative.")
    try:
        return np.asarray(random.poisson(values), dtype=np.int64)
    except ValueError as error:
        raise DataError(f"Mean counts up to {values.max():.3g} are too many to draw Poisson noise from.") from error


def expected_residual(mean: ArrayLike) -> NDArray[np.float64]:
    """``E|√n − √λ|`` of counts n that are Poisson distributed with mean λ: what photon noise alone leaves of a pixel.

    Below 64 counts it is the sum ``Σ_n |√n − √λ| λⁿ exp(−λ) / n!``, interpolated in √λ; above, √n is nearly normal with the
    standard deviation 1/2, and the residual ``1/√(2π) (1 + 1/(8 λ))``.

    Args:
        mean: mean counts λ, any shape, not negative.

    Returns:
        float64, in the shape of ``mean``.
    """
    root = np.sqrt(np.asarray(mean, dtype=np.float64))
    roots, residuals = _residuals()
    with np.errstate(divide="ignore"):
        many = (1 + 1 / (8 * root**2)) / np.sqrt(2 * np.pi)
    return np.where(root < roots[-1], np.interp(root, roots, residuals), many)


@cache
def _residuals() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """√λ from 0 to 8, and the residual of each, by the sum over counts."""
    roots = np.linspace(0, np.sqrt(_MOST), 1601)
    mean, counts = roots[:, np.newaxis] ** 2, np.arange(256)
    weights = np.empty((len(roots), len(counts)))
    weights[:, 0] = np.exp(-mean[:, 0])
    for count in counts[1:]:
        weights[:, count] = weights[:, count - 1] * mean[:, 0] / count
    return roots, (np.abs(np.sqrt(counts) - roots[:, np.newaxis]) * weights).sum(axis=1)
