"""Patterns that become counts as they are read, from frames as a file stores them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.scan.frames import ArrayFrames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ptycho_core.scan.frames import Frames
    from ptycho_core.scan.scan import Steps

__all__ = ["ArrayPatterns"]

_CHUNK = 64
"""Patterns that are looked at at once."""

_LOOKED_AT = 64
"""Most frames from which it is said what values that cannot be counts are."""

_LARGEST = float(np.finfo(np.float32).max)


class ArrayPatterns:
    """Diffraction patterns in one array, which is fetched at the first read; or, by `of_frames`, however a file stores them.

    Counts are what is stored (its square, where amplitudes are stored) less the dark, times the factor; they are computed in
    float64 wherever float32 would not hold what comes in between.

    Args:
        fetch: gives the array; called once, at the first read.
        shape: shape of that array.
        dtype: type of its values.
        where: file and key, for messages.
        frame_axis: which axis of the array counts frames; the others are row and column, in this order.
        signal: ``counts``, or ``amplitude`` if the array holds square roots of counts.
        mask: (N, N), True = good pixel; what is stored in bad pixels is not looked at, they read as 0.
        dark: counts of each pixel without light, (N, N) or (), float64, or None.
        clip_negative: whether what is negative, once the dark is subtracted, reads as 0; else it is refused.
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
        dark: NDArray[np.float64] | None = None,
        clip_negative: bool = False,
    ) -> None:
        self._hold(ArrayFrames(fetch, shape, dtype, frame_axis))
        self._where = where
        self._amplitude = signal == "amplitude"
        self._bad = None if mask is None or mask.all() else ~mask
        self._dark, self._clip, self._factor = dark, clip_negative, 1.0

    @classmethod
    def of_frames(cls, frames: Frames, **others: Any) -> Self:  # noqa: ANN401 - each as the constructor declares it
        """Patterns of stored frames (frame, N, N), zero frequency at ``[N//2, N//2]``; ``others`` are as above."""
        found = cls(_nothing, frames.shape, frames.dtype, **others)
        found._hold(frames)
        return found

    def _hold(self, frames: Frames) -> None:
        self._array: Frames = frames
        self.shape: tuple[int, int, int] = frames.shape
        self.dtype = frames.dtype

    def __len__(self) -> int:
        """Number of frames."""
        return self.shape[0]

    def masked(self, mask: NDArray[np.bool_]) -> Self:
        """The same patterns with other good pixels; the array stays one."""
        return self._with(_bad=None if mask.all() else ~mask)

    def scaled(self, factor: float) -> Self:
        """The same patterns times a factor; the array stays one."""
        return self._with(_factor=self._factor * factor)

    def _with(self, **changes: Any) -> Self:  # noqa: ANN401 - attributes, of whatever type
        other = copy.copy(self)
        vars(other).update(changes)
        return other

    def read(self, frames: NDArray[np.integer[Any]] | slice) -> NDArray[np.float32]:
        """Counts (k, N, N) of the named frames; see ``ptycho_core.scan.scan.Patterns``."""
        counts = self._counts(frames)
        if counts.dtype == np.float32:
            return counts.astype(np.float32, copy=False)
        if counts.size and counts.max() > _LARGEST:
            self._refuse_large(counts, frames)
        return counts.astype(np.float32)

    @property
    def stored_as(self) -> str:
        """What is stored of the patterns as they are used: ``counts`` or ``amplitude``; empty where they are computed from it."""
        changed = self._dark is not None or self._factor != 1
        return "" if changed else "amplitude" if self._amplitude else "counts"

    def as_stored(self, frames: NDArray[np.integer[Any]] | slice) -> NDArray[Any]:
        """What `stored_as` says of the named frames (k, N, N), in the stored type; bad pixels are 0.

        Raises:
            DataError: as ``Patterns.read``.
        """
        values = np.array(self._array.read(frames), order="C")
        self._check(values, frames, "amplitude" if self._amplitude else "count")
        return values

    def mean_counts(self) -> float:
        """Mean over the frames of the counts in good pixels, which need not lie in the range of float32.

        Raises:
            DataError: as ``Patterns.read``.
        """
        with np.errstate(over="ignore"):
            return sum(float(self._counts(part).sum(dtype=np.float64)) for part in self._parts()) / len(self)

    def stored_counts(self, progress: Steps | None = None) -> Iterator[NDArray[Any]]:
        """What is stored, as counts, in chunks (k, N, N): not checked, not scaled; the dark is in it, negative values stay so."""
        for part in self._parts():
            stored = self._array.read(part)
            if self._amplitude:
                with np.errstate(over="ignore", invalid="ignore"):
                    stored = stored.astype(np.float64)
                    stored = stored * np.abs(stored)
            yield stored
            if progress is not None:
                progress(part.stop, len(self))

    def _parts(self) -> Iterator[slice]:
        for start in range(0, len(self), _CHUNK):
            yield slice(start, min(start + _CHUNK, len(self)))

    def _counts(self, frames: NDArray[np.integer[Any]] | slice) -> NDArray[np.floating[Any]]:
        """Counts (k, N, N), checked but for their range; a copy, in float32 where that loses nothing."""
        stored = self._array.read(frames)
        exact = self._amplitude or self._dark is not None or self._factor != 1 or stored.dtype.itemsize > np.dtype("f4").itemsize
        with np.errstate(over="ignore", invalid="ignore"):  # what is no number is refused below
            values: NDArray[np.floating[Any]] = np.array(stored, dtype=np.float64 if exact else np.float32, order="C")
        if self._amplitude:
            self._check(values, frames, "amplitude")
            with np.errstate(over="ignore"):
                np.square(values, out=values)
        if self._dark is not None:
            np.subtract(values, self._dark, out=values)
        self._check(values, frames, "count")
        if self._factor != 1:
            with np.errstate(over="ignore"):
                np.multiply(values, self._factor, out=values)
        return values

    def _check(self, values: NDArray[Any], frames: NDArray[np.integer[Any]] | slice, word: str) -> None:
        """Set bad pixels, and if so asked what is negative, to 0; refuse what remains and cannot be counts."""
        if self._bad is not None:
            values[:, self._bad] = 0
        # One minimum and one maximum see it all, since both hand on what is not a number.
        low, high = (values.min(), values.max()) if values.size else (0, 0)
        if self._clip and -np.inf < low < 0:
            np.maximum(values, 0, out=values)
            low = 0
        if low >= 0 and (np.isfinite(high) or (word == "count" and self._amplitude and not np.isnan(high))):
            return  # the square of a finite amplitude may be beyond all numbers: that is for `read` to say
        self._refuse(values, frames, word)

    def _refuse(self, values: NDArray[Any], frames: NDArray[np.integer[Any]] | slice, word: str) -> NoReturn:
        wrong = ~((values >= 0) & np.isfinite(values))
        place, row, column = (int(index) for index in np.argwhere(wrong)[0]) if wrong.any() else (0, 0, 0)
        frame = int(np.arange(len(self))[frames][place])
        raise DataError(
            f"{self._where} has a {word} of {values[place, row, column]:g} in frame {frame}, row {row}, column {column}"
            f" ({int(wrong[place].sum())} such pixels in that frame); shape {self.shape}.",
            remedy=self._way_on(),
        )

    def _way_on(self) -> str:
        """What to do about values that cannot be counts: whether they are flags of bad pixels, or noise about zero."""
        chosen = np.unique(np.linspace(0, len(self) - 1, _LOOKED_AT).astype(np.int64))
        with np.errstate(invalid="ignore"):  # a NaN that is to signal does so when it is cast
            stored = np.array(self._array.read(chosen), dtype=np.float64)
        wrong = ~((stored >= 0) & np.isfinite(stored))
        if self._bad is not None:
            wrong &= ~self._bad
        first = stored[:1]
        same = wrong.all(axis=0) & ((stored == first) | (np.isnan(stored) & np.isnan(first))).all(axis=0)
        if len(chosen) > 1 and same.any() and not (wrong & ~same).any():
            held = ", ".join(f"{value:g}" for value in np.unique(first[0, same])[:3])
            return (
                f"The same {int(same.sum())} pixels hold {held} in every frame: that is a mask; use --mask auto or --mask FILE."
            )
        if same.any():
            return "Give a mask of the bad pixels: --mask auto or --mask FILE. For noise round zero use --clip-negative."
        if not np.isfinite(stored[wrong]).all():
            return (
                "A pattern must be finite: use --mask auto, which masks pixels that are not finite in some frame, or --mask FILE."
            )
        if self._dark is not None:
            return "The dark is above these counts: use --clip-negative to set them to 0, or give a lower one with --dark."
        text = "For noise round zero use --clip-negative, or give the counts before the dark was subtracted"
        return f"{text}; mask bad pixels (--mask FILE)."

    def _refuse_large(self, counts: NDArray[np.floating[Any]], frames: NDArray[np.integer[Any]] | slice) -> NoReturn:
        place, row, column = (int(index) for index in np.unravel_index(int(np.argmax(counts)), counts.shape))
        frame = int(np.arange(len(self))[frames][place])
        value = counts[place, row, column]
        squared = ", an amplitude squared," if self._amplitude else ""
        raise DataError(
            f"{self._where} has a count of {value:g}{squared} in frame {frame}, row {row}, column {column}; float32 ends at"
            f" {_LARGEST:.3g}; shape {self.shape}.",
            remedy="Give the mean counts of a pattern with --photons, or mask such pixels (--mask auto or --mask FILE).",
        )


def _nothing() -> NDArray[Any]:
    raise AssertionError("frames of a file are read by it")
