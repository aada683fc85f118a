"""The course of an epoch: which groups of which scan come in which batch, and when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ptycho_core.training.batches import split
from ptycho_core.training.groups import epoch_groups, inference_groups
from ptycho_core.training.rng import Purpose, drawn_order, stream
from ptycho_core.training.turns import cutting_of, drawn_turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Batch", "ScanPart", "epoch_batches", "validation_batches"]


@dataclass(frozen=True, eq=False)
class ScanPart:
    """The frames of a scan that take part: their numbers (k,), int64, and the positions (n, 2), pixels, of *all* its frames."""

    frames: NDArray[np.int64]
    positions: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Batch:
    """Groups of one scan.

    Attributes:
        scan: its place in the list.
        groups: frame numbers (g, C), int64, seed frame first.
        turn: how the canvas is turned and mirrored where nothing but labels is compared, as `ptycho_core.training.turns.turned`.
    """

    scan: int
    groups: NDArray[np.int64]
    turn: int = 0


def epoch_batches(
    scans: Sequence[ScanPart],
    *,
    gridsize: int,
    batch_size: int,
    merge: str,
    neighbor_count: int | None = None,
    oversampling: int = 1,
    n_groups: int | None = None,
    canvas: bool = False,
    seed: int,
    epoch: int,
) -> list[Batch]:
    """The batches of one epoch in the order in which they are learned from.

    A group holds frames of one part, a batch groups of one scan. Batches are neighbourhoods if patches are merged within a batch
    (``merge`` is ``batch``), and drawn at random otherwise. The batches of all scans are shuffled together. A part without frames
    gives none.

    Args:
        scans: the parts to learn from.
        gridsize: square root of the number of frames in a group.
        batch_size: the most groups of a batch.
        merge: ``batch``, ``group`` or ``none``.
        neighbor_count: see `ptycho_core.training.groups.nearest_groups`.
        oversampling: groups for each seed frame.
        n_groups: groups of each part; see `ptycho_core.training.groups.epoch_groups`.
        canvas: whether the network sees the canvas of a tile: then cuttings come again, and each batch has a turn.
        seed: seed of the run.
        epoch: from 1.

    Raises:
        DataError: a part has frames, but fewer than a group needs, or than ``n_groups`` where nothing is drawn.
    """
    found: list[Batch] = []
    cutting = cutting_of(epoch) if canvas else epoch
    for scan, part in enumerate(scans):
        if len(part.frames) == 0:
            continue
        own = part.positions[part.frames]
        groups = epoch_groups(
            own, gridsize, neighbor_count=neighbor_count, oversampling=oversampling, n_groups=n_groups,
            seed=seed, scan=scan, epoch=cutting,
        )  # fmt: skip
        batches = split(groups, own, batch_size, spatial=merge == "batch", seed=seed, scan=scan, epoch=cutting)
        found += [Batch(scan, part.frames[batch]) for batch in batches]
    order = drawn_order(len(found), stream(Purpose.ORDER, seed=seed, epoch=epoch))
    turns = drawn_turns(len(found), seed=seed, epoch=epoch) if canvas else [0] * len(found)
    return [replace(found[number], turn=turn) for number, turn in zip(order, turns, strict=True)]


def validation_batches(
    scans: Sequence[ScanPart], *, gridsize: int, batch_size: int, merge: str, neighbor_count: int | None = None
) -> list[Batch]:
    """The validation batches, the same after every epoch and for every seed, scan after scan: groups as at inference.

    Arguments and errors are those of `epoch_batches`.
    """
    found: list[Batch] = []
    for scan, part in enumerate(scans):
        if len(part.frames) == 0:
            continue
        own = part.positions[part.frames]
        groups = inference_groups(own, gridsize, neighbor_count=neighbor_count)
        batches = split(groups, own, batch_size, spatial=merge == "batch", seed=0, scan=scan, epoch=0)
        found += [Batch(scan, part.frames[batch]) for batch in batches]
    return found
