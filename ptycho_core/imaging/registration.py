"""Bring a reconstructed object onto a reference: remove what ptychography cannot know.

The patterns of a far-field scan do not change when the object is multiplied by a phase factor or a linear phase ramp (the probe
takes the opposite ramp), when object and probe are shifted together, or when a factor moves from one to the other; nor when
object, probe and positions are rotated by 180 degrees and the first two conjugated (the *twin*).

Within an area ``A`` of the reference this module minimises ::

    Σ_{x ∈ A} |reference(x) − c · exp(i k·(x − x₀)) · object(x − offset − s)|²

over the complex factor ``c``, the ramp ``k`` and the shift ``s`` (|s| ≤ ``max_shift`` on each axis).

What is sought is found on a crop of the area first, so that the whole area takes a few steps only. A crop that leaves the shift
uncertain, or that the whole area contradicts, is followed by a larger one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.imaging.area import Area
from ptycho_core.imaging.candidates import Candidate, candidates, error_without_structure
from ptycho_core.imaging.refinement import Fit, refine
from ptycho_core.imaging.shifting import Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.imaging.shifting import Complex

__all__ = ["MAX_SHIFT", "Registration", "register"]

MAX_SHIFT = 8.0  # pixels, where no one asks for another bound
_CROPS = (512, 1024)  # pixels across
_SMALL = 1.25  # an area that is no larger than this times a crop is taken whole
_LAG, _STRIDE = 8, 4  # pixels over which a crop's structure is measured, and between the pixels that are looked at
_COARSE, _FINE = 1e-3, 1e-4  # last step on a crop and on the whole area, pixels or radians
_REFINED, _NEAR = 2, 3.0  # candidates refined on a crop, at least so many pixels apart
_RIVAL = 1.1  # fits of a crop with up to this times the smallest error are compared on the whole area
_UNCERTAIN = 0.1  # pixels
_CLEAR = 0.25  # of the error of an object without structure: below it no other shift is tried on a crop
_BETTER = 0.9  # of the error: what a wider search has to find where the narrow one did not end on its bound


@dataclass(frozen=True)
class Registration:
    """An object on the grid of a reference, and what was removed to bring it there.

    Attributes:
        aligned: complex128, the object over ``area``, comparable with ``reference[area.slices]`` pixel by pixel.
        area: where the two were compared, in pixels of the reference.
        offset: whole pixels (row, column) between the two grids that were known or guessed beforehand.
        shift: pixels (row, column) found on top of ``offset``.
        ramp: radians per pixel (row, column) by which the object was multiplied.
        factor: the complex factor by which the object was multiplied.
        twin: True if the object was rotated by 180 degrees and conjugated first.
        error: relative l2 error that is left, ``‖aligned − reference‖ / ‖reference‖`` over the area.
        max_shift: bound of the search that found the shift, pixels on each axis.
        widened: True if that bound is wider than the one that is taken unless another is asked for.
    """

    aligned: NDArray[np.complex128]
    area: Area
    offset: tuple[int, int]
    shift: tuple[float, float]
    ramp: tuple[float, float]
    factor: complex
    twin: bool
    error: float
    max_shift: float
    widened: bool = False

    @property
    def on_bound(self) -> bool:
        """Whether the shift lies within half a pixel of its bound, so that a larger one may fit better."""
        return self.max_shift > 0 and max(map(abs, self.shift)) >= self.max_shift - 0.5

    def as_dict(self) -> dict[str, Any]:
        """The removed parameters and the area, ready for JSON."""
        return {
            "offset_px": list(self.offset),
            "shift_px": list(self.shift),
            "max_shift_px": self.max_shift,
            "search_widened": self.widened,
            "shift_on_bound": self.on_bound,
            "ramp_rad_per_px": list(self.ramp),
            "factor_abs": abs(self.factor),
            "factor_phase_rad": float(np.angle(self.factor)),
            "twin": self.twin,
            "area_rows": [self.area.row_start, self.area.row_stop],
            "area_columns": [self.area.column_start, self.area.column_stop],
        }


def register(
    object: NDArray[Any],  # noqa: A002 - the field's word
    reference: NDArray[Any],
    *,
    area: Area | None = None,
    offset: tuple[float, float] | None = None,
    twin_offset: tuple[float, float] | None = None,
    max_shift: float | None = None,
    twin: bool = False,
) -> Registration:
    """Align ``object`` with ``reference`` by a shift, a phase ramp and one complex factor.

    The shift is first sought by correlating ``f(x+d)·f*(x)`` of both, which no phase factor or ramp changes but by a constant;
    then the ramp as the peak of the Fourier transform of ``reference · object*``; then shift, ramp and factor together by
    Newton's steps on the residual itself. Parts of a pixel are shifted in Fourier space.

    Args:
        object: (rows, columns), complex.
        reference: (rows, columns), complex; may be of another size.
        area: where to compare, in pixels of the reference; without it all that both cover whatever the shift.
        offset: pixel of the reference (row, column) onto which pixel ``[0, 0]`` of the object falls; without it the middles
            of both fall on one another.
        twin_offset: the same for the rotated object; without it it is rotated about the middle of ``area`` or of the object.
        max_shift: largest shift sought on each axis around the offset, in pixels. Without it 8, doubled
            where the shift found lies on that bound or matches little and one beyond fits better, as far as the object reaches
            beyond the area.
        twin: also try the object rotated by 180 degrees and conjugated, and keep what fits better.

    Raises:
        DataError: the two do not overlap by at least 8 x 8 pixels, or one of them is zero or not finite there.
    """
    moving, fixed = _image(object, "object"), _image(reference, "reference")
    if offset is None:
        offset = ((fixed.shape[0] - moving.shape[0]) / 2, (fixed.shape[1] - moving.shape[1]) / 2)
    pairs = [_Pair(moving, fixed, area, _rounded(offset), twin=False)]
    if twin:
        turned = np.conj(moving[::-1, ::-1])
        pairs.append(_Pair(turned, fixed, area, _rounded(twin_offset or _turned_offset(moving, area, offset)), twin=True))
    for pair in pairs:
        pair.check(MAX_SHIFT if max_shift is None else max_shift)
    best: _Found | None = None
    for size in _CROPS:
        rivals = _sought(pairs, size, max_shift)
        whole = min((found.on_the_whole() for found in rivals), key=lambda found: found.fit.error)
        best = whole if best is None else min(best, whole, key=lambda found: found.fit.error)
        if rivals[0].whole or not (rivals[0].is_doubtful() or rivals[0].is_contradicted(whole)):
            break
    assert best is not None
    return best.registration()


def _rounded(offset: tuple[float, float]) -> tuple[int, int]:
    return round(offset[0]), round(offset[1])


def _turned_offset(moving: Complex, area: Area | None, offset: tuple[float, float]) -> tuple[float, float]:
    """Offset of the rotated object that leaves the middle of the area (or of the object) in its place."""
    if area is None:
        return offset
    middle = ((area.row_start + area.row_stop - 1), (area.column_start + area.column_stop - 1))
    return middle[0] - offset[0] - moving.shape[0] + 1, middle[1] - offset[1] - moving.shape[1] + 1


def _image(array: NDArray[Any], name: str) -> Complex:
    if np.ndim(array) != 2:
        raise DataError(f"The {name} must be one image (rows, columns), but has shape {np.shape(array)}.")
    return np.asarray(array) if np.iscomplexobj(array) else np.asarray(array, dtype=np.complex128)


@dataclass(frozen=True)
class _Pair:
    """A moving and a fixed image, and how their grids lie to one another."""

    moving: Complex
    fixed: Complex
    wanted: Area | None
    offset: tuple[int, int]
    twin: bool

    def common(self, inset: int) -> Area:
        """The wanted area, or all of the fixed image, as far as the moving one less ``inset`` pixels at each side covers it."""
        wanted = self.wanted or Area(0, self.fixed.shape[0], 0, self.fixed.shape[1])
        rows, columns = (
            (start + inset, start + size - inset) for start, size in zip(self.offset, self.moving.shape, strict=True)
        )
        return wanted.within((0, self.fixed.shape[0]), (0, self.fixed.shape[1])).within(rows, columns)

    def area(self, max_shift: float) -> Area:
        """Where the two are compared."""
        return self.common(0 if self.wanted is not None else int(np.ceil(max_shift)))

    def room(self) -> int:
        """Largest shift that keeps the area inside the moving image; a quarter of the overlap if the area gives way to it."""
        area = self.common(0)
        if self.wanted is None:
            return min(area.shape) // 4
        starts = (area.row_start - self.offset[0], area.column_start - self.offset[1])
        rows, columns = (
            min(start, size - start - across) for start, across, size in zip(starts, area.shape, self.moving.shape, strict=True)
        )
        return int(min(rows, columns))

    def check(self, max_shift: float) -> None:
        """Refuse what cannot be compared."""
        area = self.area(max_shift)
        if min(area.shape) < 8:
            raise DataError(
                f"The object {self.moving.shape} and the reference {self.fixed.shape} overlap by {area.shape} pixels only, "
                f"at the offset {self.offset}; at least 8 x 8 are needed to compare them."
            )
        covered = Frame(self.moving, area, self.offset).cut((0, 0))
        for name, values in (("reference", self.fixed[area.slices]), ("object", covered)):
            if not np.isfinite(values).all() or not values.any():
                rows, columns = f"{area.row_start}:{area.row_stop}", f"{area.column_start}:{area.column_stop}"
                raise DataError(
                    f"The {name} is zero or not finite in the area of comparison, [{rows}, {columns}] of the reference."
                )

    def target(self, area: Area) -> tuple[Complex, tuple[Complex, Complex]]:
        """The fixed image over an area, and its derivatives by rows and by columns, which need no more than float32."""
        flat = Frame(self.fixed, area, (0, 0)).flattened((0, 0), np.zeros(2), np.complex64)
        return self.fixed[area.slices].astype(np.complex128, copy=False), flat.slopes(np.zeros(2), np.zeros(2))


@dataclass(frozen=True)
class _Found:
    """A fit of a pair over a part of its area."""

    pair: _Pair
    fit: Fit
    part: Area
    bound: float
    featureless: float
    """Relative error that an object without structure would leave over the part."""
    widened: bool = False

    @property
    def whole(self) -> bool:
        """Whether the part is the area."""
        return self.part == self.pair.area(self.bound)

    def is_stopped(self) -> bool:
        """Whether the shift would have left its bound."""
        return bool(np.abs(self.fit.shift).max() >= self.bound - 1e-6)

    def is_same(self, other: _Found) -> bool:
        """Whether both have found one shift of one pair."""
        return self.pair.twin == other.pair.twin and bool(np.abs(self.fit.shift - other.fit.shift).max() < 0.5)

    def is_clear(self) -> bool:
        """Whether what is left is little compared with the structure of the reference."""
        return self.fit.error < _CLEAR * self.featureless

    def is_doubtful(self) -> bool:
        """Whether the part leaves the shift open."""
        return self.fit.uncertainty > _UNCERTAIN

    def is_contradicted(self, whole: _Found) -> bool:
        """Whether what fits here does not fit the whole area."""
        return whole.fit.error > 2 * self.fit.error + 1e-3

    def on_the_whole(self) -> _Found:
        """Refined on the whole area."""
        if self.whole:
            return self
        area = self.pair.area(self.bound)
        return replace(self, part=area, fit=_refined(self.pair, area, self.fit.shift, self.fit.ramp, self.bound, _FINE))

    def registration(self) -> Registration:
        """What callers see of it."""
        (row, column), (by_row, by_column) = self.fit.shift, self.fit.ramp
        return Registration(
            aligned=self.fit.aligned, area=self.part, offset=self.pair.offset, shift=(float(row), float(column)),
            ramp=(float(by_row), float(by_column)), factor=self.fit.factor, twin=self.pair.twin, error=self.fit.error,
            max_shift=self.bound, widened=self.widened,
        )  # fmt: skip


def _refined(pair: _Pair, part: Area, shift: Any, ramp: Any, bound: float, tolerance: float) -> Fit:  # noqa: ANN401 - pairs of numbers
    target, slopes = pair.target(part)
    return refine(Frame(pair.moving, part, pair.offset), target, slopes, shift, ramp, bound, tolerance)


def _sought(pairs: list[_Pair], size: int, max_shift: float | None) -> list[_Found]:
    """What fits best on crops of the pairs, and what fits about as well; in a search that is widened where that is needed."""
    bound = MAX_SHIFT if max_shift is None else max_shift
    found = [fit for pair in pairs for fit in _on_crop(pair, size, bound)]
    best = min(found, key=lambda one: one.fit.error)
    if max_shift is None and (best.is_stopped() or not best.is_clear()):
        wider = [fit for pair in pairs for fit in _beyond(pair, size, bound)]
        enough = 1.0 if best.is_stopped() else _BETTER
        if wider and min(fit.fit.error for fit in wider) < enough * best.fit.error:
            found = wider
            best = min(found, key=lambda one: one.fit.error)
    rivals: list[_Found] = []
    for one in sorted(found, key=lambda one: one.fit.error):
        if one.fit.error <= _RIVAL * best.fit.error and not any(one.is_same(other) for other in rivals):
            rivals.append(one)
    return rivals


def _on_crop(pair: _Pair, size: int, bound: float) -> list[_Found]:
    """The best candidate of a crop, refined, and the next one if it may be better still."""
    area = pair.area(bound)
    part = _crop(pair.fixed, area, size)
    target, slopes = pair.target(part)
    frame = Frame(pair.moving, part, pair.offset)
    featureless = error_without_structure(target)
    starts = candidates(frame, target, bound, 0.0 if part == area else _CLEAR * featureless)
    found: list[_Found] = []

    def near(start: Candidate) -> bool:
        return any(np.abs(one.fit.shift - start.shift).max() <= _NEAR for one in found)

    for start in starts:
        if found and part != area and (near(start) or start.error > 2 * found[0].fit.error):
            continue
        tolerance = _FINE if part == area else _COARSE
        fit = refine(frame, target, slopes, np.array(start.shift, dtype=float), start.ramp, bound, tolerance)
        found.append(_Found(pair, fit, part, bound, featureless))
        if sum(not one.is_stopped() for one in found) == _REFINED:
            break
    return found


def _beyond(pair: _Pair, size: int, bound: float) -> list[_Found]:
    """What a crop finds beyond the bound, as far as the pair has room; nothing if a shift within it looks better."""
    room = min(pair.room(), size // 2)
    if room <= bound:
        return []
    part = _crop(pair.fixed, pair.area(bound), size)
    target = pair.fixed[part.slices].astype(np.complex128, copy=False)
    start = candidates(Frame(pair.moving, part, pair.offset), target, room)[0]
    far = max(map(abs, start.shift))
    if far < bound:
        return []
    within = bound
    while bound < far + 1:
        bound *= 2
    bound = min(bound, float(room))
    area = pair.area(bound)
    part = _crop(pair.fixed, area, size)
    fit = _refined(pair, part, np.array(start.shift, dtype=float), start.ramp, bound, _FINE if part == area else _COARSE)
    found = _Found(pair, fit, part, bound, error_without_structure(target), widened=True)
    return [found] if np.abs(fit.shift).max() > within else []


def _crop(fixed: Complex, area: Area, size: int) -> Area:
    """Part of the area, ``size`` pixels across: the middle, unless the image varies at least twice as much somewhere else."""
    shape = tuple(across if across <= _SMALL * size else size for across in area.shape)
    if shape == area.shape:
        return area
    corners = [
        np.unique(np.append(np.arange(0, across - part + 1, size // 4), ((across - part) // 2, across - part)))
        for across, part in zip(area.shape, shape, strict=True)
    ]
    sums = np.pad(_variation(fixed[area.slices]), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    rows, columns = (
        [np.clip(np.array([start, start + part]) // _STRIDE, 0, limit - 1) for start in starts]
        for starts, part, limit in zip(corners, shape, sums.shape, strict=True)
    )
    varies = np.array([[sums[b, d] - sums[a, d] - sums[b, c] + sums[a, c] for c, d in columns] for a, b in rows])
    middle = tuple(
        int(np.searchsorted(starts, (across - part) // 2))
        for starts, across, part in zip(corners, area.shape, shape, strict=True)
    )
    most = np.unravel_index(int(np.argmax(varies)), varies.shape)
    row, column = most if varies[most] > 2 * varies[middle] else middle
    start = (area.row_start + int(corners[0][row]), area.column_start + int(corners[1][column]))
    return Area(start[0], start[0] + shape[0], start[1], start[1] + shape[1])


def _variation(image: Complex) -> NDArray[np.float64]:
    """Squared differences over ``_LAG`` pixels along both axes, at every ``_STRIDE``-th pixel."""
    seen = image[::_STRIDE, ::_STRIDE].astype(np.complex64)
    lag = _LAG // _STRIDE
    down, right = np.abs(seen[lag:] - seen[:-lag]) ** 2, np.abs(seen[:, lag:] - seen[:, :-lag]) ** 2
    return np.asarray(down[:, :-lag] + right[:-lag], dtype=np.float64)
