"""Where the windows of a scan lie: the object they need, and how much they overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Overlap", "object_canvas", "overlap", "probe_width"]


def object_canvas(positions: NDArray[np.float64], size: int, margin: int = 0) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """The smallest object that holds every window of a scan, with a margin.

    A window is N x N pixels at ``floor(position)``; the remainder moves the probe inside it.

    Args:
        positions: (frame, 2), (row, column) of the windows' ``[0, 0]`` corners, pixels, any common offset.
        size: N, the pixels across a window.
        margin: pixels to spare at each side, for positions that will move.

    Returns:
        ``origin`` (2,), float64, whole numbers: where the object's ``[0, 0]`` pixel lies in the coordinates of ``positions``, so
        that ``positions - origin`` index the object; and its shape (rows, columns).
    """
    origin = np.floor(positions.min(axis=0)) - margin
    # After the subtraction, whose rounding can carry a position to the next pixel.
    last = np.floor((positions - origin).max(axis=0))
    rows, columns = (int(corner) + size + margin for corner in last)
    return origin, (rows, columns)


def probe_width(probe: NDArray[np.complexfloating[Any, Any]]) -> float:
    """Width of a probe in pixels: the diameter of an evenly lit disc as compact as it.

    With the intensity ``I = Σ_m |P_m|²`` the area is ``(ΣI)² / ΣI²``, which faint tails hardly change; the width is
    ``2 √(area / π)``. ``probe`` is (mode, N, N) or (N, N).
    """
    intensity = np.abs(np.asarray(probe, dtype=np.complex128)) ** 2
    intensity = intensity.sum(axis=0) if intensity.ndim == 3 else intensity
    return float(2 * np.sqrt(intensity.sum() ** 2 / (intensity**2).sum() / np.pi))


@dataclass(frozen=True)
class Overlap:
    """How densely a scan was taken.

    Attributes:
        step: median distance from a position to its nearest neighbour, pixels; 0 for a single position.
        spacing: ``√(spanned rectangle / frames)``, pixels: the step of a square raster as dense as this scan; where it is well
            above ``step``, the scan is dense along lines that lie apart.
        width: width of the probe (``probe_width``), pixels, or None without a probe.
        linear: ``1 - step / width``, the overlap of neighbouring discs along the line that joins them; below 0 they do not touch.
    """

    step: float
    spacing: float
    width: float | None
    linear: float | None


def overlap(positions: NDArray[np.float64], probe: NDArray[np.complexfloating[Any, Any]] | None) -> Overlap:
    """Step, spacing and linear overlap of a scan; the definitions are those of ``Overlap``."""
    from scipy.spatial import cKDTree

    step = 0.0
    if len(positions) > 1:
        step = float(np.median(cKDTree(positions).query(positions, k=2)[0][:, 1]))
    spacing = float(np.sqrt(np.prod(np.ptp(positions, axis=0)) / len(positions)))
    width = None if probe is None else probe_width(probe)
    return Overlap(step, spacing, width, None if width is None else 1 - step / width)
