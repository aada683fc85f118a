"""Where chance comes from: one stream of uniform numbers for each purpose, scan and epoch."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Purpose", "drawn_order", "stream"]


class Purpose(IntEnum):
    """What numbers are drawn for; no two purposes share a stream."""

    NEIGHBOURS = 1
    SPLIT = 2
    ORDER = 3
    SUBSAMPLE = 4
    VALIDATION = 5
    GROUPS = 6
    TURNS = 7


def stream(purpose: Purpose, *, seed: int, scan: int = 0, epoch: int = 0) -> np.random.Generator:
    """The stream for a purpose, a scan (its place in the list) and an epoch (from 1; 0 for what is drawn once a run).

    Only its ``random()`` may be used, uniform in [0, 1): NumPy promises no other draw to stay the same between its versions.
    """
    entropy = np.random.SeedSequence([seed, int(purpose), scan, epoch])
    return np.random.Generator(np.random.PCG64(entropy))


def drawn_order(number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The numbers 0 … ``number`` − 1 in random order: sorted by one draw each, ties by number."""
    return np.argsort(rng.random(number), kind="stable").astype(np.int64)
