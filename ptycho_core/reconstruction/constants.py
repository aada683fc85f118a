"""Numbers of the algorithm that are the same whatever framework computes it."""

from __future__ import annotations

from typing import Final

__all__ = [
    "BATCHES_PER_KICK",
    "DAMPING",
    "FRICTION",
    "KICK",
    "LARGEST_STEP",
    "PROBE_ALPHA",
    "SMALLEST",
    "WEAK",
]

SMALLEST: Final = 1e-6
"""Counts added to modelled intensities, so that dark pixels neither divide by zero nor take its logarithm."""

PROBE_ALPHA: Final = 0.5
"""The probe's regularisation in rPIE: share of the greatest object intensity in the divisor."""

BATCHES_PER_KICK: Final = 20
FRICTION: Final = 0.5
KICK: Final = 0.5
"""Momentum: every 20 batches the velocity is halved, gains the change since, and half of it is added."""

LARGEST_STEP: Final = 0.5
"""Pixels a position may move in one step; the linearisation holds for less than a speckle."""

DAMPING: Final = 0.05
"""Of the Gauss-Newton steps of positions, relative to the mean over frames: frames that see nothing of a flat object stay put."""

WEAK: Final = 0.05
"""Share of the largest illumination added everywhere, so that dark places are not scaled up to noise."""
