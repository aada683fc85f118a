"""What is in a scan, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.scan.canvas import Overlap, object_canvas, overlap
from ptycho_core.scan.plausibility import Doubt, doubts_of, gather

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.scan.scan import Scan, Steps

__all__ = ["Summary", "summarise"]


@dataclass(frozen=True, eq=False)
class Summary:
    """Numbers of a scan; counts are over good pixels.

    Attributes:
        mean: mean counts of a pattern.
        faintest, brightest: counts of the pattern with the fewest, the most.
        peak: largest count of a pixel.
        total: counts of all patterns.
        zeros: part of the pixels that are zero.
        whole: all counts are whole numbers.
        mean_pattern: (N, N), float64, mean counts of each pixel.
        overlap: step, spacing, width of the probe, linear overlap.
        extent: (rows, columns) spanned by the positions, pixels.
        canvas: (rows, columns) of the smallest object that holds all windows.
        mode_powers: part of each probe mode, adding to 1; empty without a probe.
        probe_counts: ``Σ|P|²`` as stored, or None without a probe.
        empty_frames: number of patterns without a count.
        doubts: what is implausible.
    """

    mean: float
    faintest: float
    brightest: float
    peak: float
    total: float
    zeros: float
    whole: bool
    mean_pattern: NDArray[np.float64]
    overlap: Overlap
    extent: tuple[float, float]
    canvas: tuple[int, int]
    mode_powers: tuple[float, ...]
    probe_counts: float | None
    empty_frames: int
    doubts: tuple[Doubt, ...]


def summarise(scan: Scan, progress: Steps | None = None) -> Summary:
    """Read all patterns once, in chunks, and sum them up.

    Raises:
        DataError: a pattern is negative or not finite, or the file is damaged.
    """
    evidence = gather(scan, progress, every=True)
    sums = evidence.sums
    powers = np.zeros(0) if scan.probe is None else (np.abs(scan.probe.astype(np.complex128)) ** 2).sum(axis=(1, 2))
    dense = overlap(scan.positions, scan.probe)
    extent = np.ptp(scan.positions, axis=0)
    return Summary(
        mean=float(sums.mean()),
        faintest=float(sums.min()),
        brightest=float(sums.max()),
        peak=float(evidence.tally.highest.max()),
        total=float(sums.sum()),
        zeros=evidence.zeros / (len(scan) * int(scan.mask.sum())),
        whole=evidence.whole,
        mean_pattern=evidence.mean_pattern,
        overlap=dense,
        extent=(float(extent[0]), float(extent[1])),
        canvas=object_canvas(scan.positions, scan.size)[1],
        mode_powers=tuple(float(part) for part in powers / powers.sum()) if powers.any() else (),
        probe_counts=float(powers.sum()) if powers.size else None,
        empty_frames=int((sums == 0).sum()),
        doubts=doubts_of(scan, evidence),
    )
