"""Which way the axes of a scan run: the four classes of orientations that patterns can tell, each with the best phase of a probe.

The eight orientations make four pairs. Positions turned by 180 degrees give the same patterns with the object and the probe
turned and conjugated, the *twin*, whose probe is as far out of focus on the other side; no pattern tells the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ptycho_core.orientation import ORIENTATIONS
from ptycho_core.reconstruction.curvature import Curve, phases, refined, scanned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from ptycho_core.orientation import Orientation
    from ptycho_core.reconstruction.trials import Trials

__all__ = [
    "CLASSES",
    "CLEAR",
    "FittedClass",
    "fitted_classes",
    "flags_of",
    "margin_of",
    "scale_misfits",
    "turned_settings",
    "twin",
]

CLASSES: Final = ("as-stated", "swap", "flip-rows", "swap-flip-rows")
"""One of each pair, by its name among `ORIENTATIONS`."""

CLEAR: Final = 0.08
"""By how much, as a share, R of the second class must be above that of the first, so that the first is right."""

SCALES: Final = (0.9, 1.1)
"""What positions are multiplied by, to see whether another scale would fit better."""


@dataclass(frozen=True, eq=False)
class FittedClass:
    """One class of orientations.

    Attributes:
        name: of one of the two, as ``orientation`` has it.
        curve: R of frames held out by phase, rad at the edge of the detector as it is cropped.
    """

    name: str
    curve: Curve

    @property
    def misfit(self) -> float:
        """The lowest R."""
        return self.curve.lowest


def fitted_classes(
    trials: Trials, done: Callable[[int, int], None], where: Mapping[str, NDArray[np.float64]] | None = None
) -> list[FittedClass]:
    """The classes, the best first.

    Args:
        trials: of the scan, its positions turned as they are stated.
        done: called with how many trials of about how many are done.
        where: the phases that are tried, of each class; None for all that there is room for. The best of three and more is
            refined.
    """
    everywhere = dict.fromkeys(CLASSES, phases(trials.pupil)) if where is None else where
    total, number, found = sum(map(len, everywhere.values())), 0, []
    for name, tried in everywhere.items():
        turned = ORIENTATIONS[name]

        def misfit(q: float, turned: Orientation = turned) -> float:
            nonlocal number
            number += 1
            done(min(number, total), total)
            return trials.misfit(q, turned)

        curve = scanned(misfit, tried)
        curve = refined(curve, misfit, trials.pupil) if len(tried) > 2 else curve
        found.append(FittedClass(name, curve))
    return sorted(found, key=lambda one: one.misfit)


def margin_of(found: list[FittedClass]) -> float:
    """By how much, as a share, R of the second class is above that of the first."""
    first, second = found[0].misfit, found[1].misfit
    return second / first - 1 if first > 0 else 0.0


def scale_misfits(trials: Trials, best: FittedClass) -> dict[float, float]:
    """R with positions multiplied by each of `SCALES`.

    The light of a probe out of focus moves over the detector by ``z / dz`` times a step, so that a larger step goes with a sample
    farther from the focus: the phase is tried as it is and multiplied too.
    """
    turned, q = ORIENTATIONS[best.name], best.curve.best
    return {scale: min(trials.misfit(phase, turned, scale=scale) for phase in {q, q * scale}) for scale in SCALES}


def turned_settings(name: str, orientation: str, rotation_deg: float) -> dict[str, str | float]:
    """The *data* settings, as far as they change, that turn positions as they do and then as a class does.

    Args:
        name: of the class.
        orientation: the setting that positions are read with.
        rotation_deg: likewise.
    """
    more = ORIENTATIONS[name]
    found: dict[str, str | float] = {"orientation": more.after(ORIENTATIONS[orientation]).name}
    if more.mirrors and rotation_deg != 0:
        found["rotation_deg"] = -rotation_deg
    return found


def flags_of(settings: Mapping[str, object]) -> str:
    """Settings as flags."""
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in settings.items())


def twin(name: str) -> str:
    """The orientation that no pattern tells from another."""
    return ORIENTATIONS["flip-both"].after(ORIENTATIONS[name]).name
