"""Short fits of a part of a scan, which show what its file does not state: the phase of the probe, the way of the axes.

R of the frames that are fitted can be low for a wrong reason: a probe without curvature is small, its windows hardly share a part
of the object, and each pattern is fitted alone. So what counts is R of frames that take no part in the fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from ptycho_core.contract import ReconstructJob
from ptycho_core.imaging.metrics import frame_sums
from ptycho_core.scan.canvas import object_canvas
from ptycho_core.scan.patterns import ArrayPatterns
from ptycho_core.scan.scan import scaled_probe
from ptycho_core.scan.selection import with_even_dose, with_frames
from ptycho_core.scan.size import with_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from ptycho_core.contract import ReconstructResult, Value
    from ptycho_core.orientation import Orientation
    from ptycho_core.physics.pupil import Pupil
    from ptycho_core.scan.scan import Scan

    Fit: TypeAlias = Callable[[ReconstructJob], ReconstructResult]

__all__ = ["TRIAL", "Trials", "neighborhood"]

TRIAL: Final[Mapping[str, Value]] = {
    "modes": 1, "epochs": 6, "iterations": 0, "object_alpha": 0.3, "coarse_start": False, "held_out": 0.0,
    "refine_probe": True, "refine_positions": "off", "background": "none", "start": None,
    "refine_flux": False, "saturation": 0.0,
}  # fmt: skip
"""The *reconstruction* settings of a trial. Its updates of the object are damped more than those of a whole fit, so that few
photons fit no noise."""

BATCHES: Final = 3
"""Of an epoch. With the epochs of a trial they end before the first kick of the momentum, from which a fit so short does not
recover."""

FRAMES, SIZE = 80, 64
"""Frames of a trial, at most, and pixels across their patterns: the middle of the detector. Fewer frames may have more."""

APART: Final = 1 / 16
"""Of the window: frames that lie closer to one that is taken are left out, so that those of a dense scan cover some area."""

HELD_OUT: Final = 4
"""One in so many of the inner frames takes no part in the fit."""

LEAST: Final = 16
"""Frames from which some are held out; fewer check themselves."""

STEP: Final = 16
"""What the size is a multiple of, where it is cropped."""

MARGIN: Final = 2
"""Pixels around the windows."""


@dataclass(frozen=True, eq=False)
class Trials:
    """What all trials of a scan have in common.

    Attributes:
        scan: a part of it, in memory, its patterns cropped to `SIZE` pixels at most.
        counts: (frame, N, N), float32, these patterns.
        held_out: numbers of the frames held out, int64, ascending.
        pupil: the beam on the detector, as it is cropped.
        fit: runs a job.
        groups: the settings of a job.
    """

    scan: Scan
    counts: NDArray[np.float32]
    held_out: NDArray[np.int64]
    pupil: Pupil
    fit: Fit
    groups: Mapping[str, Mapping[str, Value]]

    @classmethod
    def of(cls, scan: Scan, pupil: Pupil, fit: Fit, groups: Mapping[str, Mapping[str, Value]]) -> Trials:
        """Take neighboring frames of a scan; only those are read."""
        chosen, inner = neighborhood(scan.positions, FRAMES, APART * scan.size)
        size = min(scan.size, int(SIZE * math.sqrt(FRAMES / len(chosen)) // STEP * STEP))
        part = with_size(replace(with_even_dose(with_frames(scan, chosen)), probe=None, object_guess=None), size)
        counts = part.patterns.read(slice(None))
        patterns = ArrayPatterns(lambda: counts, counts.shape, counts.dtype, where=str(scan.source), mask=part.mask)
        held_out = np.isin(chosen, inner[::HELD_OUT]) if len(chosen) >= LEAST else np.ones(len(chosen), dtype=np.bool_)
        used = len(chosen) - int(held_out.sum()) or len(chosen)
        own = {**groups["reconstruction"], "batch_size": -(-used // BATCHES)}
        return cls(
            replace(part, patterns=patterns), counts, np.flatnonzero(held_out), pupil.cropped(size), fit,
            {**groups, "reconstruction": own},
        )  # fmt: skip

    def misfit(self, q: float, turned: Orientation, *, scale: float = 1.0) -> float:
        """R of the frames held out, after a short fit of the others; infinite where the fit fails.

        Args:
            q: phase of the probe in rad at the edge of the detector, as it is cropped.
            turned: how the positions are turned, beyond what they are.
            scale: what they are multiplied by.
        """
        positions = turned.of_points(self.scan.positions) * scale
        origin, shape = object_canvas(positions, self.scan.size, MARGIN)
        positions = positions - origin
        used = np.setdiff1d(np.arange(len(positions)), self.held_out)
        used = used if len(used) else self.held_out
        result = self.fit(
            ReconstructJob(
                with_frames(replace(self.scan, positions=positions), used),
                np.ones(shape, dtype=np.complex64),
                scaled_probe(self.scan, self.pupil.probe(q))[0].astype(np.complex64),
                positions[used],
                self.groups,
            )
        )
        model = result.object, result.probe, positions[self.held_out], result.background
        sums = frame_sums(self.counts[self.held_out], self.scan.mask, *model, way=self.scan.propagation)
        differences, amplitudes = sums.sum(axis=0)
        found = float(differences / amplitudes) if amplitudes > 0 else math.nan
        return found if math.isfinite(found) else math.inf


def neighborhood(positions: NDArray[np.float64], most: int, apart: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frames about the middle of a scan.

    Args:
        positions: (frame, 2), pixels.
        most: how many frames there may be.
        apart: pixels that lie between any two of them, at least, where there are more.

    Returns:
        Their numbers (k,), int64, ascending; and those of the inner half of them, from the middle outwards.
    """
    middle = np.median(positions, axis=0)
    taken, free = list[int](), np.ones(len(positions), dtype=np.bool_)
    for frame in np.argsort(np.hypot(*(positions - middle).T), kind="stable").tolist():
        if free[frame] or len(positions) <= most:
            taken.append(frame)
            free &= np.hypot(*(positions - positions[frame]).T) >= apart
        if len(taken) == most:
            break
    found = np.array(taken, dtype=np.int64)
    return np.sort(found), found[: (len(found) + 1) // 2]
