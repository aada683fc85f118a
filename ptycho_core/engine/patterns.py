"""Measured patterns on the device: amplitudes in FFT order, kept there where they fit, else read again batch by batch."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ptycho_core.engine.saturation import ceiling
from ptycho_core.scan.kept import KeptPatterns
from ptycho_core.scan.reading import Readers
from ptycho_core.scan.scan import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import Array, ArrayOps

__all__ = ["DevicePatterns", "InnerPatterns", "OnDevice", "Patterns"]

READ_BYTES = 1 << 25
"""Frames are read in portions of at most about this size, and of `CHUNK` frames, while they are cached or summed."""


class Patterns(Protocol):
    """Counts, read lazily: (frame, N, N), zero frequency at ``[N // 2, N // 2]``."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frames, N, N)."""

    def __len__(self) -> int: ...

    def read(self, frames: NDArray[np.int64]) -> NDArray[np.float32]:
        """Counts (len(frames), N, N) of the frames asked for."""


class OnDevice(Protocol):
    """Amplitudes of frames as the algorithms take them.

    Attributes:
        number: frames in the scan.
        size: N, pixels along a side.
        mask: real (N, N) in FFT order, 1 for good pixels, or None where all are good.
        ceiling: the amplitude, a number, from which on pixels are saturated, or None.
        amplitude_sums: float64 (frame,), sum of the amplitudes over good pixels: the denominator of R.
    """

    number: int
    size: int
    mask: Array | None
    ceiling: Array | None
    amplitude_sums: NDArray[np.float64]

    def in_turn(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[tuple[NDArray[np.int64], Array]]:
        """Batches of frames, each with its amplitudes, real (frame, N, N) in FFT order."""


class DevicePatterns:
    """Amplitudes ``sqrt(counts)`` of a scan, zero frequency at ``[0, 0]``; see `OnDevice`.

    Attributes:
        counts: float64 (frame,), sum of the counts over good pixels.
        inner_amplitude_sums: sum of the amplitudes over the middle half of the detector along each axis.
        cached: whether the amplitudes are kept on the device.
    """

    def __init__(
        self,
        xp: ArrayOps,
        patterns: Patterns,
        mask: NDArray[np.bool_] | None,
        memory_bytes: float,
        readers: Readers | None = None,
        saturation: float | None = None,
    ) -> None:
        """Read every frame once, to sum it and, if all fit into ``memory_bytes``, to keep it.

        ``saturation`` is the count from which on a pixel is saturated, 0 or None for none.
        """
        self.xp, self._patterns, self._readers = xp, patterns, readers or Readers()
        self.number, self.size = int(patterns.shape[0]), int(patterns.shape[1])
        self._good = None if mask is None or bool(np.all(mask)) else np.asarray(mask, dtype=bool)
        self.mask = None if self._good is None else xp.from_numpy(np.fft.ifftshift(self._good).astype(np.float32))
        self.ceiling = ceiling(xp, saturation)
        self.amplitude_sums, self.counts = np.zeros(self.number), np.zeros(self.number)
        self.inner_amplitude_sums = np.zeros(self.number)
        frame_bytes = self.size**2 * xp.real_dtype.itemsize
        self.cached = self.number * frame_bytes <= memory_bytes
        self._cache = xp.cache((self.number, self.size, self.size)) if self.cached else None
        portion = max(1, min(CHUNK, READ_BYTES // frame_bytes))
        portions = [np.arange(start, min(start + portion, self.number)) for start in range(0, self.number, portion)]
        with closing(self._readers.read(self.read, portions)) as ahead:
            self._take_in(zip(portions, ahead, strict=True))

    def read(self, frames: NDArray[np.int64]) -> NDArray[np.float32]:
        """Counts (len(frames), N, N) from the file, in FFT order, 0 in bad pixels; in any thread."""
        counts = np.asarray(self._patterns.read(frames))
        if self._good is not None:
            counts = np.where(self._good, counts, 0)
        return np.fft.ifftshift(counts, axes=(-2, -1)).astype(np.float32, copy=False)

    def amplitudes(self, frames: NDArray[np.int64], read: NDArray[np.float32] | None = None) -> Array:
        """Real (len(frames), N, N) amplitudes in FFT order; bad pixels hold zero.  Do not change them in place.

        ``read`` is what `read` gave for these frames, where that was done ahead.
        """
        if self._cache is None:
            return self._roots(self.read(frames) if read is None else read)
        return self.xp.rows(self._cache, frames)

    def in_turn(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[tuple[NDArray[np.int64], Array]]:
        """Batches of frames, each with its `amplitudes`, which are read ahead where they are not kept."""
        if self._cache is not None:
            yield from ((frames, self.amplitudes(frames)) for frames in batches)
            return
        with closing(self._readers.read(self.read, batches)) as ahead:
            for frames, read in zip(batches, ahead, strict=True):
                yield frames, self.amplitudes(frames, read)

    def mean_counts_per_pixel(self) -> float:
        """Mean counts of a good pixel."""
        good = self.size**2 if self._good is None else int(self._good.sum())
        return float(self.counts.mean()) / max(good, 1)

    def _take_in(self, portions: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]]) -> None:
        """Sum and keep what was read, portion by portion: frames that follow one another, and their counts."""
        middle = np.fft.ifftshift(np.abs(np.arange(self.size) - self.size // 2 + 0.25) < self.size / 4)
        inside = middle[:, None] & middle
        for frames, read in portions:
            amplitudes = self._roots(read)
            sums, squares, inner = self.xp.frame_sums(amplitudes, inside)
            self.amplitude_sums[frames], self.counts[frames], self.inner_amplitude_sums[frames] = sums, squares, inner
            if self._cache is not None:
                self.xp.fill(self._cache, int(frames[0]), amplitudes)
                if isinstance(self._patterns, KeptPatterns):
                    self._patterns.release(frames)

    def _roots(self, counts: NDArray[np.float32]) -> Array:
        return self.xp.sqrt(self.xp.from_numpy(counts, pinned=self._readers.pinned))


class InnerPatterns:
    """The middle half of every frame, with half the pixels along each side; see `OnDevice`."""

    def __init__(self, whole: DevicePatterns) -> None:
        self._xp, self._whole = whole.xp, whole
        self.number, self.size = whole.number, whole.size // 2
        keep = np.fft.ifftshift(np.arange(self.size)) - self.size // 2
        self._keep = keep % whole.size
        self.mask = None if whole.mask is None else self._xp.columns(whole.mask, self._keep)
        self._amplitudes, self.ceiling = None, whole.ceiling
        if whole.cached:
            self._amplitudes = self._xp.columns(whole.amplitudes(np.arange(whole.number)), self._keep)
        self.amplitude_sums = whole.inner_amplitude_sums

    def in_turn(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[tuple[NDArray[np.int64], Array]]:
        """Batches of frames, each with its amplitudes, real (frame, N / 2, N / 2) in FFT order."""
        if self._amplitudes is not None:
            yield from ((frames, self._xp.rows(self._amplitudes, frames)) for frames in batches)
            return
        for frames, amplitudes in self._whole.in_turn(batches):
            yield frames, self._xp.columns(amplitudes, self._keep)
