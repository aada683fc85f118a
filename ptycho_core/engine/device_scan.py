"""A scan to learn from on the device: its amplitudes, and what is remembered of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.engine.canvas import CanvasBatch, CanvasEstimate
from ptycho_core.engine.forward import forward_of
from ptycho_core.engine.patterns import DevicePatterns
from ptycho_core.engine.saturation import ceilings
from ptycho_core.engine.state import Measured
from ptycho_core.training.turns import turned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
        forward: what takes object and probe to the detector.
    """

    def __init__(self, xp: ArrayOps, scan: TrainingScan, readers: Readers | None = None) -> None:
        self.frames = DevicePatterns(xp, scan.scan.patterns, scan.scan.mask, FRAMES_BYTES, readers)
        self.positions = scan.positions
        self.forward = forward_of(xp, scan.scan.propagation, self.frames.size)
        self.corners = np.floor(scan.positions).astype(np.int64)
        self.labels: Array | None = None if scan.labels is None else xp.from_numpy(scan.labels)
        self.good = self.frames.size**2 if self.frames.mask is None else int(scan.scan.mask.sum())
        self._xp, self._labels, self._scan = xp, scan.labels, scan.scan
        self._canvases: dict[bytes, tuple[NDArray[Any], ...]] = {}
        self._room = ESTIMATE_BYTES
        self._known = np.zeros(-(-self.frames.number // BLOCK), dtype=bool)
        self._memory: NDArray[np.complexfloating] | None = None

    def measured(self, frames: NDArray[np.int64], read: NDArray[np.float32] | None = None) -> Measured:
        """What was measured of frames; ``read`` as of `DevicePatterns.amplitudes`."""
        amplitudes = self.frames.amplitudes(frames, read)
        return Measured(amplitudes, self.frames.mask, ceilings(self._xp, self._scan, frames))

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

    def canvas(
        self, frames: NDArray[np.int64], make: Callable[[], CanvasEstimate], *, turn: int = 0, keep: bool = False
    ) -> CanvasBatch:
        """What a batch of frames shares a canvas for.

        Args:
            frames: their numbers.
            make: estimates their object; called where it is not known yet.
            turn: how the canvas is turned and mirrored.
            keep: whether the estimate is remembered, as of a probe that never changes, while there is room.
        """
        key = frames.tobytes()
        known = self._canvases.get(key)
        if known is None:
            estimate = make()
            known = tuple(self._xp.to_numpy(one) for one in (*estimate, *self._label(frames, estimate.light.shape)))
            taken = sum(one.nbytes for one in known)
            if keep and taken <= self._room:
                self._canvases[key], self._room = known, self._room - taken
        picture, step, light, brightest, *label = (self._xp.from_numpy(turned(one, turn) if one.ndim else one) for one in known)
        return CanvasBatch(CanvasEstimate(picture, step, light, brightest), label[0] if label else None)

    def _label(self, frames: NDArray[np.int64], shape: Sequence[int]) -> list[Array]:
        """The labels on the canvas of some frames; 1 beyond them, where no light falls."""
        if self._labels is None:
            return []
        row, column = self.corners[frames].min(axis=0)
        found = np.ones(tuple(shape), dtype=self._labels.dtype)
        inside = self._labels[row : row + found.shape[0], column : column + found.shape[1]]
        found[: inside.shape[0], : inside.shape[1]] = inside
        return [self._xp.from_numpy(found)]
