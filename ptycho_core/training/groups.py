"""Groups: the neighbouring frames that a network sees at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.errors import DataError, SettingsError
from ptycho_core.training.rng import Purpose, drawn_order, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["check_neighbours", "check_number", "epoch_groups", "inference_groups", "nearest_groups"]

_NEIGHBOURS = 4
"""Without a number, a group is chosen among so many times its own size: neighbours that lie too close show the same twice."""

_RESOLUTION = 1e-6
"""Pixels. Distances are compared as multiples of it, so that rounding does not decide between the neighbours on a raster."""

_ENTRIES = 1 << 21
"""Distances held at once."""


def epoch_groups(
    positions: NDArray[np.float64],
    gridsize: int,
    *,
    neighbor_count: int | None = None,
    oversampling: int = 1,
    n_groups: int | None = None,
    seed: int,
    scan: int,
    epoch: int,
) -> NDArray[np.int64]:
    """The groups of one epoch: those of `nearest_groups`, or ``n_groups`` of them.

    With a number the frames have as many groups each as it takes; of the last round, those of frames that are drawn anew in
    every epoch are kept, each set of that many equally likely.

    Args:
        positions: (n, 2), float64, (row, column), pixels.
        gridsize: square root of the number of frames in a group.
        neighbor_count: K, as for `nearest_groups`.
        oversampling: groups for each seed frame, where ``n_groups`` is None.
        n_groups: number of groups, or None.
        seed: seed of the run.
        scan: place of the scan in the list.
        epoch: from 1.

    Returns:
        (groups, C), int64, in the order of `nearest_groups`.

    Raises:
        DataError: fewer than K frames, or fewer than ``n_groups`` where nothing is drawn.
        SettingsError: K below C.
    """
    frames = len(positions)
    rounds = oversampling if n_groups is None else -(-n_groups // frames)
    if n_groups is not None:
        check_number(frames, gridsize, neighbor_count, n_groups)
    groups = nearest_groups(
        positions, gridsize, neighbor_count=neighbor_count, oversampling=rounds, seed=seed, scan=scan, epoch=epoch
    )
    if n_groups is None or n_groups == len(groups):
        return groups
    whole = (rounds - 1) * frames
    chosen = drawn_order(frames, stream(Purpose.GROUPS, seed=seed, scan=scan, epoch=epoch))[: n_groups - whole]
    return np.concatenate([groups[:whole], groups[whole + np.sort(chosen)]])


def check_number(frames: int, gridsize: int, neighbor_count: int | None, n_groups: int, *, source: str = "The scan") -> None:
    """Refuse to draw more groups than frames where each frame has but one; ``source`` says of what.

    Raises:
        DataError: so many groups cannot differ.
    """
    members = gridsize**2
    if n_groups > frames and (members == 1 or _neighbours(frames, members, neighbor_count) == members):
        raise DataError(
            f"{source} has {frames} frames; n_groups asks for {n_groups} groups, and a frame has but one with gridsize {gridsize}"
            + (f" and its {members} nearest." if members > 1 else "."),
            remedy=f"Ask for {frames} at most" + (", or for more neighbours with --neighbor-count." if members > 1 else "."),
        )


def nearest_groups(
    positions: NDArray[np.float64],
    gridsize: int,
    *,
    neighbor_count: int | None = None,
    oversampling: int = 1,
    seed: int,
    scan: int,
    epoch: int,
) -> NDArray[np.int64]:
    """The groups of one epoch: ``oversampling`` for each frame, of C = gridsize² frames each.

    The first frame of a group is its seed frame; the others are among the ``neighbor_count`` nearest (the seed frame counted), by
    rising distance, ties by index. With ``neighbor_count`` = C they are the same in every epoch; above it C − 1 are drawn
    anew for every group, each set of that many equally likely. Without a number it is 4 C, or all frames where there are fewer.

    Args:
        positions: (n, 2), float64, (row, column), pixels.
        gridsize: square root of the number of frames in a group.
        neighbor_count: K, at least C; None as above.
        oversampling: groups for each seed frame.
        seed: seed of the run.
        scan: place of the scan in the list.
        epoch: from 1.

    Returns:
        (n · oversampling, C), int64, indices into ``positions``; group ``r · n + k`` has the seed frame k.

    Raises:
        DataError: fewer than K frames.
        SettingsError: K below C.
    """
    members = gridsize**2
    check_neighbours(len(positions), gridsize, neighbor_count)
    neighbours = _neighbours(len(positions), members, neighbor_count)
    if neighbours == members or members == 1:
        return np.tile(_nearest(positions, members), (oversampling, 1))
    near = _nearest(positions, neighbours)
    rng = stream(Purpose.NEIGHBOURS, seed=seed, scan=scan, epoch=epoch)
    return np.concatenate([_drawn(near, members, rng) for _ in range(oversampling)])


def inference_groups(
    positions: NDArray[np.float64], gridsize: int, *, neighbor_count: int | None = None, source: str = "The scan"
) -> NDArray[np.int64]:
    """One group for each frame, always the same: (n, gridsize²), int64, ordered as by `nearest_groups`.

    Of the K nearest, counted by rising distance from the frame itself, number 0, it takes the C numbers
    ``floor(k (K − 1) / (C − 1) + 1/2)``, k = 0 … C − 1: evenly from near to far, as those drawn in training are on average.

    Args:
        positions: (n, 2), float64, (row, column), pixels.
        gridsize: square root of the number of frames in a group.
        neighbor_count: K; None as in `nearest_groups`.
        source: the scan's name, for the message.

    Raises:
        DataError: fewer than K frames.
        SettingsError: K below C.
    """
    members = gridsize**2
    check_neighbours(len(positions), gridsize, neighbor_count, source=source)
    neighbours = _neighbours(len(positions), members, neighbor_count)
    if members == 1:
        return _nearest(positions, 1)
    ranks = (2 * np.arange(members) * (neighbours - 1) + members - 1) // (2 * (members - 1))
    return _nearest(positions, neighbours)[:, ranks]


def _neighbours(frames: int, members: int, neighbor_count: int | None) -> int:
    return min(_NEIGHBOURS * members, frames) if neighbor_count is None else neighbor_count


def check_neighbours(frames: int, gridsize: int, neighbor_count: int | None = None, *, source: str = "The scan") -> None:
    """Refuse a scan, or a part of it, that has fewer ``frames`` than a group needs; ``source`` says which.

    Raises:
        DataError: fewer frames than neighbor_count, or gridsize² without it.
        SettingsError: neighbor_count is below gridsize².
    """
    members = gridsize**2
    if neighbor_count is not None and neighbor_count < members:
        raise SettingsError(f"neighbor_count is {neighbor_count}; with gridsize {gridsize} it must be at least {members}.")
    if frames < (neighbor_count or members):
        asked = f"gridsize {gridsize} takes {members} at a time"
        if neighbor_count is not None and neighbor_count > members:
            asked = f"neighbor_count asks for the nearest {neighbor_count} (the frame itself counted)"
        raise DataError(f"{source} has {frames} frames; {asked}.")


def _nearest(positions: NDArray[np.float64], number: int) -> NDArray[np.int64]:
    """Each frame, then those nearest to it, by distance, ties by index: (n, number)."""
    frames = len(positions)
    if number == 1:
        return np.arange(frames, dtype=np.int64)[:, np.newaxis]
    from scipy.spatial import cKDTree

    tree = cKDTree(positions)
    found = np.empty((frames, number), dtype=np.int64)
    unsettled = np.asarray(tree.indices, dtype=np.int64)  # neighbours one after the other are found faster
    asked = min(frames, number + 4)
    while len(unsettled):
        pieces = np.array_split(unsettled, -(-len(unsettled) * asked // _ENTRIES))
        rest = []
        for rows in pieces:
            near = np.asarray(tree.query(positions[rows], k=asked)[1], dtype=np.int64)
            near, distance = _sorted_by_distance(positions, rows, near)
            # The tree takes any of those equally far. Only where one farther off was seen have all of them been.
            settled = (distance[:, -1] > distance[:, number - 1] + 1) | (asked == frames)
            found[rows[settled]] = near[settled, :number]
            rest.append(rows[~settled])
        unsettled = np.concatenate(rest)
        asked = min(frames, 2 * asked)
    return found


def _sorted_by_distance(
    positions: NDArray[np.float64], rows: NDArray[np.int64], near: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The frames ``near`` each of ``rows``, itself first, then by distance, ties by index; and the distances, whole multiples."""
    near = np.sort(near, axis=1)
    step = positions[near] - positions[rows][:, np.newaxis]
    distance = np.rint(np.sqrt(step[..., 0] ** 2 + step[..., 1] ** 2) / _RESOLUTION)
    distance[near == rows[:, np.newaxis]] = -1
    order = np.argsort(distance, axis=1, kind="stable")
    return np.take_along_axis(near, order, axis=1), np.take_along_axis(distance, order, axis=1)


def _drawn(near: NDArray[np.int64], members: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The seed frames with ``members`` − 1 of their neighbours, those with the smallest draws, kept in order."""
    frames, neighbours = near.shape
    lowest = np.argsort(rng.random((frames, neighbours - 1)), axis=1, kind="stable")[:, : members - 1]
    columns = np.concatenate([np.zeros((frames, 1), dtype=np.int64), 1 + np.sort(lowest, axis=1)], axis=1)
    return np.take_along_axis(near, columns, axis=1)
