"""What a scan says of its regime: by its Fresnel numbers, and by whether its patterns move with the positions as images do.

In the near field a pattern is an image of the sample: where the sample moves by so many pixels, so does its image. In the far
field it stays where it is and changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ptycho_core.orientation import ORIENTATIONS
from ptycho_core.scan.canvas import probe_width

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ptycho_core.scan.evidence import Evidence
    from ptycho_core.scan.scan import Scan

__all__ = ["FresnelNumbers", "Motion", "fresnel_numbers", "motion"]

_PAIRS: Final = 40
"""Pairs of frames that are compared, at most."""

_FEWEST: Final = 6
"""Pairs that say something."""

_SURE: Final = 5.0
"""Standard errors by which one correlation must lie above another."""

_LIT: Final = 0.05
"""Part of the median of the mean pattern, below which a pixel is too dark to be compared."""


@dataclass(frozen=True)
class FresnelNumbers:
    """``a² / (λ z)`` of lengths ``a``; above 1 the near field, far below it the far field (Goodman, *Fourier Optics*, §4.3).

    Attributes:
        pixel: of a pixel of the object in the near field, ``p² / (λ z)``; of the detector's pixel in the far field.
        beam: of the probe's width, or without one, or where it fills the window in the near field, of the detector.
        of_probe: whether it is of the probe.
    """

    pixel: float
    beam: float
    of_probe: bool

    @property
    def suggests(self) -> str:
        """``near`` or ``far``, or empty between the two."""
        return "near" if self.beam > _NEAR else "far" if self.beam < _FAR else ""


_NEAR, _FAR = 10.0, 1.0
"""Fresnel numbers of a beam, above and below which the regime is clear."""


def fresnel_numbers(scan: Scan) -> FresnelNumbers | None:
    """Those of a scan; None where its geometry is not known, or in the far field its probe."""
    it = scan.geometry
    if it is None:
        return None
    if it.propagation is not None:
        detector = scan.size - 2 * scan.margin
        across = float(detector) if scan.probe is None else min(probe_width(scan.probe), float(detector))
        return FresnelNumbers(1 / it.propagation.distance, across**2 / it.propagation.distance, scan.probe is not None)
    if scan.probe is None:
        return None
    length = it.wavelength_m * it.detector_distance_m
    width = probe_width(scan.probe) * it.object_pixel_m(scan.size)
    return FresnelNumbers(it.detector_pixel_size_m**2 / length, width**2 / length, of_probe=True)


@dataclass(frozen=True)
class Motion:
    """How alike neighboring frames are where one is moved by the way between their positions.

    Attributes:
        correlations: by orientation of the positions, the mean correlation over the pairs.
        best: the orientation under which frames are most alike.
        excess: by how much they are more alike than under any other; 0 where that can be chance.
    """

    correlations: Mapping[str, float]
    best: str
    excess: float


def motion(scan: Scan, evidence: Evidence, scale: float = 1.0) -> Motion | None:
    """How frames move with the positions, whatever the regime; None where too few frames are near each other.

    Args:
        scan: the scan.
        evidence: gathered of it.
        scale: pixels of the detector that the image of a pixel of the object would move.
    """
    frames, values = evidence.sampled, evidence.sample
    mean = values.mean(axis=0, dtype=np.float64)
    usable = scan.mask & ~evidence.flawed.any
    if len(frames) < _FEWEST or not usable.any():
        return None
    usable &= mean > _LIT * float(np.median(mean[usable]))
    relative = np.where(usable, values / np.maximum(mean, 1e-30) - 1, 0)
    smooth, weight = _summed(relative), _summed(usable.astype(np.float64))
    places = scan.positions[frames] * scale
    pairs = _pairs(places, scan.size / 2)
    if len(pairs) < _FEWEST:
        return None
    rows = {
        name: np.array(
            [_alike(smooth[i], smooth[j], weight, turned.of_points((places[j] - places[i])[None])[0]) for i, j in pairs]
        )
        for name, turned in ORIENTATIONS.items()
    }
    best, second = sorted(rows, key=lambda name: -rows[name].mean())[:2]
    more = rows[best] - rows[second]
    sure = more.mean() > _SURE * more.std() / np.sqrt(len(pairs))
    return Motion({name: float(row.mean()) for name, row in rows.items()}, best, float(more.mean()) if sure else 0.0)


def _pairs(places: NDArray[np.float64], most: float) -> list[tuple[int, int]]:
    """Of each place the nearest later one that lies more than two pixels and at most so far away, along both axes differently."""
    found = []
    for one in range(len(places) - 1):
        apart = np.abs(places[one + 1 :] - places[one])
        distance = np.hypot(*apart.T)
        distance[(distance < 2) | (apart.max(axis=1) > most)] = np.inf
        if np.isfinite(distance).any():
            found.append((one, one + 1 + int(np.argmin(distance))))
    return found[:: max(1, len(found) // _PAIRS)][:_PAIRS]


def _alike(one: NDArray[np.float64], other: NDArray[np.float64], weight: NDArray[np.float64], way: NDArray[np.float64]) -> float:
    """Correlation of a frame with another that is moved by ``way`` (row, column), to a whole pixel, where both overlap."""
    here, there = zip(*(_overlap(len(one), int(step)) for step in np.rint(way)), strict=True)
    first, second = one[here], other[there]
    common = (weight[here] > 0) & (weight[there] > 0)
    if common.sum() < one.size / 16:
        return 0.0
    first, second = first[common] - first[common].mean(), second[common] - second[common].mean()
    power = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / power if power > 0 else 0.0


def _overlap(size: int, step: int) -> tuple[slice, slice]:
    """Where a frame and one that is moved by ``step`` overlap: pixel x of the first is pixel x − step of the second."""
    return slice(max(step, 0), size + min(step, 0)), slice(max(-step, 0), size - max(step, 0))


def _summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of 3 x 3 pixels, which tell more of few photons; circular, since edges are few."""
    rows = values + np.roll(values, 1, axis=-2) + np.roll(values, -1, axis=-2)
    found: NDArray[np.float64] = rows + np.roll(rows, 1, axis=-1) + np.roll(rows, -1, axis=-1)
    return found
