"""Counting noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["poisson"]


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
