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

__all__ = ["Curve", "phases", "refined", "scanned"]

STEP, SHARE = 2.0, 0.15
"""Steps of the first trials: rad where the light ends, and beyond some steps this share of the phase. A fit recovers from an
error of about half of it: a scan with a wrong defocus looks like one of another scale, to which the fit of the probe adapts."""

FINER: Final = 2
"""How often the step is halved about the best."""

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


def phases(pupil: Pupil, coarser: float = 1.0) -> NDArray[np.float64]:
    """All phases ``q`` to be tried, (k,), ascending, rad at the edge of the detector, of both signs.

    A phase ``q`` moves the light of a pixel at distance ``k`` from the middle by ``4 q k / (π N)`` object pixels: the slope of
    ``q (2 k / N)²``, times ``N / 2π``. At the edge of the light that must not leave the window.

    Args:
        pupil: the beam on a detector of N pixels.
        coarser: what the steps are multiplied by.
    """
    size, unit = len(pupil.amplitude), pupil.phase_at_edge(1.0)
    largest = unit * math.pi * REACH * size**2 / (4 * pupil.edge)
    found = [0.0]
    while found[-1] < largest:
        found.append(found[-1] + _step(found[-1]) * coarser)
    one_sign = np.array(found) / unit
    return np.concatenate([-one_sign[:0:-1], one_sign])


def _step(phase: float) -> float:
    """From a phase to the next, rad where the light ends, or the detector if that is before."""
    return max(STEP, SHARE * abs(phase))


def scanned(misfit: Misfit, where: NDArray[np.float64]) -> Curve:
    """The curve over some phases."""
    return Curve(where, np.array([misfit(float(q)) for q in where]))


def refined(curve: Curve, misfit: Misfit, pupil: Pupil) -> Curve:
    """The curve with trials near its best phase, finer and finer."""
    unit = pupil.phase_at_edge(1.0)
    apart = _step(curve.best * unit) / unit
    for _ in range(FINER):
        apart /= 2
        new = curve.best + np.array([-apart, apart])
        added = scanned(misfit, new)
        order = np.argsort(np.concatenate([curve.phases, added.phases]), kind="stable")
        both = np.concatenate([curve.phases, added.phases])[order], np.concatenate([curve.misfits, added.misfits])[order]
        curve = Curve(*both)
    return curve
