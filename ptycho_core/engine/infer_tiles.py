"""The verb ``infer`` for estimates of tiles: each tile of a scan on its canvas, and through the network where there is one."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.contract import InferTile
from ptycho_core.engine.tile import Tile
from ptycho_core.inference.tiles import scan_tiles
from ptycho_core.scan.reading import Readers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from ptycho_core.contract import EventSink, ExecutionPlan, InferJob
    from ptycho_core.engine.arrays import ArrayOps

__all__ = ["infer_tiles"]


def infer_tiles(
    job: InferJob,
    plan: ExecutionPlan,
    events: EventSink,
    operations: Callable[[ExecutionPlan], AbstractContextManager[ArrayOps]],
) -> Iterator[InferTile]:
    """Yield each tile of `ptycho_core.inference.tiles.scan_tiles`; arguments and errors are those of `infer.infer`."""
    tiles, readers = scan_tiles(job.positions, job.scan.size), Readers.planned(plan.execution)
    with operations(plan) as xp:
        probe, mask = xp.from_numpy(np.array(job.probe)), None
        if not job.scan.mask.all():
            mask = xp.from_numpy(np.fft.ifftshift(job.scan.mask).astype(np.float32))
    with closing(readers.read(job.scan.patterns.read, tiles)) as ahead:
        for frames, counts in zip(tiles, ahead, strict=True):
            if events.stop_requested:
                return
            with operations(plan):
                amplitudes = xp.sqrt(xp.from_numpy(np.fft.ifftshift(counts, axes=(-2, -1)), pinned=readers.pinned))
                tile = Tile(xp, probe, job.positions[frames], amplitudes, mask, job.model.network["estimate"])
                tile.fit()
                picture = np.array(xp.to_numpy(tile.picture()))
            row, column = np.floor(job.positions[frames].min(axis=0)).astype(int).tolist()
            yield InferTile(frames, picture, (row, column))
