"""Where the windows of a scan lie: the object they need, and how much they overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.files.memory import available_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Overlap",
    "check_canvas",
    "far_frames",
    "frames_in_words",
    "nearest_distances",
    "object_canvas",
    "overlap",
    "probe_width",
    "spacing_of",
]

BYTES_PER_PIXEL: Final = 32
"""What a job needs for each pixel of the object: complex64 of the object, of its gradient and of two states."""

_SMALL: Final = 1 << 26
"""Bytes up to which the memory that there is need not be asked for."""

_FAR: Final = 10.0
"""A frame lies far off at this many times the median distance from the middle of the scan."""

_FEW: Final = 2000
"""Positions up to which each is compared with each."""

_NAMED: Final = 8
"""Most frames that a message names by number."""


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

    Raises:
        DataError: as `check_canvas`.
    """
    origin = np.floor(positions.min(axis=0)) - margin
    # After the subtraction, whose rounding can carry a position to the next pixel.
    last = np.floor((positions - origin).max(axis=0))
    rows, columns = (int(corner) + size + margin for corner in np.minimum(last, _FARTHEST))
    check_canvas((rows, columns), positions)
    return origin, (rows, columns)


_FARTHEST: Final = 1e15
"""Pixels that a position is taken to be off at most: no memory holds such an object, and whole numbers are still exact."""


def check_canvas(shape: tuple[int, int], positions: NDArray[np.float64], bytes_per_pixel: int = BYTES_PER_PIXEL) -> None:
    """Refuse an object that the memory cannot hold, before anything is allocated.

    Args:
        shape: (rows, columns) of the object.
        positions: (frame, 2), pixels, that need it.
        bytes_per_pixel: what the job keeps for each pixel.

    Raises:
        DataError: the message gives size and memory, and names the frames that lie far off.
    """
    needed = shape[0] * shape[1] * bytes_per_pixel
    if needed <= _SMALL or needed <= (there := available_bytes()):
        return
    far = far_frames(positions)
    cause = "the positions spread over that much"
    remedy = "Look whether the positions are in object pixels."
    if far.size:
        cause = f"{frames_in_words(far)} {'lies' if len(far) == 1 else 'lie'} far off the rest"
        remedy = "Correct these positions, or leave these frames out of the file."
    raise DataError(
        f"The positions need an object of {shape[0]} x {shape[1]} pixels, {needed / 2**30:.3g} GiB with what a job keeps besides"
        f" it; {there / 2**30:.3g} GiB of memory are free, and {cause}.",
        remedy=remedy,
    )


def far_frames(positions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Numbers of the frames (k,), int64, whose distance from the middle of the scan is ``_FAR`` times the median distance."""
    distance = np.abs(positions - np.median(positions, axis=0)).max(axis=1)
    return np.flatnonzero(distance > _FAR * max(float(np.median(distance)), 1.0)).astype(np.int64)


def frames_in_words(frames: NDArray[np.integer[Any]]) -> str:
    """Frames by number, as a message names them: ``frame 3``, or ``frames 3, 5, 8 and 20 more``."""
    named = ", ".join(str(number) for number in frames[:_NAMED].tolist())
    more = f" and {len(frames) - _NAMED} more" if len(frames) > _NAMED else ""
    return f"frame{'s' * (len(frames) > 1)} {named}{more}"


def probe_width(probe: NDArray[np.complexfloating[Any, Any]]) -> float:
    """Width of a probe in pixels: the diameter of an evenly lit disc as compact as it.

    With the intensity ``I = Σ_m |P_m|²`` the area is ``(ΣI)² / ΣI²``, which faint tails hardly change; the width is
    ``2 √(area / π)``, 0 of a probe without light. ``probe`` is (mode, N, N) or (N, N).
    """
    amplitude = np.abs(np.asarray(probe, dtype=np.complex128))
    if not amplitude.any():
        return 0.0
    intensity = (amplitude / amplitude.max()) ** 2  # no power of it leaves the range of numbers
    intensity = intensity.sum(axis=0) if intensity.ndim == 3 else intensity
    return float(2 * np.sqrt(intensity.sum() ** 2 / (intensity**2).sum() / np.pi))


@dataclass(frozen=True)
class Overlap:
    """How densely a scan was taken.

    Attributes:
        step: median distance from a position to its nearest neighbour, pixels; 0 for a single position.
        spacing: ``√(spanned rectangle / frames)``, pixels: the step of a square raster as dense as this scan; where it is well
            above ``step``, the scan is dense along lines that lie apart.
        width: width of the probe (``probe_width``), pixels, or None without a probe or light in it.
        linear: ``1 - step / width``, the overlap of neighbouring discs along the line that joins them; below 0 they do not touch.
    """

    step: float
    spacing: float
    width: float | None
    linear: float | None


def nearest_distances(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance (frame,) from each of at least two positions (frame, 2) to its nearest neighbor, pixels."""
    if len(positions) > _FEW:
        from scipy.spatial import cKDTree

        found: NDArray[np.float64] = cKDTree(positions).query(positions, k=2)[0][:, 1]
        return found
    distances = np.empty(len(positions))  # without an import that takes longer than this
    rows, columns = np.ascontiguousarray(positions.T)
    for start in range(0, len(positions), 64):
        some = np.arange(start, min(start + 64, len(positions)))
        apart = (rows - rows[some, None]) ** 2 + (columns - columns[some, None]) ** 2
        apart[some - start, some] = np.inf
        distances[some] = apart.min(axis=1)
    return np.sqrt(distances)


def spacing_of(positions: NDArray[np.float64]) -> float:
    """Step of a square raster as dense as a scan: ``√(spanned rectangle / frames)``, pixels, of positions (frame, 2)."""
    return float(np.sqrt(np.prod(np.ptp(positions, axis=0)) / len(positions)))


def overlap(positions: NDArray[np.float64], probe: NDArray[np.complexfloating[Any, Any]] | None) -> Overlap:
    """Step, spacing and linear overlap of a scan; the definitions are those of ``Overlap``."""
    step = float(np.median(nearest_distances(positions))) if len(positions) > 1 else 0.0
    width = None if probe is None else probe_width(probe) or None
    return Overlap(step, spacing_of(positions), width, None if width is None else 1 - step / width)
