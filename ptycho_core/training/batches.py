"""Batches: the groups of a scan, cut into parts that are learned from together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.training.rng import Purpose, drawn_order, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["split"]


def split(
    groups: NDArray[np.int64],
    positions: NDArray[np.float64],
    batch_size: int,
    *,
    spatial: bool,
    seed: int,
    scan: int,
    epoch: int,
) -> list[NDArray[np.int64]]:
    """Cut groups into batches; every group is in exactly one.

    There are ``ceil(groups / batch_size)`` batches, as equal as can be: their sizes differ by at most one and none is above
    ``batch_size``, so that there is no small last batch whose few patterns would weigh as much as many.

    Args:
        groups: (groups, C), int64, seed frame first.
        positions: (n, 2), float64, (row, column), pixels, of the frames that ``groups`` number.
        batch_size: the most groups of a batch.
        spatial: True makes compact neighbourhoods, by cutting the seed frames' positions in two again and again, under an angle
            and at places that are drawn for each epoch, so that borders move; False draws the groups at random.
        seed: seed of the run.
        scan: place of the scan in the list.
        epoch: from 1.

    Returns:
        Batches (g, C), int64, rows of ``groups`` in their order there.
    """
    number = len(groups)
    if number == 0:
        return []
    parts = -(-number // batch_size)
    rng = stream(Purpose.SPLIT, seed=seed, scan=scan, epoch=epoch)
    if not spatial:
        return [groups[np.sort(part)] for part in np.array_split(drawn_order(number, rng), parts)]
    angle = 2 * np.pi * rng.random()
    row, column = positions[groups[:, 0]].T
    turned = np.stack([np.cos(angle) * row - np.sin(angle) * column, np.sin(angle) * row + np.cos(angle) * column])
    return [groups[part] for part in _cut(np.arange(number, dtype=np.int64), turned, parts, rng)]


def _cut(
    numbers: NDArray[np.int64], coordinates: NDArray[np.float64], parts: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Cut ``numbers`` (ascending) into ``parts`` neighbourhoods; ``coordinates`` (2, all). Depth first, the lower side first."""
    if parts == 1:
        return [numbers]
    own = coordinates[:, numbers]
    height, width = np.ptp(own, axis=1)
    order = np.argsort(own[0 if height >= width else 1], kind="stable")
    # Anywhere in the middle third: borders move, and no neighbourhood becomes a thin strip.
    low, high = -(-parts // 3), parts - -(-parts // 3)
    lower = low + int(rng.random() * (high - low + 1))
    size, larger = divmod(len(numbers), parts)
    border = lower * size + min(lower, larger)
    below, above = np.sort(numbers[order[:border]]), np.sort(numbers[order[border:]])
    return _cut(below, coordinates, lower, rng) + _cut(above, coordinates, parts - lower, rng)
