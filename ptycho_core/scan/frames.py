"""Frames as they are stored, read when asked for: one array, pieces in a row, some of them, or each turned and cut."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ptycho_core.orientation import Orientation

    Chosen = NDArray[np.integer[Any]] | slice

__all__ = ["ArrayFrames", "ChosenFrames", "Frames", "JoinedFrames", "View", "ViewedFrames"]


class Frames(Protocol):
    """Frames of a scan as a file stores them."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frame, row, column)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the stored values."""

    def read(self, frames: Chosen) -> NDArray[Any]:
        """The named frames (k, row, column), in any order, as they are stored; not to be changed. Several threads may read.

        Raises:
            DataError: the file is damaged, or something that it needs is missing.
            IndexError: there is no frame of that number.
        """


class ArrayFrames:
    """Frames in one array, which is fetched at the first read, however many threads read.

    Args:
        fetch: gives the array; called once.
        shape: shape of that array, three numbers.
        dtype: type of its values.
        frame_axis: which of its axes counts frames; the others are row and column, in this order.
    """

    def __init__(
        self,
        fetch: Callable[[], NDArray[Any]],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        frame_axis: Literal["first", "last"] = "first",
    ) -> None:
        self._last = frame_axis == "last"
        self.shape: tuple[int, int, int] = (shape[2], shape[0], shape[1]) if self._last else (shape[0], shape[1], shape[2])
        self.dtype = dtype
        self._fetch, self._fetching = fetch, threading.Lock()
        self._array: NDArray[Any] | None = None

    def read(self, frames: Chosen) -> NDArray[Any]:
        """The named frames; see `Frames`."""
        with self._fetching:
            if self._array is None:
                array = self._fetch()
                self._array = np.moveaxis(array, -1, 0) if self._last else array
        return self._array[frames]


class JoinedFrames:
    """The frames of several pieces, one after another; all have frames of the same shape."""

    def __init__(self, pieces: Sequence[Frames]) -> None:
        self._pieces = tuple(pieces)
        self._ends = np.cumsum([piece.shape[0] for piece in pieces])
        self.shape: tuple[int, int, int] = (int(self._ends[-1]), pieces[0].shape[1], pieces[0].shape[2])
        self.dtype = np.result_type(*(piece.dtype for piece in pieces))

    def read(self, frames: Chosen) -> NDArray[Any]:
        """The named frames; see `Frames`."""
        numbers = np.arange(self.shape[0])[frames]
        found = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        piece = np.searchsorted(self._ends, numbers, side="right")
        for one in np.unique(piece):
            mine = piece == one
            first = 0 if one == 0 else int(self._ends[one - 1])
            found[mine] = self._pieces[one].read(numbers[mine] - first)
        return found


class ChosenFrames:
    """Some frames of others, by number."""

    def __init__(self, frames: Frames, numbers: NDArray[np.integer[Any]]) -> None:
        self._frames, self._numbers = frames, np.asarray(numbers, dtype=np.int64)
        self.shape: tuple[int, int, int] = (len(self._numbers), frames.shape[1], frames.shape[2])
        self.dtype = frames.dtype

    def read(self, frames: Chosen) -> NDArray[Any]:
        """The named frames; see `Frames`."""
        return self._frames.read(self._numbers[frames])


@dataclass(frozen=True)
class View:
    """How a stored frame becomes a pattern: rolled so that zero frequency is in its middle, turned, cut to a window.

    Attributes:
        roll: pixels (rows, columns) by which a stored frame is rolled, before all else.
        turning: how it is turned then.
        first: (row, column) of the window's first pixel, in the turned frame.
        size: N, rows and columns of the window, which lies in the frame.
    """

    roll: tuple[int, int]
    turning: Orientation
    first: tuple[int, int]
    size: int

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """What holds for each pixel, (…, row, column), as it is stored, for the pattern (…, N, N)."""
        if self.roll != (0, 0):
            values = np.roll(values, self.roll, axis=(-2, -1))
        turned = self.turning.of_frames(values)
        row, column = self.first
        return turned[..., row : row + self.size, column : column + self.size]


class ViewedFrames:
    """Frames as a view shows them."""

    def __init__(self, frames: Frames, view: View) -> None:
        self._frames, self._view = frames, view
        self.shape: tuple[int, int, int] = (frames.shape[0], view.size, view.size)
        self.dtype = frames.dtype

    def read(self, frames: Chosen) -> NDArray[Any]:
        """The named frames; see `Frames`."""
        return self._view.of(self._frames.read(frames))
