"""The phase of a probe out of focus: trials over all that the window has room for, of both signs, coarse, then fine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ptycho_core.physics.pupil import Pupil

    Misfit = Callable[[float], float]

__all__ = ["COARSE", "Curve", "phases", "refined", "scanned"]

COARSE: Final = 2.0
"""Step of the first trials: rad where the light ends. A fit recovers from an error of about half of it."""

FINE: Final = (1.0, 0.5)
"""Steps of the trials that follow, to both sides of the best."""

REACH: Final = 0.45
"""Of the window: radius up to which geometric optics spreads the probes that are tried."""


@dataclass(frozen=True, eq=False)
class Curve:
    """R of trials by the phase of their probes.

    Attributes:
        phases: (k,), float64, ascending, rad at the edge of the detector.
        misfits: (k,), float64, R of frames held out.
    """

    phases: NDArray[np.float64]
    misfits: NDArray[np.float64]

    @property
    def best(self) -> float:
        """The phase with the lowest R."""
        return float(self.phases[int(np.argmin(self.misfits))])

    @property
    def lowest(self) -> float:
        """The lowest R."""
        return float(self.misfits.min())

    @property
    def margin(self) -> float:
        """How much higher, as a share, the lowest R outside of the valley of the best is; 0 where all phases are in it.

        The valley reaches from the best to where R rises half the way to its median.
        """
        best = int(np.argmin(self.misfits))
        high = self.misfits > (self.lowest + float(np.median(self.misfits))) / 2
        left, right = np.flatnonzero(high[:best]), np.flatnonzero(high[best:])
        outside = [self.misfits[: left[-1] + 1]] if len(left) else []
        outside += [self.misfits[best + right[0] :]] if len(right) else []
        return float(min(part.min() for part in outside) / self.lowest - 1) if outside and self.lowest > 0 else 0.0


def phases(pupil: Pupil, step: float) -> NDArray[np.float64]:
    """All phases ``q`` to be tried, (k,), rad at the edge of the detector, evenly about 0.

    A phase ``q`` moves the light of a pixel at distance ``k`` from the middle by ``4 q k / (π N)`` object pixels: the slope of
    ``q (2 k / N)²``, times ``N / 2π``. At the edge of the light that must not leave the window.

    Args:
        pupil: the beam on a detector of N pixels.
        step: rad where the light ends, or the detector if that is before.
    """
    size = len(pupil.amplitude)
    largest = math.pi * REACH * size**2 / (4 * pupil.edge)
    apart = step / pupil.phase_at_edge(1.0)
    number = max(1, math.ceil(largest / apart))
    return apart * np.arange(-number, number + 1, dtype=np.float64)


def scanned(misfit: Misfit, where: NDArray[np.float64]) -> Curve:
    """The curve over some phases."""
    return Curve(where, np.array([misfit(float(q)) for q in where]))


def refined(curve: Curve, misfit: Misfit, pupil: Pupil) -> Curve:
    """The curve with trials near its best phase, finer and finer."""
    for step in FINE:
        apart = step / pupil.phase_at_edge(1.0)
        new = np.array([curve.best - apart, curve.best + apart])
        new = new[[not np.isclose(q, curve.phases, atol=apart / 4, rtol=0).any() for q in new]]
        added = scanned(misfit, new)
        order = np.argsort(np.concatenate([curve.phases, added.phases]), kind="stable")
        both = np.concatenate([curve.phases, added.phases])[order], np.concatenate([curve.misfits, added.misfits])[order]
        curve = Curve(*both)
    return curve
