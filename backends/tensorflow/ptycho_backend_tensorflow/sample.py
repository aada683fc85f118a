"""A scan on the device: its amplitudes, and what is remembered of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho_backend_tensorflow.arrays import squared_modulus, tensorflow_arrays
from ptycho_backend_tensorflow.devices import complex_dtype
from ptycho_backend_tensorflow.estimate import Estimate
from ptycho_core.engine.patterns import DevicePatterns

if TYPE_CHECKING:
    from collections.abc import Callable

    from ptycho_core.scan.reading import Readers
    from ptycho_core.training.data import TrainingScan

__all__ = ["Sample"]

BLOCK = 16
"""Frames whose estimates are made together to be remembered."""

ESTIMATE_BYTES = 1 << 28
"""Estimates of a scan are remembered up to this size, and made again for each batch beyond it."""

FRAMES_BYTES = 1 << 30
"""Amplitudes of a scan are kept on the device up to this size, and read again for each batch beyond it."""


class Sample:
    """A scan on the device.

    Attributes:
        frames: its amplitudes.
        positions: float64 (frame, 2), of the windows' corners on the scan's canvas.
        labels: complex (rows, columns), the true object on that canvas, or None.
        good: bool (N, N) in the order of the FFT, or None where all pixels are.
    """

    def __init__(self, scan: TrainingScan, dtype: tf.DType, readers: Readers | None = None) -> None:
        self.frames = DevicePatterns(tensorflow_arrays(dtype), scan.scan.patterns, scan.scan.mask, FRAMES_BYTES, readers)
        self.positions = scan.positions
        self.corners = np.floor(scan.positions).astype(np.int64)
        self.kind = complex_dtype(dtype)
        self.labels: tf.Tensor | None = None
        if scan.labels is not None:
            self.labels = tf.constant(scan.labels.astype(self.kind.as_numpy_dtype))
        self.good = None if self.frames.mask is None else self.frames.mask > 0
        self._known = np.zeros(-(-len(scan.positions) // BLOCK), dtype=bool)
        self._memory: tuple[tf.Variable, tf.Variable] | None = None

    def remembers(self) -> bool:
        """Whether the estimates of all frames fit into memory."""
        return 2 * self.frames.number * self.frames.size**2 * int(self.kind.size) <= ESTIMATE_BYTES

    def remembered(self, frames: npt.NDArray[np.int64], make: Callable[..., Estimate], probe: tf.Tensor) -> Estimate:
        """The estimates of single frames for a probe that never changes.

        They are made in blocks of frames that follow one another, so that they do not depend on which batch asks first. ``make``
        takes amplitudes, corners (frame, 1, 2) and remainders (frame, 2).
        """
        shape = (self.frames.number, self.frames.size, self.frames.size)
        if self._memory is None:
            with tf.device("cpu"):
                self._memory = tf.Variable(tf.zeros(shape, self.kind)), tf.Variable(tf.zeros(shape, self.kind))
        patches, steps = self._memory
        for block in np.unique(frames // BLOCK):
            if not self._known[block]:
                own = np.arange(block * BLOCK, min((block + 1) * BLOCK, self.frames.number))
                made = make(self.frames.amplitudes(own), self.corners[own, None], self.positions[own] - self.corners[own])
                patches[own[0] : own[-1] + 1].assign(made.patches[:, 0])
                steps[own[0] : own[-1] + 1].assign(made.step[:, 0])
                self._known[block] = True
        weight = tf.reduce_sum(squared_modulus(probe), 0)
        found, step = (tf.gather(one, tf.constant(frames))[:, None] for one in (patches, steps))
        return Estimate(found, step, weight / tf.reduce_max(weight))
