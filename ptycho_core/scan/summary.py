"""What is in a scan, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.scan.canvas import Overlap, object_canvas, overlap
from ptycho_core.scan.scan import pattern_chunks

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
        doubts: what looks wrong, a sentence each.
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
    doubts: tuple[str, ...]


def summarise(scan: Scan, progress: Steps | None = None) -> Summary:
    """Read all patterns once, in chunks, and sum them up.

    Raises:
        DataError: a pattern is negative or not finite, or the file is damaged.
    """
    mean_pattern = np.zeros(scan.mask.shape)
    sums = np.empty(len(scan))
    peak, zeros, whole = 0.0, 0, True
    for frames, counts in pattern_chunks(scan, progress):
        mean_pattern += counts.sum(axis=0, dtype=np.float64) / len(scan)
        sums[frames] = counts.sum(axis=(1, 2), dtype=np.float64)
        peak = max(peak, float(counts.max()))
        zeros += int((counts[:, scan.mask] == 0).sum())
        whole = whole and bool((counts == np.round(counts)).all())
    powers = np.zeros(0) if scan.probe is None else (np.abs(scan.probe.astype(np.complex128)) ** 2).sum(axis=(1, 2))
    dense = overlap(scan.positions, scan.probe)
    extent = np.ptp(scan.positions, axis=0)
    return Summary(
        mean=float(sums.mean()),
        faintest=float(sums.min()),
        brightest=float(sums.max()),
        peak=peak,
        total=float(sums.sum()),
        zeros=zeros / (len(scan) * int(scan.mask.sum())),
        whole=whole,
        mean_pattern=mean_pattern,
        overlap=dense,
        extent=(float(extent[0]), float(extent[1])),
        canvas=object_canvas(scan.positions, scan.size)[1],
        mode_powers=tuple(float(part) for part in powers / powers.sum()) if powers.size else (),
        probe_counts=float(powers.sum()) if powers.size else None,
        empty_frames=int((sums == 0).sum()),
        doubts=tuple(_doubts(scan, mean_pattern, sums, dense)),
    )


def _doubts(scan: Scan, mean_pattern: NDArray[np.float64], sums: NDArray[Any], dense: Overlap) -> list[str]:
    doubts = []
    if not sums.any():
        return ["The patterns hold no counts at all."]
    if not sums.all():
        doubts.append(f"{int((sums == 0).sum())} patterns hold no counts.")
    half, quarter = scan.size // 2, max(1, scan.size // 4)
    middle = mean_pattern[half - quarter : half + quarter, half - quarter : half + quarter].sum()
    if middle < 0.25 * mean_pattern.sum():
        doubts.append("Most counts lie in the outer part of the patterns; is zero frequency at the centre?")
    if dense.linear is not None and dense.linear < 0.4:
        doubts.append("Neighbouring spots hardly overlap; are the positions in object pixels?")
    if len(scan) > 1 and dense.step == 0:
        doubts.append("Most positions are taken twice.")
    if scan.signal == "amplitude" and not any("settings state" in note for note in scan.notes):
        root = np.sqrt(scan.patterns.read(slice(0, 1)))
        if np.allclose(root, np.round(root), atol=1e-6):
            doubts.append("The stored values are whole numbers, read as amplitudes; if they are counts, give --signal counts.")
    return doubts
