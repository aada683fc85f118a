"""Windows at whole pixels, and the canvas that just holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Canvas"]


class Canvas:
    """Windows of N x N pixels, and the smallest canvas that holds them.

    Args:
        corners: (frame, 2), whole numbers, (row, column) of each window's first pixel, any common offset.
        size: N.
    """

    def __init__(self, corners: NDArray[np.int64], size: int) -> None:
        self.corners, self.size = corners - corners.min(axis=0), size
        rows, columns = (self.corners.max(axis=0) + size).tolist()
        self.shape = (int(rows), int(columns))

    def add(self, patches: NDArray[Any]) -> NDArray[Any]:
        """The sum (rows, columns) of patches (frame, N, N) in their windows: the adjoint of `cut`."""
        canvas = np.zeros(self.shape, dtype=patches.dtype)
        for patch, (row, column) in zip(patches, self.corners, strict=True):
            canvas[row : row + self.size, column : column + self.size] += patch
        return canvas

    def cut(self, canvas: NDArray[Any]) -> NDArray[Any]:
        """The windows (frame, N, N) of a canvas (rows, columns)."""
        return np.stack([canvas[row : row + self.size, column : column + self.size] for row, column in self.corners])
