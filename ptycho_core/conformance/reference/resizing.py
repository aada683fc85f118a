"""Half or twice the size of pictures, as a matrix for the rows and one for the columns, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]

__all__ = ["resize", "resize_back"]


def resize(x: Real, scale: str, method: str) -> Real:
    """(batch, channel, row, column) of half or twice the size."""
    rows, columns = (_matrix(side, scale, method) for side in x.shape[2:])
    return rows @ x @ columns.T


def resize_back(x: Real, scale: str, method: str, slope: Real) -> Real:
    """The gradient with respect to ``x``: by the transposed matrices."""
    rows, columns = (_matrix(side, scale, method) for side in x.shape[2:])
    return rows.T @ slope @ columns


def _matrix(side: int, scale: str, method: str) -> Real:
    """The matrix of an axis of so many pixels.

    Pixel ``i`` of the result has its middle at ``u = (i + ½) s − ½`` of the old axis, ``s`` = 2 or ½.  ``nearest`` takes the
    pixel in which it lies, of two the first; ``bilinear`` goes from one middle to the next, and keeps the last
    one beyond the ends.
    """
    step = 2.0 if scale == "half" else 0.5
    places = (np.arange(round(side / step)) + 0.5) * step - 0.5
    found = np.zeros((len(places), side))
    for number, place in enumerate(places):
        if method == "nearest":
            found[number, int(np.ceil(place - 0.5))] = 1
            continue
        first = int(np.floor(place))
        found[number, max(first, 0)] += first + 1 - place
        found[number, min(first + 1, side - 1)] += place - first
    return found
