"""The area of an object where results are compared and shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Area", "centre_area"]


@dataclass(frozen=True)
class Area:
    """A rectangle of whole pixels; stops are exclusive, as in slices."""

    row_start: int
    row_stop: int
    column_start: int
    column_stop: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the rectangle in an array (rows, columns)."""
        return slice(self.row_start, self.row_stop), slice(self.column_start, self.column_stop)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns; zero where the rectangle is empty."""
        return max(0, self.row_stop - self.row_start), max(0, self.column_stop - self.column_start)

    def within(self, rows: tuple[int, int], columns: tuple[int, int]) -> Area:
        """The part of the rectangle between the given starts and stops."""
        return Area(
            max(self.row_start, rows[0]),
            min(self.row_stop, rows[1]),
            max(self.column_start, columns[0]),
            min(self.column_stop, columns[1]),
        )


def centre_area(positions: NDArray[np.floating[Any]], window: int) -> Area:
    """The area spanned by the window centres: the bounding box of ``positions + window // 2``, in whole pixels inside it.

    Args:
        positions: (frame, 2), (row, column) of the windows' ``[0, 0]`` corners, object pixels.
        window: number of pixels N across a window.
    """
    centres = np.asarray(positions, dtype=np.float64) + window // 2
    low = np.ceil(centres.min(axis=0) - 1e-6).astype(int)
    high = np.floor(centres.max(axis=0) + 1e-6).astype(int) + 1
    return Area(int(low[0]), int(high[0]), int(low[1]), int(high[1]))
