"""What one reading of a scan gathers for its summary and for the doubts about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.scan.canvas import object_canvas
from ptycho_core.scan.kept import KeptPatterns
from ptycho_core.scan.pixels import FlawedPixels, PixelTally, flawed_pixels, largest_of
from ptycho_core.scan.scan import CHUNK, empty_pattern

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.scan.scan import Scan, Steps

__all__ = ["Evidence", "floor_of", "gather", "unit_of"]

SAMPLED_FRAMES: Final = 256
"""Frames, spread over the scan, that are looked at where the patterns are not kept."""

_READ_ANYWAY: Final = 1 << 26
"""Bytes, as float32, of patterns that are all looked at, even if they are not kept."""

_SMALL_COUNTS: Final = 48
"""Frames, spread over those that are read, whose pixels are looked at one by one."""


_ONE: Final = 0.1
"""Part of what dim pixels count that is one photon at least; some of it may be less, by a flat field."""

_LOWEST: Final = 300
"""Different values, the lowest of a scan, whose spacing is looked at."""

_FLOOR: Final = 0.02
"""Part of the counts that may lie below the floor, such as those of dead pixels."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Numbers of the frames that were read; counts are over good pixels.

    Attributes:
        frames: (k,), int64, numbers of the frames that were read; all of them, but where the scan is too large to be kept.
        sums: (k,), float64, counts of each of these frames.
        tally: what each pixel held.
        whole: all counts are whole numbers.
        zeros: pixels of all these frames that are 0.
        sample: (j, N, N), float32, some of these frames.
        unit: the value of one photon, as `unit_of` finds it; None where nothing says it.
        flawed: pixels that measure no light.
    """

    frames: NDArray[np.int64]
    sums: NDArray[np.float64]
    tally: PixelTally
    whole: bool
    zeros: int
    sample: NDArray[np.float32]
    unit: float | None = None
    flawed: FlawedPixels = field(default=None)  # type: ignore[assignment]  # `gather` finds it from the rest

    @property
    def sampled(self) -> NDArray[np.int64]:
        """(j,), int64, numbers of the frames of ``sample``."""
        return self.frames[:: _stride(len(self.frames))][: len(self.sample)]

    @property
    def mean_pattern(self) -> NDArray[np.float64]:
        """(N, N), mean counts of each pixel."""
        return self.tally.total / len(self.frames)


def gather(scan: Scan, progress: Steps | None = None, *, every: bool = False) -> Evidence:
    """Read the patterns once, in chunks.

    Args:
        scan: the scan; where its patterns are neither kept nor small, ``SAMPLED_FRAMES`` of them, spread over it, are read.
        progress: called with how many frames were read.
        every: whether all frames are read in any case.

    Raises:
        DataError: as ``Patterns.read`` and ``object_canvas``.
    """
    object_canvas(scan.positions, scan.size)  # refuses positions that no job could use, before anything is read
    small = 4 * np.prod(scan.patterns.shape, dtype=float) <= _READ_ANYWAY
    whole_scan = every or small or isinstance(scan.patterns, KeptPatterns)
    number = len(scan) if whole_scan else min(len(scan), SAMPLED_FRAMES)
    frames = np.unique(np.linspace(0, len(scan) - 1, number).astype(np.int64))
    tally = PixelTally((scan.size, scan.size))
    whole, zeros, sampled = True, 0, list[Any]()
    stride = _stride(len(frames))
    for start in range(0, len(frames), CHUNK):
        counts = scan.patterns.read(frames[start : start + CHUNK])
        tally.add(counts)
        whole = whole and bool((counts == np.rint(counts)).all())
        zeros += counts.size - int(np.count_nonzero(counts)) - len(counts) * int((~scan.mask).sum())
        sampled.append(counts[-start % stride :: stride].copy())
        if progress is not None:
            progress(start + len(counts), len(frames))
    sample = np.concatenate(sampled)
    unit = unit_of(sample, scan.mask)
    flawed = flawed_pixels(
        tally, scan.mask, largest=_largest(scan), unit=1.0 if unit is None else unit, floor=floor_of(sample, scan.mask),
        empty=None if scan.probe is None else empty_pattern(scan.probe, scan.propagation),
    )  # fmt: skip
    return Evidence(frames, tally.sums, tally, whole, zeros, sample, unit, flawed)


def _stride(frames: int) -> int:
    """How far apart the frames are, of so many, that are kept as a sample."""
    return max(1, frames // _SMALL_COUNTS)


def _largest(scan: Scan) -> float | None:
    """The largest count that the stored type can hold, as it is read without a dark; None for types without an end."""
    stored = largest_of(scan.patterns.dtype)
    if stored is None:
        return None
    return float(np.float32((stored**2 if scan.signal == "amplitude" else stored) * scan.counts_factor))


def unit_of(sample: NDArray[Any], mask: NDArray[np.bool_]) -> float | None:
    """The value of one photon in counts (k, N, N); None where they do not say.

    In pixels that are 0 in four frames of five and more it is a low quantile of what is not 0; where there are none such, the
    spacing of the lowest values, if they lie at whole multiples of one.
    """
    if len(sample) < 5:
        return None
    illuminated = np.count_nonzero(sample, axis=0)
    dim = mask & (illuminated > 0) & (illuminated <= len(sample) / 5)
    values = sample[:, dim]
    values = values[values > 0]
    return float(np.quantile(values, _ONE)) if values.size >= 50 else _spacing(np.unique(sample[:, mask])[:_LOWEST])


def _spacing(values: NDArray[Any]) -> float | None:
    """The spacing of ascending values that lie at whole multiples of one; None where they do not."""
    apart = np.diff(values.astype(np.float64))
    if len(apart) < 20:
        return None
    if (apart == np.rint(apart)).all():
        return float(np.gcd.reduce(np.minimum(apart, 2.0**53).astype(np.int64)))
    least = float(apart.min())
    multiples = apart / least
    return least if (np.abs(multiples - np.rint(multiples)) < 0.02).mean() > 0.99 and multiples.max() < 1e3 else None


def floor_of(sample: NDArray[Any], mask: NDArray[np.bool_]) -> float:
    """A level that nearly all counts (k, N, N) in good pixels lie at or above; not below 0."""
    return max(0.0, float(np.quantile(sample[:, mask], _FLOOR, method="lower")))
