"""Pixels of a detector that measure no light: what each pixel did over all frames, and what that says of it.

A pixel is *constant* if it holds the same value in frames where photon noise alone would change it; *saturated* if its counts
end at one same value, the largest of their type or another; *dead* if it is 0 in all frames amid lit neighbors; and *hot* if it
is far above all its neighbors where no beam can be as sharp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.scan.beam_stop import is_stopped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Pixels = NDArray[np.bool_]

__all__ = ["FlawedPixels", "PixelTally", "flawed_pixels", "largest_of"]

FEWEST_FRAMES: Final = 8
"""Fewer frames say nothing of what a pixel does in time."""

_CHANCE: Final = 1e-8
"""How improbable it must be that photon noise left a pixel as it was."""

_LIT: Final = 50.0
"""Counts over all frames, in units of one photon, of the neighbors of a dead pixel: 0 next to it is then no chance."""

_BRIGHT: Final = 1000.0
"""The same around a region of any size that is 0 in all frames, such as a beamstop."""

_NARROW: Final = 5
"""Pixels across the square that closes a dark feature: dead pixels, lines and gaps up to 4 pixels wide."""

_ONE_FRAME: Final = 0.3
"""Where one frame holds more than this part of all counts, dead and hot pixels are not looked for."""

_RING: Final = 0.2
"""A pixel that the probe alone lights by less than this part of what lies around it may be dark."""

_SHARPNESS: Final = (4.0, 20.0, 10.0)
"""A hot pixel is above its brightest neighbor by so many times the sharpest peak of the probe's far field, by no more than the
second and, where there is no probe, by the third."""


class PixelTally:
    """What each pixel of a detector held, over the frames that were added.

    Attributes:
        frames: number of frames.
        total: (N, N), float64, sum over the frames; what is not finite counts as 0.
        highest: (N, N), float64, largest value.
        at_highest: (N, N), int64, number of frames in which a pixel held it.
        finite: (N, N), bool, whether a pixel was finite in all frames.
        sums: (frames,), float64, sum of each frame, in the order in which they were added.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.frames = 0
        self.total = np.zeros(shape)
        self.highest = np.full(shape, -np.inf)
        self.at_highest = np.zeros(shape, dtype=np.int64)
        self.finite = np.ones(shape, dtype=np.bool_)
        self.sums = np.zeros(0)

    def add(self, values: NDArray[Any]) -> None:
        """Count frames (k, N, N) of any real type in."""
        if values.dtype.kind == "f" and not np.isfinite(values.sum()):
            known = np.isfinite(values)
            self.finite &= known.all(axis=0)
            values = np.where(known, values, 0)
        highest = values.max(axis=0)
        here = (values == highest).sum(axis=0)
        before, now = self.highest, highest.astype(np.float64)
        self.at_highest = np.where(now > before, here, self.at_highest + np.where(now == before, here, 0))
        self.highest = np.maximum(before, now)
        self.total += values.sum(axis=0, dtype=np.float64)
        self.sums = np.append(self.sums, values.sum(axis=(1, 2), dtype=np.float64))
        self.frames += len(values)


@dataclass(frozen=True, eq=False)
class FlawedPixels:
    """Pixels that measure no light, each (N, N), bool, each pixel in one of them at most.

    Attributes:
        saturated: their counts end at ``level``.
        dead: 0 in all frames amid lit neighbors.
        hot: far above all neighbors.
        constant: the same value, other than 0, in all frames.
        infinite: not finite in some frame.
        level: the value that saturated pixels end at; 0 without such pixels.
        all_alike: most lit pixels are constant, so that the frames are one, and no pixel is blamed for it.
    """

    saturated: Pixels
    dead: Pixels
    hot: Pixels
    constant: Pixels
    infinite: Pixels
    level: float = 0.0
    all_alike: bool = False

    @property
    def any(self) -> Pixels:
        """All of them."""
        return self.saturated | self.dead | self.hot | self.constant | self.infinite

    def kinds(self) -> Iterator[tuple[str, Pixels]]:
        """The kinds that occur, each with its pixels."""
        for name in ("saturated", "dead", "hot", "constant", "infinite"):
            if (found := getattr(self, name)).any():
                yield name, found


def largest_of(dtype: np.dtype[Any]) -> float | None:
    """The largest value of a type of whole numbers; None for other types, which do not end where a detector does."""
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else None


