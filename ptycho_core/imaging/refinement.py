"""Shift, ramp and factor of an image to parts of a pixel, by Newton's steps.

``‖target − c · moved‖²`` is lowered over the complex factor ``c``, the shift and the phase ramp of the moved image. The curvature
is taken from derivatives of the moved image times those of the *target*: that is the whole second derivative but for terms at
the border, and noise of one image, which is not in the other, does not count as structure. (Gauss and Newton's curvature, of the
moved image alone, makes all steps too short where there is noise; it serves where the other has no minimum.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.imaging.shifting import squared_norm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ptycho_core.imaging.shifting import Complex, Float, Frame, Shifted

__all__ = ["Fit", "refine"]

_STEPS = 30
_LONGEST = 2.0  # pixels that a step may shift
_GAIN = 1e-9  # of the error: a step that lowers it by less is the last
_UNFLAT = 1e-3  # radians at the border, from which on the image is made flat anew
_CHUNK = 2**15  # pixels taken into the normal equations at a time


@dataclass(frozen=True)
class Fit:
    """An image registered over an area.

    Attributes:
        shift: (2,), pixels (row, column).
        ramp: (2,), radians per pixel (row, column).
        factor: by which the shifted image with its ramp was multiplied.
        error: relative l2 error that is left.
        uncertainty: standard deviation of the shift along its worst direction, pixels, if what is left is white noise; infinite
            where the error has no minimum.
        aligned: complex128, over the area.
    """

    shift: Float
    ramp: Float
    factor: complex
    error: float
    uncertainty: float
    aligned: NDArray[np.complex128]


def refine(
    frame: Frame, target: Complex, slopes: tuple[Complex, Complex], shift: Sequence[float] | Float, ramp: Float,
    max_shift: float, tolerance: float,
) -> Fit:  # fmt: skip
    """Refine a shift and a ramp until a step moves no pixel by more than ``tolerance``, pixels or radians.

    Args:
        frame: the moving image around the area.
        target: (rows, columns), complex128, the fixed image over the area.
        slopes: derivatives of the target by rows and by columns.
        shift: to start from, pixels (row, column).
        ramp: to start from, radians per pixel (row, column).
        max_shift: bound of the shift on each axis.
        tolerance: of the last step, which is taken.
    """
    whole = np.rint(shift)
    shifted = frame.flattened((int(whole[0]), int(whole[1])), ramp)
    bounds = np.array([-max_shift - whole, max_shift - whole])
    parameters = np.concatenate([np.clip(shift - whole, *bounds), np.zeros(2)])
    reach = np.array([1.0, 1.0, target.shape[0] / 2, target.shape[1] / 2])
    norm = float(np.sqrt(squared_norm(target)))
    error, factor, image = _evaluate(shifted, target, parameters, norm)
    curvature = np.zeros((6, 6))
    for _ in range(_STEPS):
        if np.abs(parameters[2:] * reach[2:]).max() > _UNFLAT:
            ramp, parameters[2:] = ramp + parameters[2:], 0.0
            del shifted, image  # as large as what takes their place
            shifted = frame.flattened((int(whole[0]), int(whole[1])), ramp)
            error, factor, image = _evaluate(shifted, target, parameters, norm)
        curvature, own, descent = _normal_equations(shifted, target, slopes, image, factor, parameters)
        before = error
        for matrix in _trials(curvature, own):
            trial = parameters + _step(matrix, descent, parameters, bounds)
            settled = bool(np.abs((trial - parameters) * reach).max() <= tolerance)
            error, factor, image = _evaluate(shifted, target, trial, norm)
            if settled or error < before:
                break
        parameters = trial
        if settled or not before - error > _GAIN * before:
            break
    return Fit(
        shift=parameters[:2] + whole,
        ramp=parameters[2:] + ramp,
        factor=factor,
        error=error,
        uncertainty=_uncertainty(curvature, error * norm, target.size),
        aligned=np.asarray(factor * image, dtype=np.complex128),
    )


def _trials(curvature: Float, own: Float) -> Iterator[Float]:
    """Curvatures to step by, each for a shorter step than the one before."""
    if _is_definite(curvature):
        yield from (curvature, 4 * curvature, 16 * curvature)
    for damping in (0.0, 0.1, 1.0, 10.0, 1e3, 1e5):
        yield own + damping * np.diag(np.diag(own))


def _evaluate(shifted: Shifted, target: Complex, parameters: Float, norm: float) -> tuple[float, complex, Complex]:
    image = shifted.image(parameters[:2], parameters[2:])
    energy, match, left = 0.0, 0j, 0.0
    for part in _chunks(target):
        energy += squared_norm(image[part])
        match += complex(np.einsum("ij,ij->", np.conj(image[part]), target[part]))
    factor = match / energy if energy > 0 else 0j
    for part in _chunks(target):
        left += squared_norm(target[part] - factor * image[part])
    return float(np.sqrt(left)) / norm, factor, image


def _normal_equations(
    shifted: Shifted, target: Complex, slopes: tuple[Complex, Complex], image: Complex, factor: complex, parameters: Float
) -> tuple[Float, Float, Float]:
    """Curvature of half the squared error in (Re δ, Im δ, shift, ramp), that of Gauss and Newton, and the descent.

    The factor is ``c · (1 + δ)``.
    """
    cross, own, descent = np.zeros((6, 6)), np.zeros((6, 6)), np.zeros(6)
    by_row, by_column = shifted.slopes(parameters[:2], parameters[2:])
    for part in _chunks(target):
        pixels = shifted.pixels[0][part], shifted.pixels[1]
        ours = _directions(factor * image[part], factor * by_row[part], factor * by_column[part], pixels)
        theirs = _directions(target[part], slopes[0][part], slopes[1][part], pixels)
        cross += np.einsum("in,jn->ij", ours, theirs)
        own += np.einsum("in,jn->ij", ours, ours)
        descent += np.einsum("in,n->i", ours, theirs[0] - ours[0])
    return (cross + cross.T) / 2, own, descent


def _directions(image: Complex, by_row: Complex, by_column: Complex, pixels: Sequence[Float]) -> Float:
    """How an image changes with each parameter: (6, 2 · pixels), real and imaginary parts in turn."""
    found = np.empty((6, *image.shape), dtype=np.complex128)
    found[0] = image
    np.multiply(image, 1j, out=found[1])
    np.negative(by_row, out=found[2])
    np.negative(by_column, out=found[3])
    np.multiply(found[1], pixels[0][:, None], out=found[4])
    np.multiply(found[1], pixels[1], out=found[5])
    return found.reshape(6, -1).view(np.float64)


def _chunks(image: Complex) -> list[slice]:
    rows = max(1, _CHUNK // image.shape[1])
    return [slice(start, start + rows) for start in range(0, len(image), rows)]


def _step(matrix: Float, descent: Float, parameters: Float, bounds: Float) -> Float:
    """Newton's step in shift and ramp; a shift that would leave its bounds stops there, and the rest is solved for it."""
    step = np.linalg.lstsq(matrix, descent, rcond=None)[0]
    limit = np.clip(bounds - parameters[:2], -_LONGEST, _LONGEST)
    held = np.flatnonzero((step[2:4] < limit[0]) | (step[2:4] > limit[1])) + 2
    if len(held):
        free = np.setdiff1d(np.arange(6), held)
        step[held] = np.clip(step[held], limit[0][held - 2], limit[1][held - 2])
        step[free] = np.linalg.lstsq(matrix[np.ix_(free, free)], descent[free] - matrix[np.ix_(free, held)] @ step[held])[0]
        step[2:4] = np.clip(step[2:4], *limit)
    return np.asarray(step[2:])


def _is_definite(matrix: Float) -> bool:
    scale = np.sqrt(np.maximum(np.diag(matrix), 0))
    if not (scale > 0).all():
        return False
    return bool(np.linalg.eigvalsh(matrix / np.outer(scale, scale))[0] > 1e-9)


def _uncertainty(curvature: Float, left: float, pixels: int) -> float:
    if not _is_definite(curvature):
        return float("inf")
    variance = left**2 / (2 * pixels) * np.linalg.eigvalsh(np.linalg.inv(curvature)[2:4, 2:4])[-1]
    return float(np.sqrt(variance))
