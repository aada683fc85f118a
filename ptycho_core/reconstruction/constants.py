"""Numbers of the fit that the engine, the reference and other backends share."""

from __future__ import annotations

from typing import Final

__all__ = ["COUNTS_FLOOR", "ILLUMINATION_FLOOR", "PROBE_ALPHA"]

COUNTS_FLOOR: Final = 1e-6
"""Counts added to modelled intensities, so that dark pixels neither divide by zero nor take its logarithm."""

PROBE_ALPHA: Final = 0.5
"""The probe's regularisation in rPIE: share of the greatest object intensity in the divisor."""

ILLUMINATION_FLOOR: Final = 0.05
"""Share of the largest illumination added everywhere, so that dark places are not scaled up to noise."""
