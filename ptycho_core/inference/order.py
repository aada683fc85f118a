"""The order in which a scan is passed through a network: compact tiles of neighbouring frames, whatever the batch size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.physics.windows import split_positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["inference_order"]

_MOST_FRAMES = 256
_LEAST_FRAMES = 16  # a tile much smaller than a few windows across would be nothing but border
_TILE_BYTES = 32 * 2**20  # of the complex64 patches of one tile


def inference_order(positions: NDArray[np.floating[Any]], size: int) -> list[NDArray[np.int64]]:
    """Split a scan into compact tiles; one after the other they are the order of inference.

    A tile is what is stitched at once: its patches are held in memory until the last of them has come. Frames are split in two
    along the longer side of the rectangle that their positions span, in proportion to the number of tiles on either side,
    until none holds too many (a k-d tree; Bentley, *Commun. ACM* 18 (1975) 509-517); the lower side comes first. The tiles
    depend on the positions and on N alone, so that the batch size has no influence on the stitched object.

    Args:
        positions: (frame, 2), (row, column) of the windows' corners, pixels, any common offset.
        size: N, the pixels across a window.

    Returns:
        For each tile its frame numbers, int64, ascending; each frame is in one tile. At most 256 frames, and at most 32 MiB of
        complex64 patches (frame, N, N), unless that would be fewer than 16 frames.

    Raises:
        DataError: the shape is another, or a position is not a finite number.
    """
    split_positions(positions)
    places = np.asarray(positions, dtype=np.float64)
    most = min(_MOST_FRAMES, max(_LEAST_FRAMES, _TILE_BYTES // (8 * size * size)))
    tiles: list[NDArray[np.int64]] = []
    pending = [np.arange(len(places), dtype=np.int64)] if len(places) else []
    while pending:
        frames = pending.pop()
        count = -(-len(frames) // most)
        if count == 1:
            tiles.append(np.sort(frames))
            continue
        axis = int(np.argmax(np.ptp(places[frames], axis=0)))
        # Frames at the same place along the axis are parted by the other axis, then by number.
        frames = frames[np.lexsort((frames, places[frames, 1 - axis], places[frames, axis]))]
        first = len(frames) * (count // 2) // count
        pending += [frames[first:], frames[:first]]
    return tiles
