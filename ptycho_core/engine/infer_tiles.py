"""The verb ``infer`` for estimates of tiles: each tile of a scan on its canvas, and through the network where there is one.

A network that sees the canvas corrects the tile as a whole; one that sees windows gives a patch for each frame.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.contract import InferBatch, InferTile
from ptycho_core.engine.arrays import MIXED
from ptycho_core.engine.corrections import corrections
from ptycho_core.engine.estimate import Estimate, relative_intensity
from ptycho_core.engine.forward import forward_of
from ptycho_core.engine.saturation import ceilings
from ptycho_core.engine.state import Measured
from ptycho_core.engine.tile import Tile
from ptycho_core.engine.trainable import TrainableModel
from ptycho_core.inference.tiles import scan_tiles
from ptycho_core.networks import sees_canvas
from ptycho_core.scan.reading import Readers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from ptycho_core.contract import EventSink, ExecutionPlan, InferJob
    from ptycho_core.engine.arrays import Array, ArrayOps
    from ptycho_core.model import Model

__all__ = ["infer_tiles"]

AT_ONCE = 16
"""Frames of a tile that pass through the network together, whatever the batches that are asked for."""


def infer_tiles(
    job: InferJob,
    plan: ExecutionPlan,
    events: EventSink,
    operations: Callable[[ExecutionPlan], AbstractContextManager[ArrayOps]],
) -> Iterator[InferBatch | InferTile]:
    """Yield each tile of `ptycho_core.inference.tiles.scan_tiles`, or its patches where a network sees windows.

    Arguments and errors are those of `infer.infer`.
    """
    tiles, readers = scan_tiles(job.positions, job.scan.size), Readers.planned(plan.execution)
    most = int(str(job.settings["execution"]["inference_batch_size"]))
    with operations(plan) as xp:
        probe, mask = xp.from_numpy(np.array(job.probe)), None
        if not job.scan.mask.all():
            mask = xp.from_numpy(np.fft.ifftshift(job.scan.mask).astype(np.float32))
        background = None if job.background is None else xp.from_numpy(np.fft.ifftshift(job.background))
        forward = forward_of(xp, job.scan.propagation, job.scan.size)
        network = _Correction(xp, job.model, probe, mixed=plan.execution["precision"] == MIXED)
    with closing(readers.read(job.scan.patterns.read, tiles)) as ahead:
        for frames, counts in zip(tiles, ahead, strict=True):
            if events.stop_requested:
                return
            with operations(plan):
                amplitudes = xp.sqrt(xp.from_numpy(np.fft.ifftshift(counts, axes=(-2, -1)), pinned=readers.pinned))
                seen = job.positions[frames], Measured(amplitudes, mask, ceilings(xp, job.scan, frames))
                tile = Tile(xp, probe, *seen, job.model.network["estimate"], background, forward=forward)
                tile.fit()
                found = network.patches(tile.estimate()) if network.in_windows else network.picture(tile)
            if not network.in_windows:
                row, column = np.floor(job.positions[frames].min(axis=0)).astype(int).tolist()
                yield InferTile(frames, found, (row, column))
                continue
            for start in range(0, len(frames), most):
                yield InferBatch(frames[start : start + most], found[start : start + most])


class _Correction:
    """The network that corrects estimates, if there is one, on the device.

    Attributes:
        in_windows: whether it sees the window of each frame.
    """

    def __init__(self, xp: ArrayOps, model: Model, probe: Array, *, mixed: bool) -> None:
        self._xp, self._bare = xp, not model.network["layers"]
        self.in_windows = not (self._bare or sees_canvas(model.network))
        if self._bare:
            return
        self._vector = TrainableModel(xp, model).network_vector
        self._network, self._weight = corrections(xp, model.network, mixed=mixed), relative_intensity(xp, probe)

    def picture(self, tile: Tile) -> NDArray[np.complexfloating]:
        """The object of a tile: complex (rows, columns)."""
        found = tile.picture() if self._bare else self._network.of_canvas(self._vector, tile.canvas())
        return np.array(self._xp.to_numpy(found))

    def patches(self, estimate: Estimate) -> NDArray[np.complexfloating]:
        """Patches (frame, N, N) of the estimate of a tile."""
        found = []
        for start in range(0, int(estimate.patches.shape[0]), AT_ONCE):
            own = slice(start, start + AT_ONCE)
            part = Estimate(estimate.patches[own], estimate.step[own])
            found.append(np.array(self._xp.to_numpy(self._network.of_windows(self._vector, part, self._weight))))
        return np.concatenate(found)
