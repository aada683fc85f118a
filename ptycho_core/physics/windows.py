"""Where a scan position lies in the object: whole pixels, remainder, the window cut out there, and its adjoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["add_windows", "check_windows", "cut_windows", "split_positions"]


def split_positions(positions: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Whole pixels (rounded down) and remainder of each position.

    Args:
        positions: (frame, 2), (row, column) of the windows' ``[0, 0]`` corners in object pixels.

    Returns:
        Corners (frame, 2), int64, and remainders (frame, 2), float64, in [0, 1); their sum is the position.

    Raises:
        DataError: if the shape is another or a position is not a finite number.
    """
    places = np.asarray(positions, dtype=np.float64)
    if places.ndim != 2 or places.shape[1] != 2:
        raise DataError(f"Positions must have the shape (frame, 2), not {places.shape}.")
    if not np.isfinite(places).all():
        frame = int(np.flatnonzero(~np.isfinite(places).all(axis=1))[0])
        raise DataError(f"Position of frame {frame} is not finite: {places[frame].tolist()}.")
    whole = np.floor(places)
    return whole.astype(np.int64), places - whole


def check_windows(corners: NDArray[np.int64], size: int, shape: tuple[int, ...]) -> None:
    """Refuse windows that leave the object.

    Args:
        corners: (frame, 2), (row, column) of each window's first pixel.
        size: N, pixels along a side of a window.
        shape: (rows, columns) of the object.

    Raises:
        DataError: naming the first frame whose window leaves the object.
    """
    outside = (corners < 0).any(axis=1) | (corners + size > np.asarray(shape)).any(axis=1)
    if outside.any():
        frame = int(np.flatnonzero(outside)[0])
        row, column = corners[frame].tolist()
        raise DataError(
            f"The window of frame {frame}, {size} x {size} pixels from row {row}, column {column}, "
            f"leaves the object of {shape[0]} x {shape[1]} pixels.",
            remedy="Enlarge the object, or move the positions into it.",
        )


def _indices(corners: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    steps = np.arange(size)
    return (corners[:, 0, None] + steps)[:, :, None], (corners[:, 1, None] + steps)[:, None, :]


def cut_windows(canvas: NDArray[Any], corners: NDArray[np.int64], size: int) -> NDArray[Any]:
    """Cut (frame, N, N) windows out of a (rows, columns) canvas.

    Raises:
        DataError: if a window leaves the canvas.
    """
    check_windows(corners, size, canvas.shape)
    return canvas[_indices(corners, size)]


def add_windows(canvas: NDArray[Any], patches: NDArray[Any], corners: NDArray[np.int64]) -> None:
    """Add (frame, N, N) patches to a (rows, columns) canvas where their windows are, in place: the adjoint of `cut_windows`.

    Raises:
        DataError: if a window leaves the canvas.
    """
    check_windows(corners, patches.shape[-1], canvas.shape)
    np.add.at(canvas, _indices(corners, patches.shape[-1]), patches)
