"""A margin round the detector in the near field, in which probe and object continue though nothing is measured there.

The window of the model is periodic: what leaves it on one side comes in on the other, where in the experiment other light comes
in from outside. With a margin of masked pixels that light has a place to come from, and what wraps round ends in the margin.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ptycho_core.scan.size import with_size

if TYPE_CHECKING:
    from ptycho_core.physics.near_field import Propagation
    from ptycho_core.scan.scan import Scan

__all__ = ["reach_of", "with_margin"]

_FREQUENCY: Final = 1 / 4
"""Spatial frequency, in cycles a pixel, of the waves that the margin holds: half of the highest.

Measured: one for the highest takes half as long again and changes neither R nor the object by more than noise
(``docs/decisions/0101-near-field-scans.md``).
"""

_WIDEST: Final = 2
"""Most times that the window becomes as wide as the detector without being asked."""

_OF_NETWORKS: Final = 16
"""A window stays a multiple of this, as networks take it, where the detector is one."""

_DARK: Final = 1e-3
"""Part of a probe's light near the edge of the detector, below which it does not reach it."""


def reach_of(way: Propagation) -> int:
    """Pixels that waves of half the highest frequency go sideways: ``λz f / p`` at f = 1/4 p."""
    return math.ceil(way.distance * _FREQUENCY)


def with_margin(scan: Scan, asked: int | None) -> Scan:
    """The scan with masked pixels round its detector, as many on each side as asked for; None asks for as many as it needs.

    It needs `reach_of`, and what makes the window a product of 2, 3 and 5, unless its probe is dark so near to the edge.
    """
    if (way := scan.propagation) is None:
        return scan
    number = _needed(scan, reach_of(way)) if asked is None else asked
    if number <= scan.margin:
        return scan
    wider = with_size(scan, scan.size + 2 * (number - scan.margin))
    why = "as the settings state" if asked is not None else "for light that comes from outside (--margin 0 leaves it out)"
    note = f"Margin: {number} masked pixels around the detector, {why}; the window is {wider.size} x {wider.size} pixels."
    return replace(wider, notes=(*scan.notes, note))


def _needed(scan: Scan, reach: int) -> int:
    if scan.probe is not None:
        light = (np.abs(scan.probe) ** 2).sum(axis=0)
        inner = light[reach : scan.size - reach, reach : scan.size - reach]
        if float(inner.sum()) > (1 - _DARK) * float(light.sum()):
            return 0
    detector = scan.size - 2 * scan.margin
    reach = min(reach, (_WIDEST - 1) * detector // 2)
    step = _OF_NETWORKS if detector % _OF_NETWORKS == 0 else 1
    fitting = (one for one in range(reach, detector) if (detector + 2 * one) % step == 0 and _is_smooth(detector + 2 * one))
    return next(fitting, reach)


def _is_smooth(size: int) -> bool:
    """Whether a size is a product of 2, 3 and 5, for which transforms are fast."""
    for factor in (2, 3, 5):
        while size % factor == 0:
            size //= factor
    return size == 1
