"""The verb ``infer`` on the operations of a framework: the patterns of a scan through a trained network, batch by batch."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.contract import EventSink, ExecutionPlan, InferBatch, InferJob, InferTile
from ptycho_core.engine.arrays import MIXED
from ptycho_core.engine.corrections import corrections
from ptycho_core.engine.estimate import group_overlaps
from ptycho_core.engine.forward import forward_of
from ptycho_core.engine.infer_tiles import infer_tiles
from ptycho_core.engine.saturation import ceilings
from ptycho_core.engine.state import Measured
from ptycho_core.engine.trainable import TrainableModel
from ptycho_core.inference.order import inference_order
from ptycho_core.networks import estimates_tiles
from ptycho_core.scan.reading import Readers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import ArrayOps
    from ptycho_core.scan.scan import Scan

__all__ = ["infer"]


def infer(
    job: InferJob,
    plan: ExecutionPlan,
    events: EventSink,
    operations: Callable[[ExecutionPlan], AbstractContextManager[ArrayOps]],
) -> Iterator[InferBatch | InferTile]:
    """Yield the patch of every frame, in the order of `ptycho_core.inference.order.inference_order`, or tile by tile.

    A frame's patch is that of the group whose seed frame it is, so that it does not depend on the batch it came in. Ends early if
    asked to stop. ``operations`` sets the process up while something is computed, and not while a batch is handed out.

    Raises:
        DataError: if the scan's patterns cannot be used; the message names the frame.
    """
    if estimates_tiles(job.model.network):
        yield from infer_tiles(job, plan, events, operations)
        return
    scan, positions, groups = job.scan, job.positions, job.groups
    order = np.concatenate(inference_order(positions, scan.size))
    batch_size = int(str(job.settings["execution"]["inference_batch_size"]))
    with operations(plan) as xp:
        network = _Passes(xp, job, mixed=plan.execution["precision"] == MIXED)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    readers = Readers.planned(plan.execution)
    with closing(readers.read(lambda frames: _counts(scan, groups[frames]), batches)) as ahead:
        for frames in batches:
            if events.stop_requested:
                return
            with operations(plan):
                patches = network.patches(groups[frames], next(ahead), pinned=readers.pinned)
            yield InferBatch(frames, patches)


def _counts(scan: Scan, groups: NDArray[np.int64]) -> NDArray[np.float32]:
    """Counts (frame, N, N) in FFT order of the frames of groups, each once, ascending."""
    return np.fft.ifftshift(scan.patterns.read(np.unique(groups)), axes=(-2, -1))


class _Passes:
    """The network and the probe on the device."""

    def __init__(self, xp: ArrayOps, job: InferJob, *, mixed: bool) -> None:
        mask = job.scan.mask
        self._xp, self._size = xp, job.model.size
        self._vector = TrainableModel(xp, job.model).network_vector
        self._network = corrections(xp, job.model.network, mixed=mixed)
        self._probe = xp.from_numpy(job.probe)
        self._mask = None if mask.all() else xp.from_numpy(np.fft.ifftshift(mask).astype(np.float32))
        self._scan, self._positions, self._corners = job.scan, job.positions, np.floor(job.positions).astype(np.int64)
        self._forward = forward_of(xp, job.scan.propagation, job.scan.size)

    def patches(self, groups: NDArray[np.int64], counts: NDArray[np.float32], *, pinned: bool) -> NDArray[np.complexfloating]:
        """Patches (group, N, N) of the seed frames of groups (group, C), whose counts are those of `_counts`."""
        xp, flat = self._xp, groups.reshape(-1)
        places = np.unique(groups, return_inverse=True)[1].reshape(-1)
        amplitudes = xp.rows(xp.sqrt(xp.from_numpy(counts, pinned=pinned)), places)
        overlaps = None if groups.shape[1] == 1 else group_overlaps(xp, self._corners[groups], self._size)
        remainders = xp.from_numpy((self._positions - self._corners)[flat])
        measured = Measured(amplitudes, self._mask, ceilings(xp, self._scan, flat))
        given = (self._vector, self._probe, measured, remainders, overlaps)
        return np.array(xp.to_numpy(self._network.of_groups(*given, forward=self._forward)))
