"""Patterns that come from one array, in memory or in a file, and become counts as they are read."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ptycho_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["ArrayPatterns"]


class ArrayPatterns:
    """Diffraction patterns in one array, which is fetched at the first read.

    Args:
        fetch: gives the array; called once, at the first read.
        shape: shape of that array.
        dtype: type of its values.
        where: file and key, for messages.
        frame_axis: which axis of the array counts frames; the others are row and column, in this order.
        signal: ``counts``, or ``amplitude`` if the array holds square roots of counts.
        mask: (N, N), True = good pixel; what is stored in bad pixels is not looked at, they read as 0.
    """

    def __init__(
        self,
        fetch: Callable[[], NDArray[Any]],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        *,
        where: str,
        frame_axis: Literal["first", "last"] = "first",
        signal: str = "counts",
        mask: NDArray[np.bool_] | None = None,
    ) -> None:
        self._fetch, self._fetching = fetch, threading.Lock()
        self._array: NDArray[Any] | None = None
        self._last = frame_axis == "last"
        self.shape: tuple[int, int, int] = (shape[2], shape[0], shape[1]) if self._last else (shape[0], shape[1], shape[2])
        self.dtype = dtype
        self._where = where
        self._amplitude = signal == "amplitude"
        self._bad = None if mask is None or mask.all() else ~mask

    def __len__(self) -> int:
        """Number of frames."""
        return self.shape[0]

    def read(self, frames: NDArray[np.integer[Any]] | slice) -> NDArray[np.float32]:
        """Counts (k, N, N) of the named frames; see ``ptycho_core.scan.scan.Patterns``."""
        with self._fetching:  # once, however many threads read
            if self._array is None:
                array = self._fetch()
                self._array = np.moveaxis(array, -1, 0) if self._last else array
        values = np.array(self._array[frames], dtype=np.float32, order="C")  # always a copy: the caller may change it
        if self._bad is not None:
            values[:, self._bad] = 0
        self._check(values, frames)
        return np.square(values, out=values) if self._amplitude else values

    def _check(self, values: NDArray[np.float32], frames: NDArray[np.integer[Any]] | slice) -> None:
        # One minimum and one maximum see it all, since both hand on what is not a number.
        if values.size == 0 or (values.min() >= 0 and np.isfinite(values.max())):
            return
        wrong = ~((values >= 0) & np.isfinite(values))
        place, row, column = (int(index) for index in np.argwhere(wrong)[0])
        frame = int(np.arange(len(self))[frames][place])
        word = "amplitude" if self._amplitude else "count"
        raise DataError(
            f"{self._where} has a {word} of {values[place, row, column]:g} in frame {frame}, row {row}, column {column}"
            f" ({int(wrong[place].sum())} such pixels in that frame); shape {self.shape}.",
            remedy="A pattern must be finite and not negative: mask such pixels (--mask FILE) or repair the file.",
        )
