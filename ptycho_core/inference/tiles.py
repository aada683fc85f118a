"""Tiles: the neighboring frames whose object is estimated together, whatever the batch size and the order of the frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.physics.windows import split_positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MOST_FRAMES", "Cells", "scan_tiles"]

MOST_FRAMES: Final = 128
"""Frames of a tile: more hardly help the frames in its middle, and fewer leave each with less overlap."""

_LEAST_FRAMES: Final = 16
_TILE_PIXELS: Final = 1 << 23
"""Detector pixels of a tile, at most: each of its arrays takes 64 MiB then."""

_TRIED: Final = 4
"""Times the least number of cells that a grid may have; where frames lie in heaps, more cells do not part them."""


@dataclass(frozen=True)
class Cells:
    """A grid of equal rectangles, which a plan of positions fixes once.

    Attributes:
        anchor: (row, column) of the grid's origin, pixels, as the positions.
        sides: rows and columns of a cell, whole pixels.
        most: frames of a tile.
    """

    anchor: tuple[float, float]
    sides: tuple[int, int]
    most: int

    @classmethod
    def of(cls, positions: NDArray[np.floating[Any]], size: int) -> Cells:
        """The grid with the fewest cells of which none has too many frames.

        Args:
            positions: (frame, 2), (row, column) of the planned windows' corners, pixels; at least one.
            size: N, the pixels across a window.

        Raises:
            DataError: the shape is another, or a position is not a finite number.
        """
        split_positions(positions)
        places = np.asarray(positions, dtype=np.float64)
        most = min(MOST_FRAMES, max(_LEAST_FRAMES, _TILE_PIXELS // (size * size)))
        low, span = places.min(axis=0), np.ptp(places, axis=0)
        least = -(-len(places) // most)
        first, number = None, least
        while number <= _TRIED * least:
            found = cls((float(low[0]), float(low[1])), _sides(span, number), most)
            first = first or found
            if np.unique(found._cells(places), return_counts=True)[1].max() <= most:
                return found
            number += max(1, number // 8)
        assert first is not None
        return first

    def tiles(self, positions: NDArray[np.floating[Any]]) -> list[NDArray[np.int64]]:
        """The frames of each tile; each frame is in one.

        A frame's tile follows from its own position and from how many frames of lower number share its cell: the first ``most``
        are a tile, then the next, so that no later frame changes it.

        Args:
            positions: (frame, 2), as of `of`.

        Returns:
            Frame numbers, int64, of each tile, by rising row, column and number; tiles by rising cell.
        """
        places = np.asarray(positions, dtype=np.float64)
        tiles = []
        for own in _grouped(self._cells(places)):
            for start in range(0, len(own), self.most):
                part = own[start : start + self.most]
                tiles.append(part[np.lexsort((part, places[part, 1], places[part, 0]))])
        return tiles

    def _cells(self, places: NDArray[np.float64]) -> NDArray[np.int64]:
        """A number for each frame's cell, rising with its row, then its column: (frame,)."""
        row, column = np.floor((places - self.anchor) / self.sides).astype(np.int64).T
        found: NDArray[np.int64] = row * (np.ptp(column) + 1) + column - column.min(initial=0)
        return found


def scan_tiles(positions: NDArray[np.floating[Any]], size: int) -> list[NDArray[np.int64]]:
    """The tiles of a whole scan, on the grid that its own positions fix; arguments and errors are those of `Cells.of`."""
    return Cells.of(positions, size).tiles(positions)


def _sides(span: NDArray[np.float64], number: int) -> tuple[int, int]:
    """Rows and columns of about so many nearly square cells over an area."""
    rows, columns = (float(max(one, 1.0)) for one in span)
    down = min(number, max(1, round((number * rows / columns) ** 0.5)))
    across = -(-number // down)
    return int(rows // down) + 1, int(columns // across) + 1


def _grouped(cell: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The frames of each cell, ascending, for the cell of each frame."""
    order = np.argsort(cell, kind="stable").astype(np.int64)
    return np.split(order, np.flatnonzero(np.diff(cell[order])) + 1)
