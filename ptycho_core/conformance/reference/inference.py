"""The verb ``infer``: tiles of a scan, or its patterns through a trained network, batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.conformance.reference.batch import Held
from ptycho_core.conformance.reference.estimate import estimate
from ptycho_core.conformance.reference.evaluation import batch_of, scaled_probe
from ptycho_core.conformance.reference.passes import before_merging, picture_of
from ptycho_core.conformance.reference.tile import TileFit
from ptycho_core.contract import EventSink, InferBatch, InferJob, InferTile
from ptycho_core.inference.order import inference_order
from ptycho_core.inference.tiles import scan_tiles
from ptycho_core.networks import estimates_tiles, sees_canvas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ptycho_core.model import Model
    from ptycho_core.scan.scan import Scan

__all__ = ["infer"]


def infer(job: InferJob, events: EventSink) -> Iterator[InferBatch | InferTile]:
    """Yield the patch of every frame, complex128, in the order of `ptycho_core.inference.order.inference_order`; or each tile.

    A frame's patch is that of the group whose seed frame it is. Ends early if asked to stop.

    Raises:
        DataError: if the scan's patterns cannot be used.
    """
    if estimates_tiles(job.model.network):
        yield from _tiles(job, events)
        return
    scan, model, positions = job.scan, job.model, job.positions
    probe = scaled_probe(job.probe, 0.0)
    order = np.concatenate(inference_order(positions, scan.size))
    most = int(str(job.settings["execution"]["inference_batch_size"]))
    for start in range(0, len(order), most):
        if events.stop_requested:
            return
        frames = order[start : start + most]
        yield InferBatch(frames, _patches(scan, positions, model, probe, job.groups[frames]))


def _tiles(job: InferJob, events: EventSink) -> Iterator[InferBatch | InferTile]:
    probe, good = np.array(job.probe, dtype=np.complex128), np.fft.ifftshift(job.scan.mask)
    most = int(str(job.settings["execution"]["inference_batch_size"]))
    for frames in scan_tiles(job.positions, job.scan.size):
        if events.stop_requested:
            return
        if job.model.network["layers"] and not sees_canvas(job.model.network):
            patches = _patches(job.scan, job.positions, job.model, probe, frames[:, None])
            for start in range(0, len(frames), most):
                yield InferBatch(frames[start : start + most], patches[start : start + most])
            continue
        counts = np.fft.ifftshift(job.scan.patterns.read(frames), axes=(1, 2)).astype(np.float64)
        roots, positions = np.sqrt(np.where(good, counts, 0)), job.positions[frames]
        behind = None if job.background is None else np.fft.ifftshift(job.background).astype(np.float64)
        ends = None if job.scan.saturation is None else job.scan.saturation[frames][:, None, None]
        tile = TileFit(probe, positions, roots, good, job.model.network["estimate"], behind, job.scan.propagation, ends)
        tile.fit()
        row, column = np.floor(positions.min(axis=0)).astype(int).tolist()
        picture = tile.picture()
        if sees_canvas(job.model.network):
            batch = batch_of(job.model, job.model.weights, probe, job.scan, job.positions, frames[:, None], None)
            picture = picture_of(batch, tile.canvas())
        yield InferTile(frames, picture, (row, column))


def _patches(
    scan: Scan, positions: NDArray[np.float64], model: Model, probe: NDArray[np.complex128], groups: NDArray[np.int64]
) -> NDArray[np.complex128]:
    """The first patch of each group (group, C): complex (group, N, N)."""
    batch = batch_of(model, model.weights, probe, scan, positions, groups, None)
    held = Held(*estimate(batch), batch.illumination, (), np.ones(0, dtype=np.complex128))
    members = groups.shape[1]
    return before_merging(batch, held)[::members]