def flawed_pixels(
    tally: PixelTally,
    good: Pixels,
    *,
    largest: float | None = None,
    unit: float = 1.0,
    floor: float = 0.0,
    empty: NDArray[np.float64] | None = None,
) -> FlawedPixels:
    """Find the pixels that measure no light.

    Args:
        tally: what each pixel held.
        good: (N, N), pixels to look at.
        largest: the largest value that the type of the stored counts can hold, as the tally would have it, or None.
        unit: the value of one photon.
        floor: a level that nearly all counts lie above, such as a dark level; what lies at it is no flaw.
        empty: (N, N), mean pattern of the probe without an object, in any unit, or None.
    """
    infinite = good & ~tally.finite
    rest = good & ~infinite
    constant = rest & _constant(tally, unit, floor)
    illuminated = rest & (tally.total > 0)
    all_alike = int(constant.sum()) > max(0.5 * int(illuminated.sum()), 1) and not _flags(tally, constant, largest)
    if all_alike:
        constant = np.zeros_like(constant)
    rest &= ~constant
    saturated, level = _saturated(tally, rest, largest, unit, floor, enough=tally.frames >= FEWEST_FRAMES and not all_alike)
    rest &= ~saturated
    if tally.sums.max() > _ONE_FRAME * tally.sums.sum() and tally.frames >= FEWEST_FRAMES:  # they say nothing of the others
        return FlawedPixels(saturated, np.zeros_like(rest), np.zeros_like(rest), constant, infinite, level, all_alike)
    regular = good & ~constant & ~infinite
    hot = rest & _hot(np.maximum(tally.total - floor * tally.frames, 0) / unit, regular, empty)
    dead = rest & _dead(tally.total / unit, regular, empty)
    return FlawedPixels(saturated, dead, hot, constant, infinite, level, all_alike)


