"""Turned and mirrored canvases: a network on the canvas of a tile knows no direction, so that one example serves as eight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.training.rng import Purpose, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CUTTINGS", "cutting_of", "drawn_turns", "turned"]

CUTTINGS: Final = 12
"""Different ways in which a scan is cut into tiles to learn from: their estimates are made once and kept, more add little."""

_TURNS: Final = 8


def cutting_of(epoch: int) -> int:
    """The epoch, from 1, whose cutting an epoch takes again."""
    return 1 + (epoch - 1) % CUTTINGS


def drawn_turns(batches: int, *, seed: int, epoch: int) -> list[int]:
    """A number from 0 to 7 for each batch of an epoch, in the order in which they are learned from."""
    drawn = stream(Purpose.TURNS, seed=seed, epoch=epoch).random(batches)
    return [int(number) for number in np.floor(_TURNS * drawn)]


def turned(values: NDArray[Any], turn: int) -> NDArray[Any]:
    """A canvas turned by ``turn`` modulo 4 quarters from the columns towards the rows, from 4 on then mirrored along its columns.

    Args:
        values: (..., rows, columns).
        turn: from 0 to 7; 0 leaves it as it is.
    """
    found = np.rot90(values, turn % 4, axes=(-2, -1))
    return np.ascontiguousarray(found[..., ::-1] if turn >= _TURNS // 2 else found)
