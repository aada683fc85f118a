"""Bring a reconstructed object onto a reference: remove what ptychography cannot know.

The patterns of a far-field scan do not change when the object is multiplied by a phase factor or a linear phase ramp (the probe
takes the opposite ramp), when object and probe are shifted together, or when a factor moves from one to the other; nor when
object, probe and positions are rotated by 180 degrees and the first two conjugated (the *twin*).

Within an area ``A`` of the reference this module minimises ::

    Σ_{x ∈ A} |reference(x) − c · exp(i k·(x − x₀)) · object(x − offset − s)|²

over the complex factor ``c``, the ramp ``k`` and the shift ``s`` (|s| ≤ ``max_shift`` on each axis).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ptycho_core.errors import DataError
from ptycho_core.imaging.area import Area

__all__ = ["Registration", "register"]

Complex: TypeAlias = NDArray[np.complex128]
Float: TypeAlias = NDArray[np.float64]

_MARGIN = 24  # pixels around the area that are tapered, so that the Fourier shift does not ring inside
_CANDIDATES = 6
_REFINED = 2
_LAGS = ((0, 1), (1, 0), (0, 3), (3, 0))


@dataclass(frozen=True)
class Registration:
    """An object on the grid of a reference, and what was removed to bring it there.

    Attributes:
        aligned: complex128, the object over ``area``, comparable with ``reference[area.slices]`` pixel by pixel.
        area: where the two were compared, in pixels of the reference.
        offset: whole pixels (row, column) between the two grids that were known or guessed beforehand.
        shift: pixels (row, column) found on top of ``offset``; bounded by ``max_shift``.
        ramp: radians per pixel (row, column) by which the object was multiplied.
        factor: the complex factor by which the object was multiplied.
        twin: True if the object was rotated by 180 degrees and conjugated first.
        error: relative l2 error that is left, ``‖aligned − reference‖ / ‖reference‖`` over the area.
    """

    aligned: Complex
    area: Area
    offset: tuple[int, int]
    shift: tuple[float, float]
    ramp: tuple[float, float]
    factor: complex
    twin: bool
    error: float

    def as_dict(self) -> dict[str, Any]:
        """The removed parameters and the area, ready for JSON."""
        return {
            "offset_px": list(self.offset),
            "shift_px": list(self.shift),
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
    max_shift: float = 8.0,
    twin: bool = False,
) -> Registration:
    """Align ``object`` with ``reference`` by a shift, a phase ramp and one complex factor.

    The shift is first sought by correlating ``f(x+d)·f*(x)`` of both, which no phase factor or ramp changes but by a constant;
    then the ramp as the peak of the Fourier transform of ``reference · object*``; then shift, ramp and factor together by damped
    Gauss-Newton steps on the residual itself. Parts of a pixel are shifted in Fourier space.

    Args:
        object: (rows, columns), complex.
        reference: (rows, columns), complex; may be of another size.
        area: where to compare, in pixels of the reference; without it all that both cover whatever the shift.
        offset: pixel of the reference (row, column) onto which pixel ``[0, 0]`` of the object falls; without it the middles
            of both fall on one another.
        twin_offset: the same for the rotated object; without it it is rotated about the middle of ``area`` or of the object.
        max_shift: largest shift sought on each axis around the offset, in pixels.
        twin: also try the object rotated by 180 degrees and conjugated, and keep what fits better.

    Raises:
        DataError: the two do not overlap by at least 8 x 8 pixels, or one of them is zero or not finite there.
    """
    moving, fixed = _image(object, "object"), _image(reference, "reference")
    if offset is None:
        offset = ((fixed.shape[0] - moving.shape[0]) / 2, (fixed.shape[1] - moving.shape[1]) / 2)
    found = _register(moving, fixed, area, offset, max_shift, twin=False)
    if twin:
        turned = np.conj(moving[::-1, ::-1])
        other = _register(turned, fixed, area, twin_offset or _turned_offset(moving, area, offset), max_shift, twin=True)
        found = min(found, other, key=lambda result: result.error)
    return found


def _turned_offset(moving: Complex, area: Area | None, offset: tuple[float, float]) -> tuple[float, float]:
    """Offset of the rotated object that leaves the middle of the area (or of the object) in its place."""
    if area is None:
        return offset
    middle = ((area.row_start + area.row_stop - 1), (area.column_start + area.column_stop - 1))
    return middle[0] - offset[0] - moving.shape[0] + 1, middle[1] - offset[1] - moving.shape[1] + 1


def _image(array: NDArray[Any], name: str) -> Complex:
    image = np.asarray(array).astype(np.complex128)
    if image.ndim != 2:
        raise DataError(f"The {name} must be one image (rows, columns), but has shape {np.shape(array)}.")
    return image


def _register(
    moving: Complex, fixed: Complex, area: Area | None, offset: tuple[float, float], max_shift: float, *, twin: bool
) -> Registration:
    whole = (round(offset[0]), round(offset[1]))
    area = _common_area(moving, fixed, area, whole, max_shift)
    target = fixed[area.slices]
    frame = _Frame(moving, area, whole)
    for name, values in (("reference", target), ("object", frame.cut((0, 0)))):
        if not np.isfinite(values).all() or not values.any():
            rows, columns = f"{area.row_start}:{area.row_stop}", f"{area.column_start}:{area.column_stop}"
            raise DataError(f"The {name} is zero or not finite in the area of comparison, [{rows}, {columns}] of the reference.")
    starts = []
    for shift in _coarse_shifts(frame, target, max_shift):
        ramp = _coarse_ramp(frame.cut(shift), target)
        parameters = np.concatenate([np.zeros(2), ramp])
        starts.append((_evaluate(frame, target, shift, parameters, float(np.linalg.norm(target)))[0], shift, ramp))
    starts.sort(key=lambda start: start[0])
    fits = [_refine(frame, target, shift, ramp, max_shift) for _, shift, ramp in starts[:_REFINED]]
    best = min(fits, key=lambda fit: fit.error)
    factor = best.factor
    aligned = factor * frame.moved(best.whole, best.part, best.ramp)[0]
    total = best.part + best.whole
    return Registration(
        aligned=aligned,
        area=area,
        offset=whole,
        shift=(float(total[0]), float(total[1])),
        ramp=(float(best.ramp[0]), float(best.ramp[1])),
        factor=complex(factor),
        twin=twin,
        error=best.error,
    )


def _common_area(moving: Complex, fixed: Complex, area: Area | None, offset: tuple[int, int], max_shift: float) -> Area:
    inset = 0 if area is not None else int(np.ceil(max_shift))
    wanted = area or Area(0, fixed.shape[0], 0, fixed.shape[1])
    common = wanted.within((0, fixed.shape[0]), (0, fixed.shape[1])).within(
        (offset[0] + inset, offset[0] + moving.shape[0] - inset), (offset[1] + inset, offset[1] + moving.shape[1] - inset)
    )
    if min(common.shape) < 8:
        raise DataError(
            f"The object {moving.shape} and the reference {fixed.shape} overlap by {common.shape} pixels only, "
            f"at the offset {offset}; at least 8 x 8 are needed to compare them."
        )
    return common


class _Frame:
    """The moving object around an area of the reference: whole-pixel cuts of it, and Fourier shifts of those."""

    def __init__(self, moving: Complex, area: Area, offset: tuple[int, int]) -> None:
        from scipy.fft import next_fast_len

        self._moving = moving
        self._corner = (area.row_start - offset[0], area.column_start - offset[1])
        self.shape = area.shape
        rows, columns = (next_fast_len(size + 2 * _MARGIN) for size in area.shape)
        self._wide = (rows, columns)
        self._taper = np.outer(_taper(rows), _taper(columns))
        self._frequencies = (2 * np.pi * np.fft.fftfreq(rows)[:, None], 2 * np.pi * np.fft.fftfreq(columns)[None, :])
        self._pixels = (_centred(rows)[:, None], _centred(columns)[None, :])
        self.pixels = (_centred(area.shape[0])[:, None], _centred(area.shape[1])[None, :])

    def cut(self, shift: tuple[int, int], margin: int = 0, shape: tuple[int, int] | None = None) -> Complex:
        """Object after a shift by whole pixels, over the area and a margin, or ``shape`` pixels from the margin's corner.

        Its border is repeated where it ends.
        """
        sizes = shape or (self.shape[0] + 2 * margin, self.shape[1] + 2 * margin)
        rows, columns = (
            np.clip(np.arange(start - moved - margin, start - moved - margin + size), 0, limit - 1)
            for start, moved, size, limit in zip(self._corner, shift, sizes, self._moving.shape, strict=True)
        )
        return self._moving[np.ix_(rows, columns)]

    def moved(self, whole: tuple[int, int], part: Float, ramp: Float) -> tuple[Complex, Complex, Complex]:
        """Object over the area with ramp and shift, and its derivatives by rows and columns.

        The ramp is taken off before the shift, so that what is shifted is as smooth as the reference.
        """
        flat = self.cut(whole, _MARGIN, self._wide) * np.exp(1j * (ramp[0] * self._pixels[0] + ramp[1] * self._pixels[1]))
        mean = flat.mean()
        spectrum = np.fft.fft2(self._taper * (flat - mean))
        f_rows, f_columns = self._frequencies
        spectrum *= np.exp(-1j * (f_rows * part[0] + f_columns * part[1]))
        inner = (slice(_MARGIN, _MARGIN + self.shape[0]), slice(_MARGIN, _MARGIN + self.shape[1]))
        image = np.fft.ifft2(spectrum)[inner] + mean
        return image, np.fft.ifft2(1j * f_rows * spectrum)[inner], np.fft.ifft2(1j * f_columns * spectrum)[inner]


def _centred(size: int) -> Float:
    return np.arange(size, dtype=np.float64) - (size - 1) / 2


def _taper(size: int) -> Float:
    """One inside, falling to zero over two thirds of the margin at each end."""
    width = 2 * _MARGIN // 3
    edge = np.sin(np.pi / 2 * (np.arange(width) + 0.5) / width) ** 2
    taper = np.ones(size)
    taper[:width] = edge
    taper[-width:] = edge[::-1]
    return taper


def _coarse_shifts(frame: _Frame, target: Complex, max_shift: float) -> list[tuple[int, int]]:
    """Whole-pixel shifts worth trying: no shift, and the highest peaks of the ramp-insensitive correlation."""
    reach = int(np.floor(max_shift))
    if reach == 0:
        return [(0, 0)]
    wide = frame.cut((0, 0), reach)
    score = np.zeros((2 * reach + 1, 2 * reach + 1))
    for lag in _LAGS:
        score += _correlation(_lagged(target, lag), _lagged(wide, lag), score.shape)
    # entry [i, j] is the match of target(x) with wide(x + (i, j)), that is, a shift by reach - (i, j)
    order = np.argsort(score, axis=None)[::-1]
    shifts: list[tuple[int, int]] = [(0, 0)]
    for index in order:
        row, column = divmod(int(index), score.shape[1])
        shift = (reach - row, reach - column)
        if all(max(abs(shift[0] - old[0]), abs(shift[1] - old[1])) > 1 for old in shifts[1:]):
            shifts.append(shift)
        if len(shifts) > _CANDIDATES:
            break
    return shifts


def _lagged(image: Complex, lag: tuple[int, int]) -> Complex:
    rows, columns = lag
    product = image[rows:, columns:] * np.conj(image[: image.shape[0] - rows, : image.shape[1] - columns])
    return np.asarray(product - product.mean(), dtype=np.complex128)


def _correlation(small: Complex, large: Complex, shape: tuple[int, int]) -> Float:
    """|Σ small*(x) large(x + y)| for each y of ``shape``, over the square root of the energy of that part of ``large``."""
    size = (large.shape[0], large.shape[1])
    transform = np.fft.fft2(large)
    product = np.fft.ifft2(transform * np.conj(np.fft.fft2(small, size)))
    energy = np.fft.ifft2(np.fft.fft2(np.abs(large) ** 2) * np.conj(np.fft.fft2(np.ones(small.shape), size))).real
    floor = 1e-9 * max(float(energy.max()), np.finfo(float).tiny)
    score = np.abs(product) / np.sqrt(np.maximum(energy, floor))
    scale = np.sqrt(float(np.sum(np.abs(small) ** 2))) or 1.0
    return np.asarray(score[: shape[0], : shape[1]] / scale, dtype=np.float64)


def _coarse_ramp(image: Complex, target: Complex) -> Float:
    """Ramp in radians per pixel as the peak of the Fourier transform of target · image*, on a grid of half a fringe."""
    product = target * np.conj(image)
    size = (2 * product.shape[0], 2 * product.shape[1])
    transform = np.abs(np.fft.fft2(product, size))
    peak = np.unravel_index(int(np.argmax(transform)), size)
    return np.array([2 * np.pi * np.fft.fftfreq(n)[index] for n, index in zip(size, peak, strict=True)])


@dataclass(frozen=True)
class _Fit:
    whole: tuple[int, int]
    part: Float
    ramp: Float
    factor: complex
    error: float


def _refine(frame: _Frame, target: Complex, whole: tuple[int, int], ramp: Float, max_shift: float) -> _Fit:
    """Gauss-Newton on shift and ramp with the factor eliminated; steps that do not lower the error are damped."""
    low, high = (np.array([sign * max_shift - moved for moved in whole]) for sign in (-1, 1))
    parameters = np.concatenate([np.zeros(2), ramp])
    norm = float(np.linalg.norm(target))
    state = _evaluate(frame, target, whole, parameters, norm)
    damping = 1e-4
    for _ in range(60):
        error, factor, images = state
        step_matrix, gradient = _normal_equations(frame, target, factor, images)
        accepted = False
        while damping < 1e6:
            damped = step_matrix + damping * np.diag(np.diag(step_matrix) + 1e-30)
            trial = parameters + np.linalg.solve(damped, gradient)[2:]
            trial[:2] = np.clip(trial[:2], low, high)
            attempt = _evaluate(frame, target, whole, trial, norm)
            if attempt[0] < error:
                accepted = True
                break
            damping *= 10
        if not accepted:
            break
        parameters, state, damping = trial, attempt, max(damping / 10, 1e-9)
        if error - attempt[0] <= 1e-9 * error:
            break
    return _Fit(whole, parameters[:2], parameters[2:], state[1], state[0])


def _evaluate(
    frame: _Frame, target: Complex, whole: tuple[int, int], parameters: Float, norm: float
) -> tuple[float, complex, tuple[Complex, Complex, Complex]]:
    images = frame.moved(whole, parameters[:2], parameters[2:])
    energy = float(np.vdot(images[0], images[0]).real)
    factor = complex(np.vdot(images[0], target) / energy) if energy > 0 else 0j
    return float(np.linalg.norm(target - factor * images[0])) / norm, factor, images


def _normal_equations(
    frame: _Frame, target: Complex, factor: complex, images: tuple[Complex, Complex, Complex]
) -> tuple[Float, Float]:
    """Real 6 x 6 normal equations of the residual in (Re δ, Im δ, shift, ramp), where factor → factor · (1 + δ)."""
    image, by_row, by_column = (factor * one for one in images)
    ramps = (1j * image * frame.pixels[0], 1j * image * frame.pixels[1])
    columns = np.stack([part.ravel() for part in (image, 1j * image, -by_row, -by_column, *ramps)])
    residual = (target - image).ravel()
    return np.real(np.conj(columns) @ columns.T), np.real(np.conj(columns) @ residual)
