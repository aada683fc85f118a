"""Whether the distance of a near-field scan is right: by the slope of the misfit at the end of a fit, then by short fits.

An object and a probe that are both fitted take up most of a wrong distance: R over noise may rise by a hundredth where the error
of the object doubles. But where both are at their best, the derivative of the misfit by the distance alone is that of the best
fits (the envelope theorem). At the right distance it is 0 within photon noise. Where it is not, a fit to a part of the frames
first makes sure that both are at their best.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ptycho_core.contract import ReconstructJob
from ptycho_core.imaging.metrics import frame_sums
from ptycho_core.physics.forward import intensities
from ptycho_core.physics.losses import bounded_above
from ptycho_core.reconstruction.trials import APART, MARGIN, neighborhood
from ptycho_core.scan.canvas import object_canvas
from ptycho_core.scan.doubt import Doubt
from ptycho_core.scan.patterns import ArrayPatterns
from ptycho_core.scan.scan import scaled_probe
from ptycho_core.scan.selection import with_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from ptycho_core.contract import ReconstructResult, Value
    from ptycho_core.scan.scan import Geometry, Scan

__all__ = ["SETTLING", "SURE", "TRIAL", "Part", "better_distance", "doubt_of_distance", "settled"]

TRIAL: Final[Mapping[str, Value]] = {
    "modes": 1, "epochs": 12, "iterations": 0, "batch_size": 8, "coarse_start": False, "held_out": 0.0, "refine_probe": True,
    "refine_positions": "off", "background": "none", "start": None, "refine_flux": False,
}  # fmt: skip
"""The *reconstruction* settings of a short fit: rPIE alone, whose end changes smoothly with the distance."""

SETTLING: Final[Mapping[str, Value]] = {
    "epochs": 0, "iterations": 100, "tolerance": 0.05, "coarse_start": False, "held_out": 0.0, "total_variation": 0.0,
    "refine_positions": "off", "background": "none", "start": None, "refine_flux": False,
}  # fmt: skip
"""Those of a fit that begins where another ended, until object and probe have settled."""

FRAMES: Final = 64
"""Frames that are looked at, at most."""

STEP: Final = 0.05
"""Between the distances that are tried, as a part of the stated one."""

FARTHEST: Final = 3
"""Steps to one side, at most."""

SURE: Final = 2.5
"""Standard deviations of noise by which the slope must differ from 0. At the right distance it is below 1, as object and
probe take up most of it."""

_APART: Final = 2e-3
"""Part of the distance over which the slope is measured."""


@dataclass(frozen=True, eq=False)
class Part:
    """What the fits have in common: neighboring frames (k,) of a scan, in memory, and their counts (k, N, N), float32.

    Counts that have reached ``saturation`` are lower bounds; None where there are none.
    """

    scan: Scan
    frames: NDArray[np.int64]
    counts: NDArray[np.float32]
    saturation: float | None

    @classmethod
    def of(cls, scan: Scan, saturation: float | None) -> Part:
        """That of a scan in the near field; only its frames are read, before a backend takes the patterns over."""
        chosen, _ = neighborhood(scan.positions, FRAMES, APART * scan.size)
        part = replace(with_frames(scan, chosen), object_guess=None)
        counts = part.patterns.read(slice(None))
        patterns = ArrayPatterns(lambda: counts, counts.shape, counts.dtype, where=str(scan.source), mask=part.mask)
        return cls(replace(part, patterns=patterns), chosen, counts, saturation)

    def own(self, result: ReconstructResult) -> ReconstructResult:
        """The result of a fit to the whole scan, with the frames of the part alone."""
        flux = None if result.flux is None else result.flux[self.frames]
        held_out = np.flatnonzero(np.isin(self.frames, result.held_out))
        return replace(result, positions=result.positions[self.frames], flux=flux, held_out=held_out)

    def slope(self, result: ReconstructResult, unknowns: float) -> float:
        """The derivative of the misfit by the distance, in standard deviations of noise; above 0 where it is too long.

        The misfit is ``4 Σ (√I − √n)²``, which photon noise alone leaves at ``1 − unknowns`` a pixel after a fit of so many
        unknowns for each pixel. Its second derivative F at a fixed object and probe is twice the information on the distance, so
        that ``√(2F)`` is the largest deviation of the first; where the misfit is larger, by other faults, so is its variance.
        """
        way = self.scan.propagation
        assert way is not None
        fitted = np.setdiff1d(np.arange(len(self.frames)), result.held_out)
        counts = self.counts[fitted][:, self.scan.mask].astype(np.float64)
        flux = None if result.flux is None else result.flux[fitted]

        def misfit(factor: float) -> float:
            modelled = intensities(
                result.object, result.probe, result.positions[fitted], result.background, flux=flux,
                way=way._replace(distance=way.distance * factor),
            )[:, self.scan.mask]  # fmt: skip
            if self.saturation:
                modelled = bounded_above(modelled, counts, self.saturation)
            return float(4 * ((np.sqrt(modelled) - np.sqrt(counts)) ** 2).sum())

        low, middle, high = (misfit(1 + side * _APART) for side in (-1, 0, 1))
        first, second = (high - low) / (2 * _APART), (high + low - 2 * middle) / _APART**2
        dispersion = max(middle / (counts.size * (1 - unknowns)), 1.0)
        return first / float(np.sqrt(2 * second * dispersion)) if second > 0 else 0.0


def settled(
    part: Part,
    own: ReconstructResult,
    fit: Callable[[ReconstructJob], ReconstructResult],
    groups: Mapping[str, Mapping[str, Value]],
) -> ReconstructResult:
    """The result ``own`` of a part once its object and probe have settled; other arguments as of `better_distance`.

    Many photons see a distance that is wrong by parts of a percent, and as well what a fit had still to do.
    """
    background, flux = (None if one is None else np.asarray(one, dtype=np.float64) for one in (own.background, own.flux))
    scan, positions = replace(part.scan, background=background), own.positions.astype(np.float64)
    return fit(ReconstructJob(scan, own.object, own.probe, positions, groups, flux=flux))


def better_distance(
    part: Part,
    slope: float,
    fit: Callable[[ReconstructJob], ReconstructResult],
    groups: Mapping[str, Mapping[str, Value]],
) -> float | None:
    """The distance, as a part of the stated one, at which short fits leave the lowest R; None where the stated one does.

    Args:
        part: of the scan, with the probe that the whole fit began with: one that was fitted would favor the stated distance.
        slope: as `Part.slope`; its sign says on which side to look.
        fit: runs a job.
        groups: the settings of a job.
    """
    factors, found = [1 - np.sign(slope) * STEP * step for step in range(FARTHEST + 1)], list[float]()
    for factor in factors:
        found.append(_misfit(part, fit, groups, float(factor)))
        if found[-1] > min(found):
            break
    lowest = int(np.argmin(found))
    return None if lowest == 0 else float(factors[lowest])


def _misfit(
    part: Part, fit: Callable[[ReconstructJob], ReconstructResult], groups: Mapping[str, Mapping[str, Value]], factor: float
) -> float:
    assert part.scan.geometry is not None
    scan = replace(part.scan, geometry=_farther(part.scan.geometry, factor))
    origin, shape = object_canvas(scan.positions, scan.size, MARGIN)
    positions = scan.positions - origin
    beam = scaled_probe(scan)[0][:1].astype(np.complex64)
    result = fit(ReconstructJob(scan, np.ones(shape, dtype=np.complex64), beam, positions, groups, flux=scan.flux))
    sums = frame_sums(
        part.counts, scan.mask, result.object, result.probe, positions, result.background,
        saturation=part.saturation, way=scan.propagation,
    ).sum(axis=0)  # fmt: skip
    return float(sums[0] / sums[1]) if sums[1] > 0 and np.isfinite(sums).all() else float("inf")


def _farther(geometry: Geometry, factor: float) -> Geometry:
    """That of a beam that goes ``factor`` times as far in the same pixels: of a longer wave, where the beam diverges."""
    if geometry.focus_to_sample_m is None:
        return replace(geometry, detector_distance_m=geometry.detector_distance_m * factor)
    return replace(geometry, photon_energy_ev=geometry.photon_energy_ev / factor)


def doubt_of_distance(slope: float, better: float | None, geometry: Geometry, *, stopped: bool) -> Doubt:
    """What is said of a distance that the slope of the misfit contradicts.

    Args:
        slope: as `Part.slope`.
        better: as `better_distance`.
        geometry: of the scan.
        stopped: whether the fits that make sure were.
    """
    where = f"at about {better:g} x the stated one" if better else "at a " + ("shorter" if slope > 0 else "longer") + " one"
    suspects = "--detector-distance-m, --photon-energy-ev and --detector-pixel-size-m"
    if geometry.focus_to_sample_m is not None:
        suspects += ", and --focus-to-sample-m"
    text = (
        f"The distance from sample to detector seems wrong: the patterns would fit better {where} (the slope of the misfit is"
        f" {abs(slope):.3g} times its noise). Look at {suspects}."
    )
    if stopped:
        text += " The short fits that make sure were stopped; a fit that has not settled looks like this too."
    return Doubt("distance", "doubtful", text)
