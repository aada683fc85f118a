"""What is implausible about the positions of a scan, one function a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ptycho_core.scan.canvas import frames_in_words, nearest_distances, object_canvas, overlap
from ptycho_core.scan.doubt import Doubt
from ptycho_core.scan.selection import frame_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ptycho_core.scan.scan import Scan

    Find = Callable[[Scan], Iterator[Doubt]]

__all__ = ["DOUBTS_OF_POSITIONS"]

_SPAN: Final = 1.0
"""Pixels that positions must span."""

_STEP: Final = 0.01
"""Pixels that a step must be at least."""

_METRES: Final = 1e-2
"""Positions that span less than this, and differ, are likely in metres."""

_FLAT: Final = 1e-3
"""Positions lie on one line where they span less than this part of its length across it, or less than a tenth of a pixel."""

_STRAY: Final = 5.0
"""A frame is astray at so many median steps from its nearest neighbor, if it is a probe's width away, too."""

_COVERED: Final = 0.05
"""Part of the object that the windows should cover."""

_COLLAPSED: Final = 0.02
"""Positions that were stored in float32 have lost digits where its spacing is above this many pixels."""


def too_few(scan: Scan) -> Iterator[Doubt]:
    """One frame, or one place."""
    places = len(np.unique(scan.positions, axis=0))
    if places > 1:
        return
    what = "There is only one frame" if len(scan) == 1 else f"All {len(scan)} positions are the same"
    where = " " + _coordinates(scan.positions[0]) if len(scan) > 1 else ""
    yield Doubt("positions", "unusable", f"{what}{where}: ptychography needs overlapping frames at different positions.")


def collapsed(scan: Scan) -> Iterator[Doubt]:
    """Positions with a common offset so large that float32 could not tell them apart."""
    largest = float(np.abs(scan.positions).max())
    if not np.array_equal(scan.positions, scan.positions.astype(np.float32)) or largest > 3e38:
        return
    lost = float(np.spacing(np.float32(largest)))
    if lost > _COLLAPSED and largest > 1e3 * max(float(np.ptp(scan.positions, axis=0).max()), 1.0):
        said = f"The positions lie about {largest:.3g} px and have the digits of float32, which differ by {lost:.3g} px there"
        yield Doubt("positions", "doubtful", f"{said}: subtract the common offset before they are stored, or store float64.")


def extent(scan: Scan) -> Iterator[Doubt]:
    """A span below a pixel, steps of nothing, or all on one line."""
    if len(np.unique(scan.positions, axis=0)) < 2:
        return
    span, step = float(np.ptp(scan.positions, axis=0).max()), overlap(scan.positions, None).step
    if span < _SPAN:
        unit = "they seem to be in metres: divide them by the object pixel in metres" if span < _METRES else "are they in pixels?"
        yield Doubt("positions", "unusable", f"The positions span {span:.3g} px, less than one pixel; {unit}.")
        return
    if 0 < step < _STEP:
        yield Doubt("positions", "doubtful", f"The median step is {step:.3g} px; are the positions in object pixels?")
    lengths = np.linalg.svd(scan.positions - scan.positions.mean(axis=0), compute_uv=False) / np.sqrt(len(scan))
    if len(scan) > 2 and lengths[-1] < max(_FLAT * lengths[0], 0.1):
        said = f"All {len(scan)} positions lie on one line"
        yield Doubt(
            "positions", "doubtful", f"{said}: the object is not determined across it; look whether a coordinate is missing."
        )


def stuck(scan: Scan) -> Iterator[Doubt]:
    """Frames with exactly the position of the frame before, as an encoder that is stuck gives, and positions taken twice."""
    if len(np.unique(scan.positions, axis=0)) < 2:
        return
    if overlap(scan.positions, None).step == 0:
        yield Doubt("repeated", "doubtful", "Most positions are taken twice. Look whether the positions have enough digits.")
    same = 1 + np.flatnonzero((np.diff(scan.positions, axis=0) == 0).all(axis=1))
    if same.size:
        who = frames_in_words(frame_numbers(scan)[same])
        said = f"{len(same)} frame{'s' * (len(same) > 1)} have exactly the position of the frame before ({who})"
        yield Doubt("repeated", "doubtful", f"{said}: an encoder may have been stuck; leave them out or use --refine-positions.")


def apart(scan: Scan) -> Iterator[Doubt]:
    """Windows or spots without overlap: of all frames, or of some far away."""
    if len(scan) < 2 or float(np.ptp(scan.positions, axis=0).max()) < _SPAN:
        return
    dense = overlap(scan.positions, scan.probe)
    nearest = nearest_distances(scan.positions)
    if dense.step >= scan.size:
        said = (
            f"Neighbouring spots hardly overlap: the median step of {dense.step:.4g} px is above the {scan.size} px of a window"
        )
        yield Doubt("overlap", "unusable", f"{said}; are the positions in object pixels?")
        return
    if dense.linear is not None and dense.linear < 0.4:
        said = f"Neighbouring spots hardly overlap ({max(dense.linear, 0):.0%}); are the positions in object pixels?"
        yield Doubt("overlap", "doubtful", f"{said} Steps below half of the probe's width are usual.")
    typical = float(np.median(nearest[nearest > 0])) if (nearest > 0).any() else 0.0
    width = scan.size if dense.width is None else min(dense.width, scan.size)
    stray = np.flatnonzero((nearest > _STRAY * typical) & (nearest > width)) if len(scan) > 3 else np.zeros(0, np.int64)
    if stray.size:
        who = frames_in_words(frame_numbers(scan)[stray])
        verb = "lies" if stray.size == 1 else "lie"
        said = f"{who[0].upper()}{who[1:]} {verb} far from all others ({nearest[stray].max():.4g} px)"
        yield Doubt("stray", "doubtful", f"{said}: correct these positions, or leave these frames out of the file.")


def sparse(scan: Scan) -> Iterator[Doubt]:
    """An object that is hardly covered."""
    _, shape = object_canvas(scan.positions, scan.size)
    covered = _covered(scan.positions, scan.size, shape)
    if covered < _COVERED:
        gib = shape[0] * shape[1] * 8 / 2**30
        said = f"The windows cover {covered:.1%} of an object of {shape[0]} x {shape[1]} px ({gib:.2g} GiB)"
        yield Doubt("canvas", "doubtful", f"{said}; look whether positions are in object pixels, and whether some are far off.")


def _covered(positions: NDArray[np.float64], size: int, shape: tuple[int, int]) -> float:
    """Part of the object on which a window lies, at most: by cells of half a window."""
    cell = max(1, size // 2)
    corners = np.floor((positions - positions.min(axis=0)) / cell).astype(np.int64)
    illuminated = np.unique(
        np.concatenate([corners + np.array([row, column]) for row in range(2) for column in range(2)]), axis=0
    )
    area = float(shape[0]) * shape[1]
    return min(1.0, len(illuminated) * cell**2 / area, len(positions) * size**2 / area)


def _coordinates(place: NDArray[np.float64]) -> str:
    return f"(row {place[0]:.6g}, column {place[1]:.6g})"


DOUBTS_OF_POSITIONS: Final[tuple[Find, ...]] = (too_few, collapsed, extent, stuck, apart, sparse)
"""What is looked for, in this order."""
