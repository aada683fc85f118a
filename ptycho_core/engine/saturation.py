"""Saturated pixels: what they count is a lower bound of what they would have counted.

Where a measured count has reached the level at which the detector ends, a modelled count above it is as good as one that equals
it: the likelihood of "at least so many", with the photon noise at the level neglected.  So modelled counts end there too, before
they are compared, and no loss has a slope beyond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from ptycho_core.engine.arrays import Array, ArrayOps
    from ptycho_core.engine.state import Measured

__all__ = ["BELOW", "bounded_above", "ceiling", "where_free"]

BELOW: Final = 1e-4
"""Part of the level by which counts that have reached it may lie below: they are rounded, and may have been scaled."""


def ceiling(xp: ArrayOps, level: float | None) -> Array | None:
    """The amplitude, a number, from which on counts are saturated at ``level``; None where there is no level."""
    return xp.scalar(float(np.sqrt(level * (1 - BELOW)))) if level else None


def bounded_above(xp: ArrayOps, intensity: Array, measured: Measured, floor: float) -> Array:
    """Modelled counts, real (frame, N, N), that with ``floor`` added are no more than a saturated pixel counts."""
    if measured.ceiling is None:
        return intensity
    return intensity - _saturated(xp, measured) * xp.at_least(_beyond(intensity, measured, floor), 0.0)


def where_free(xp: ArrayOps, factor: Array, intensity: Array, measured: Measured, floor: float) -> Array:
    """A derivative by modelled ``intensity``, real (frame, N, N), zero where that is beyond what a saturated pixel counts."""
    if measured.ceiling is None:
        return factor
    beyond = 0.5 * (xp.sign(_beyond(intensity, measured, floor)) + 1)
    return factor * (1 - _saturated(xp, measured) * beyond)


def _saturated(xp: ArrayOps, measured: Measured) -> Array:
    """1 for saturated pixels, 0 elsewhere: real (frame, N, N)."""
    return 0.5 * (xp.sign(measured.amplitudes - measured.ceiling) + 1)


def _beyond(intensity: Array, measured: Measured, floor: float) -> Array:
    return intensity + floor - measured.amplitudes * measured.amplitudes