def _commonest(photons: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest part of the frames in which photon noise can give so many photons n: ``1 / √(2π n)``, 0.4 at most."""
    found: NDArray[np.float64] = 1 / np.sqrt(2 * np.pi * np.maximum(np.abs(photons), 1.0))
    return found


def _constant(tally: PixelTally, unit: float, floor: float) -> Pixels:
    same = (tally.at_highest == tally.frames) & (tally.highest != 0) & (tally.highest != floor)
    chance = (tally.frames - 1) * np.log(_commonest(np.where(same, (tally.highest - floor) / unit, 1)))
    found: Pixels = same & (chance < np.log(_CHANCE)) & (tally.frames >= FEWEST_FRAMES)
    return found


def _flags(tally: PixelTally, constant: Pixels, largest: float | None) -> bool:
    """Whether constant pixels hold one value, as flags do, which is negative, or the largest."""
    values = np.unique(tally.highest[constant])
    return values.size <= 2 and bool(values[0] < 0 or values[-1] == largest)


def _saturated(
    tally: PixelTally, rest: Pixels, largest: float | None, unit: float, floor: float, *, enough: bool
) -> tuple[Pixels, float]:
    """Pixels whose counts end at one value."""
    none = np.zeros_like(rest)
    if largest is not None and (full := rest & (tally.highest >= largest)).any():
        return full, largest
    rest = rest & (tally.highest > floor)
    if not enough or not rest.any():
        return none, 0.0
    values, place, pixels = np.unique(tally.highest[rest], return_inverse=True, return_counts=True)
    held = np.bincount(place.ravel(), weights=tally.at_highest[rest]).astype(np.float64)
    photons = (values - floor) / unit
    often = _often(photons, pixels, held, tally.frames)
    if _many(photons, pixels):
        often[-1] = True
    if not often.any():
        return none, 0.0
    level = float(values[np.flatnonzero(often)[-1]])
    return rest & (tally.highest == level), level


def _often(
    photons: NDArray[np.float64], pixels: NDArray[np.signedinteger[Any]], held: NDArray[np.float64], frames: int
) -> Pixels:
    """Whether pixels that end at a value hold it in more frames than photon noise can: twice the most, and 5 deviations.

    Args:
        photons: (value,), the values that pixels end at.
        pixels: (value,), number of pixels that do.
        held: (value,), frames in which they hold it, of all these pixels together.
        frames: number of frames.
    """
    most = np.minimum(2 * _commonest(photons), 0.9) * pixels * (frames - 1)
    again = held - pixels  # one frame each has the largest value in any case
    found: Pixels = (photons >= 4) & (again > most + 5 * np.sqrt(most) + 3)
    return found


def _many(photons: NDArray[np.float64], pixels: NDArray[np.signedinteger[Any]]) -> bool:
    """Whether more pixels end at the highest value of all than at any value of half of it and above."""
    others = pixels[:-1][photons[:-1] >= photons[-1] / 2]
    return bool(photons[-1] >= 8 and pixels[-1] >= 6 and pixels[-1] > 3 * max([*others.tolist(), 1]))


def _hot(total: NDArray[np.float64], good: Pixels, empty: NDArray[np.float64] | None) -> Pixels:
    """Pixels above all neighbors by more than a beam can be; those round zero frequency are not looked at without a probe."""
    low, high, without = _SHARPNESS
    times = without
    if empty is not None:
        bright = empty > 1e-3 * empty.max()
        around = _brightest_neighbor(empty, np.ones_like(good))
        sharpest = (empty[bright] / np.maximum(around[bright], 1e-30)).max(initial=0.0)  # a dark probe is bright nowhere
        times = min(max(low * float(sharpest), low), high)
    around = _brightest_neighbor(total, good)
    sure = total - 5 * np.sqrt(total)
    found: Pixels = sure > times * (around + 5 * np.sqrt(around + 1)) + 10
    if empty is not None and is_stopped(1 - float(empty[good].sum() / max(empty.sum(), 1e-300))):
        found &= _brightest_neighbor((~good).astype(np.float64), np.ones_like(good)) == 0  # the light falls steeply from its edge
    if empty is None:
        middle = len(total) // 2
        found[middle - 1 : middle + 2, middle - 1 : middle + 2] = False
    return found


def _brightest_neighbor(total: NDArray[np.float64], good: Pixels) -> NDArray[np.float64]:
    padded = np.pad(np.where(good, total, 0), 1)
    size = total.shape
    shifted = [
        padded[row : row + size[0], column : column + size[1]]
        for row in range(3)
        for column in range(3)
        if (row, column) != (1, 1)
    ]
    found: NDArray[np.float64] = np.max(shifted, axis=0)
    return found


def _dead(total: NDArray[np.float64], good: Pixels, empty: NDArray[np.float64] | None) -> Pixels:
    """Pixels that are 0 in all frames in a narrow dark feature amid light, in a band of whole rows or columns, or in a hole."""
    dark = (total <= 0) & good
    if not dark.any():
        return dark
    around = _closed(np.where(good, total, 0))
    found: Pixels = dark & (around >= _LIT)
    if empty is not None:  # a beam may have rings that are as narrow, and lie a little elsewhere than its guess has them
        even = _least(empty) > _RING * _closed(empty)
        found &= even | (around >= 100 * _BRIGHT)
    else:
        found &= around >= 6 * _LIT
    for axis in (0, 1):
        found |= dark & _bands((total <= 0) | ~good, total, axis)
    beside = dark & ~found & (_brightest_neighbor(total, good) >= _BRIGHT)
    return found | _holes(dark, total, good) if beside.any() else found


def _least(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least value in the square of ``_NARROW`` pixels around each."""
    for axis in (0, 1):
        around = [(0, 0), (0, 0)]
        around[axis] = (_NARROW // 2, _NARROW // 2)
        padded, length = np.pad(values, around, mode="edge"), values.shape[axis]
        values = np.min([padded.take(range(first, first + length), axis=axis) for first in range(_NARROW)], axis=0)
    return values


def _closed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values with dark features filled that are narrower than that square: the least of the largest around."""
    return _least(-_least(-values))


def _holes(dark: Pixels, total: NDArray[np.float64], good: Pixels) -> Pixels:
    """Dark regions of any size that bright pixels enclose; the dark outer part of a pattern reaches its edge."""
    from scipy import ndimage

    regions, number = ndimage.label(dark)
    rims = np.where(dark | ~good, 0, ndimage.grey_dilation(regions, size=(3, 3)))
    bright = np.zeros(number + 1, dtype=np.bool_)
    rimmed = np.unique(rims[rims > 0])
    bright[rimmed] = np.asarray(ndimage.median(total, rims, rimmed)) >= _BRIGHT
    for edge in (regions[0], regions[-1], regions[:, 0], regions[:, -1]):
        bright[edge] = False
    bright[0] = False
    found: Pixels = bright[regions]
    return found


def _bands(dark: Pixels, total: NDArray[np.float64], axis: int) -> Pixels:
    """Rows (axis 0) or columns that are dark throughout, between two that are lit."""
    along = np.asarray(dark.all(axis=1 - axis))
    peak = total.max(axis=1 - axis)
    illuminated = np.flatnonzero(peak >= _LIT)
    if not illuminated.size:
        return np.zeros_like(dark)
    number = np.arange(len(along))
    between: Pixels = along & (number > illuminated[0]) & (number < illuminated[-1])
    return np.broadcast_to(np.expand_dims(between, 1 - axis), dark.shape)
