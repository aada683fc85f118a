"""Measured frames on the device: amplitudes in FFT order, kept there where they fit, else read again batch by batch."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

__all__ = ["Frames", "Patterns"]

READ_BYTES = 1 << 25
"""Frames are read in portions of about this size while they are cached or summed."""


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

    def __init__(self, patterns: Patterns, mask: npt.NDArray[np.bool_] | None, dtype: tf.DType, memory_bytes: float) -> None:
        """Read every frame once, to sum it and, if all fit into ``memory_bytes``, to keep it."""
        self.number, self.size = int(patterns.shape[0]), int(patterns.shape[1])
        self._patterns, self._dtype = patterns, dtype
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
        portion = max(1, READ_BYTES // frame_bytes)
        for start in range(0, self.number, portion):
            frames = np.arange(start, min(start + portion, self.number))
            amplitudes = self._read(frames)
            double = tf.cast(amplitudes, tf.float64)
            self.amplitude_sums[frames] = tf.reduce_sum(double, (1, 2)).numpy()
            self.counts[frames] = tf.reduce_sum(double * double, (1, 2)).numpy()
            self.inner_amplitude_sums[frames] = tf.reduce_sum(double * inside, (1, 2)).numpy()
            if self._cache is not None:
                self._cache[start : start + len(frames)].assign(amplitudes)

    def amplitudes(self, frames: npt.NDArray[np.int64]) -> tf.Tensor:
        """Real (len(frames), N, N) amplitudes in FFT order; bad pixels hold zero."""
        if self._cache is None:
            return self._read(frames)
        return tf.gather(self._cache, tf.constant(frames))

    def mean_counts_per_pixel(self) -> float:
        """Mean counts of a good pixel."""
        good = self.size**2 if self._good is None else int(self._good.sum())
        return float(self.counts.mean()) / max(good, 1)

    def _read(self, frames: npt.NDArray[np.int64]) -> tf.Tensor:
        counts = np.asarray(self._patterns.read(frames))
        if self._good is not None:
            counts = np.where(self._good, counts, 0)
        counts = np.fft.ifftshift(counts, axes=(-2, -1)).astype(np.float32, copy=False)
        return tf.sqrt(tf.cast(tf.constant(counts), self._dtype))
