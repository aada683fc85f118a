"""Measured frames on the device: amplitudes in FFT order, kept there where they fit, else read again batch by batch."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho_core.scan.reading import Readers
from ptycho_core.scan.scan import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Frames", "Patterns"]

READ_BYTES = 1 << 25
"""Frames are read in portions of at most about this size, and of `CHUNK` frames, while they are cached or summed."""


class Patterns(Protocol):
    """Counts, read lazily: (frame, N, N), zero frequency at ``[N // 2, N // 2]``."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frames, N, N)."""

    def __len__(self) -> int: ...

    def read(self, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Counts (len(frames), N, N) of the frames asked for."""


class Frames:
    """Amplitudes ``sqrt(counts)`` of a scan, zero frequency at ``[0, 0]``.

    Attributes:
        number: frames in the scan.
        size: N, pixels along a side.
        mask: real (N, N) in FFT order, 1 for good pixels, or None where all are good.
        amplitude_sums: float64 (frame,), sum of the amplitudes over good pixels: the denominator of R.
        counts: float64 (frame,), sum of the counts over good pixels.
        inner_amplitude_sums: the same for the middle half of the detector along each axis.
        cached: whether the amplitudes are kept on the device.
    """

    def __init__(
        self,
        patterns: Patterns,
        mask: npt.NDArray[np.bool_] | None,
        dtype: tf.DType,
        memory_bytes: float,
        readers: Readers | None = None,
    ) -> None:
        """Read every frame once, to sum it and, if all fit into ``memory_bytes``, to keep it."""
        self.number, self.size = int(patterns.shape[0]), int(patterns.shape[1])
        self._patterns, self._dtype = patterns, dtype
        self._readers = readers or Readers()
        self._good = None if mask is None or bool(np.all(mask)) else np.asarray(mask, dtype=bool)
        self.mask: tf.Tensor | None = None
        if self._good is not None:
            self.mask = tf.constant(np.fft.ifftshift(self._good), dtype=dtype)
        self.amplitude_sums = np.zeros(self.number)
        self.inner_amplitude_sums = np.zeros(self.number)
        self.counts = np.zeros(self.number)
        inner = np.fft.ifftshift(np.abs(np.arange(self.size) - self.size // 2 + 0.25) < self.size / 4)
        inside = tf.constant(inner[:, None] & inner, dtype=tf.float64)
        frame_bytes = self.size**2 * dtype.size
        self.cached = self.number * frame_bytes <= memory_bytes
        self._cache: tf.Variable | None = None
        if self.cached:
            # A variable, because it can be filled piece by piece in place.
            self._cache = tf.Variable(lambda: tf.zeros((self.number, self.size, self.size), dtype), trainable=False)
        portion = max(1, min(CHUNK, READ_BYTES // frame_bytes))
        portions = [np.arange(start, min(start + portion, self.number)) for start in range(0, self.number, portion)]
        with closing(self._readers.read(self.read, portions)) as ahead:
            self._take_in(zip(portions, ahead, strict=True), inside)

    def read(self, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Counts (len(frames), N, N) from the file, in FFT order, 0 in bad pixels; in any thread."""
        counts = np.asarray(self._patterns.read(frames))
        if self._good is not None:
            counts = np.where(self._good, counts, 0)
        return np.fft.ifftshift(counts, axes=(-2, -1)).astype(np.float32, copy=False)

    def amplitudes(self, frames: npt.NDArray[np.int64], read: npt.NDArray[np.float32] | None = None) -> tf.Tensor:
        """Real (len(frames), N, N) amplitudes in FFT order; bad pixels hold zero.

        ``read`` is what `read` gave for these frames, where that was done ahead.
        """
        if self._cache is None:
            return self._roots(self.read(frames) if read is None else read)
        return tf.gather(self._cache, tf.constant(frames))

    def in_turn(self, batches: Sequence[npt.NDArray[np.int64]]) -> Iterator[tuple[npt.NDArray[np.int64], tf.Tensor]]:
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

    def _take_in(self, portions: Iterable[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]], inside: tf.Tensor) -> None:
        """Sum and keep what was read, portion by portion: frames that follow one another, and their counts."""
        for frames, read in portions:
            amplitudes = self._roots(read)
            double = tf.cast(amplitudes, tf.float64)
            self.amplitude_sums[frames] = tf.reduce_sum(double, (1, 2)).numpy()
            self.counts[frames] = tf.reduce_sum(double * double, (1, 2)).numpy()
            self.inner_amplitude_sums[frames] = tf.reduce_sum(double * inside, (1, 2)).numpy()
            if self._cache is not None:
                self._cache[int(frames[0]) : int(frames[-1]) + 1].assign(amplitudes)

    def _roots(self, counts: npt.NDArray[np.float32]) -> tf.Tensor:
        return tf.sqrt(tf.cast(tf.constant(counts), self._dtype))
