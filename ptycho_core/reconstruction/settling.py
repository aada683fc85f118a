"""When a joint fit has arrived: its object moves by less, in some iterations, than photon noise leaves uncertain anyway.

The loss does not tell: it settles long before the smooth phase of a scan with many counts, and long after that of one with few.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Settling", "object_change"]

SPAN: Final = 10
"""Iterations over which a change is taken."""

EVERY: Final = 5
"""Iterations from one look to the next."""

POINTS: Final = 1 << 16
"""Pixels that a change is taken from, at least, where an object has as many: on a grid over all of it."""


class Settling:
    """Looks at the object of a fit now and then.

    Args:
        start: complex (rows, columns), the object that the fit begins with.
        illumination: real (rows, columns), counts that fall on each pixel.
        least: the change in `SPAN` iterations below which the fit is done.
    """

    def __init__(self, start: NDArray[Any], illumination: NDArray[Any], least: float) -> None:
        self._seen = deque([np.array(start)], maxlen=SPAN // EVERY)
        self._illumination, self._least = illumination, least

    @staticmethod
    def due(iteration: int) -> bool:
        """Whether the object is looked at after this iteration, counted from 1."""
        return iteration % EVERY == 0

    def reached(self, now: NDArray[Any]) -> bool:
        """Whether the fit is done; ``now`` is the object (rows, columns) after an iteration that was due."""
        full, before = len(self._seen) == self._seen.maxlen, self._seen[0]
        self._seen.append(np.array(now))
        return full and object_change(before, now, self._illumination) < self._least


def object_change(before: NDArray[Any], now: NDArray[Any], illumination: NDArray[Any]) -> float:
    """How far an object has moved, as a share of itself: ``‖now − before − drift‖ / ‖now‖``, weighted by the illumination.

    Scale, phase, phase ramp and place of the object are free where the probe is fitted too: the patterns stay as they are if the
    probe takes the opposite. A fit drifts in these without end, so that the drift, to first order, is taken away.

    Args:
        before: complex (rows, columns).
        now: complex (rows, columns), two of each or more.
        illumination: real (rows, columns).
    """
    thin = (slice(None, None, max(1, math.isqrt(now.size // POINTS))),) * 2
    slopes = [one[thin] for one in np.gradient(now)]
    before, now, illumination = before[thin], now[thin], illumination[thin]
    root = np.sqrt(illumination).astype(now.real.dtype)
    row, column = (np.linspace(-1, 1, length, dtype=root.dtype) for length in now.shape)
    free = (now, 1j * now, 1j * row[:, None] * now, 1j * column * now, *slopes)
    drifts = np.stack([_real(root * one) for one in free])
    moved, whole = _real(root * (now - before)), float(np.linalg.norm(drifts[0]))
    shares = np.linalg.lstsq(drifts @ drifts.T, drifts @ moved, rcond=None)[0]
    return float(np.linalg.norm(moved - shares @ drifts)) / whole if whole > 0 else float("inf")


def _real(image: NDArray[Any]) -> NDArray[Any]:
    """Real and imaginary parts in turn: real (2 rows columns,)."""
    return np.ascontiguousarray(image).reshape(-1).view(image.real.dtype)
