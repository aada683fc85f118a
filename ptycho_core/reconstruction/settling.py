"""When a joint fit has arrived: its object moves by less, in some iterations, than photon noise leaves uncertain anyway.

The loss does not tell: it settles long before the smooth phase of a scan with many counts, and long after that of one with few.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Settling", "object_change"]

SPAN: Final = 10
"""Iterations over which a change is taken."""

EVERY: Final = 5
"""Iterations from one look to the next."""

POINTS: Final = 1 << 16
"""Pixels that a change is taken from where an object has more: on a grid over all of it, so that little is kept."""


class Settling:
    """Looks at the object of a fit now and then.

    Args:
        start: complex (rows, columns), three of each or more: the object that the fit begins with.
        illumination: real (rows, columns), counts that fall on each pixel.
        least: the change in `SPAN` iterations below which the fit is done.
    """

    def __init__(self, start: NDArray[Any], illumination: NDArray[Any], least: float) -> None:
        step = max(1, math.isqrt(start.size // POINTS))
        self._rows, self._columns = (np.arange(1, length - 1, step) for length in start.shape)
        self._illumination, self._least = self._at(illumination), least
        self._seen = deque([self._at(start)], maxlen=SPAN // EVERY)

    @staticmethod
    def due(iteration: int) -> bool:
        """Whether the object is looked at after this iteration, counted from 1."""
        return iteration % EVERY == 0

    def reached(self, now: NDArray[Any]) -> bool:
        """Whether the fit is done; ``now`` is the object (rows, columns) after an iteration that was due."""
        full, before = len(self._seen) == self._seen.maxlen, self._seen[0]
        self._seen.append(self._at(now))
        if not full:
            return False
        slopes = [(self._at(now, *step) - self._at(now, -step[0], -step[1])) / 2 for step in ((1, 0), (0, 1))]
        row, column = self._rows / max(now.shape), self._columns / max(now.shape)
        return object_change(before, self._seen[-1], slopes, (row[:, None], column), self._illumination) < self._least

    def _at(self, image: NDArray[Any], down: int = 0, across: int = 0) -> NDArray[Any]:
        found: NDArray[Any] = image[np.ix_(self._rows + down, self._columns + across)]
        return found


def object_change(
    before: NDArray[Any],
    now: NDArray[Any],
    slopes: Sequence[NDArray[Any]],
    places: Sequence[NDArray[Any]],
    illumination: NDArray[Any],
) -> float:
    """How far an object has moved, as a share of itself: ``‖now − before − drift‖ / ‖now‖``, weighted by the illumination.

    Scale, phase, phase ramp and place of the object are free where the probe is fitted too: the patterns stay as they are if the
    probe takes the opposite. A fit drifts in these without end, so that the drift, to first order, is taken away.

    Args:
        before: complex (rows, columns), or pixels on a grid; so are all others.
        now: complex.
        slopes: complex, of ``now`` along rows and along columns.
        places: real, the row and the column of each pixel, in any unit.
        illumination: real.
    """
    root = np.sqrt(illumination).astype(now.real.dtype)
    ramps = [1j * place.astype(root.dtype) * now for place in places]
    drifts = np.stack([_real(root * one) for one in (now, 1j * now, *ramps, *slopes)])
    moved, whole = _real(root * (now - before)), float(np.linalg.norm(drifts[0]))
    shares = np.linalg.lstsq(drifts @ drifts.T, drifts @ moved, rcond=None)[0]
    return float(np.linalg.norm(moved - shares @ drifts)) / whole if whole > 0 else float("inf")


def _real(image: NDArray[Any]) -> NDArray[Any]:
    """Real and imaginary parts in turn: real (2 rows columns,)."""
    return np.ascontiguousarray(image).reshape(-1).view(image.real.dtype)
