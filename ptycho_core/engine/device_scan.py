"""A scan to learn from on the device: its amplitudes, and what is remembered of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.engine.patterns import DevicePatterns

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import Array, ArrayOps
    from ptycho_core.engine.estimate import Estimate
    from ptycho_core.scan.reading import Readers
    from ptycho_core.training.data import TrainingScan

__all__ = ["DeviceScan"]

BLOCK = 16
"""Frames whose estimates are made together to be remembered."""

ESTIMATE_BYTES = 1 << 28
"""Estimates of a scan are remembered up to this size, and made again for each batch beyond it."""

FRAMES_BYTES = 1 << 30
"""Amplitudes of a scan are kept on the device up to this size, and read again for each batch beyond it."""


class DeviceScan:
    """A scan on the device.

    Attributes:
        frames: its amplitudes.
        positions: float64 (frame, 2), of the windows' corners on the scan's canvas.
        corners: int64 (frame, 2), their whole pixels.
        labels: complex (rows, columns), the true object on that canvas, or None.
        good: how many pixels of a pattern are.
    """

    def __init__(self, xp: ArrayOps, scan: TrainingScan, readers: Readers | None = None) -> None:
        self.frames = DevicePatterns(xp, scan.scan.patterns, scan.scan.mask, FRAMES_BYTES, readers)
        self.positions = scan.positions
        self.corners = np.floor(scan.positions).astype(np.int64)
        self.labels: Array | None = None if scan.labels is None else xp.from_numpy(scan.labels)
        self.good = self.frames.size**2 if self.frames.mask is None else int(scan.scan.mask.sum())
        self._xp = xp
        self._known = np.zeros(-(-self.frames.number // BLOCK), dtype=bool)
        self._memory: NDArray[np.complexfloating] | None = None

    def remembers(self) -> bool:
        """Whether the estimates of all frames fit into memory."""
        return 2 * self.frames.number * self.frames.size**2 * 2 * self._xp.real_dtype.itemsize <= ESTIMATE_BYTES

    def remembered(self, frames: NDArray[np.int64], make: Callable[[NDArray[np.int64]], Estimate]) -> tuple[Array, Array]:
        """Patches and step of the estimates of single frames for a probe that never changes, (frame, 1, N, N) each.

        They are made in blocks of frames that follow one another, so that they do not depend on which batch asks first. ``make``
        takes the numbers of frames.
        """
        if self._memory is None:
            shape = (2, self.frames.number, 1, self.frames.size, self.frames.size)
            self._memory = np.empty(shape, np.result_type(self._xp.real_dtype, np.complex64))
        for block in np.unique(frames // BLOCK):
            if not self._known[block]:
                own = np.arange(block * BLOCK, min((block + 1) * BLOCK, self.frames.number))
                made = make(own)
                self._memory[0, own], self._memory[1, own] = self._xp.to_numpy(made.patches), self._xp.to_numpy(made.step)
                self._known[block] = True
        patches, step = (self._xp.from_numpy(one[frames]) for one in self._memory)
        return patches, step
