"""Shifts by whole pixels, each with a phase ramp, that a registration starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.imaging.shifting import squared_norm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ptycho_core.imaging.shifting import Complex, Float, Frame

__all__ = ["Candidate", "candidates", "error_without_structure"]

_PEAKS = 6
_POLISHED = 4
_LAGS = ((0, 1), (1, 0), (0, 3), (3, 0))


@dataclass(frozen=True)
class Candidate:
    """A shift (row, column) by whole pixels, the best ramp for it (2,), radians per pixel, and the relative l2 error left."""

    shift: tuple[int, int]
    ramp: Float
    error: float


def candidates(frame: Frame, target: Complex, max_shift: float, enough: float = 0.0) -> list[Candidate]:
    """No shift, and the highest peaks of the correlation of ``f(x+d)·f*(x)``, up to the first with an error below ``enough``.

    The best comes first. No phase factor or ramp changes that correlation but by a constant. The ramp of each is the peak of the
    Fourier transform of ``target · moving*``.
    """
    target = target.astype(np.complex64)
    found = []
    for shift in _shifts(frame, target, int(np.floor(max_shift))):
        moving = frame.cut(shift).astype(np.complex64)
        ramp, peak = _ramp(target * np.conj(moving))
        norm = float(np.sqrt(squared_norm(target) * squared_norm(moving)))
        matched = min(peak / norm, 1.0) if norm > 0 else 0.0
        found.append(Candidate(shift, ramp, float(np.sqrt(1 - matched**2))))
        if found[-1].error < enough:
            break
    return sorted(found, key=lambda candidate: candidate.error)


def error_without_structure(target: Complex) -> float:
    """Relative l2 error that a constant with the best phase ramp leaves."""
    peak = _ramp(target.astype(np.complex64))[1] / np.sqrt(squared_norm(target) * target.size)
    return float(np.sqrt(1 - min(peak, 1.0) ** 2))


def _shifts(frame: Frame, target: Complex, reach: int) -> Iterator[tuple[int, int]]:
    yield (0, 0)
    if reach == 0:
        return
    wide = frame.cut((0, 0), reach, (target.shape[0] + 2 * reach, target.shape[1] + 2 * reach)).astype(np.complex64)
    across = 2 * reach + 1
    score = sum(_correlation(_lagged(target, lag), _lagged(wide, lag), across) for lag in _LAGS)
    # entry [i, j] is the match of target(x) with wide(x + (i, j)), that is, a shift by reach - (i, j)
    shifts: list[tuple[int, int]] = []
    for index in np.argsort(score, axis=None)[::-1]:
        row, column = divmod(int(index), across)
        shift = (reach - row, reach - column)
        if all(max(abs(shift[0] - old[0]), abs(shift[1] - old[1])) > 1 for old in shifts):
            shifts.append(shift)
            yield shift
        if len(shifts) == _PEAKS:
            return


def _lagged(image: Complex, lag: tuple[int, int]) -> Complex:
    rows, columns = lag
    product: Complex = image[rows:, columns:] * np.conj(image[: image.shape[0] - rows, : image.shape[1] - columns])
    product -= product.mean()
    return product


def _correlation(small: Complex, large: Complex, across: int) -> Float:
    """|Σ small*(x) large(x + y)| for y from 0 to ``across``, over the roots of both energies, that part of ``large`` only."""
    from scipy.fft import fft2, ifft2, next_fast_len

    size = [next_fast_len(one) for one in large.shape]
    product = fft2(large, size, workers=1)
    product *= np.conj(fft2(small, size, workers=1))
    match = np.abs(ifft2(product, overwrite_x=True, workers=1)[:across, :across]).astype(np.float64)
    sums = np.pad(np.abs(large).astype(np.float64) ** 2, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    rows, columns = small.shape
    energy = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
    energy = np.maximum(energy[:across, :across], 1e-9 * max(float(energy.max()), np.finfo(float).tiny))
    return np.asarray(match / np.sqrt(energy) / (np.sqrt(squared_norm(small)) or 1.0), dtype=np.float64)


def _ramp(product: Complex) -> tuple[Float, float]:
    """Where the Fourier transform of the product has its peak, radians per pixel, and how high it is.

    Found on a grid of half a fringe, then by Newton's steps on the logarithm of the modulus.
    """
    from scipy.fft import fft2, next_fast_len

    size = [next_fast_len(2 * one) for one in product.shape]
    spectrum = fft2(product, size, workers=1)
    peak = np.unravel_index(int(np.argmax(spectrum.real**2 + spectrum.imag**2)), spectrum.shape)
    ramp = np.array([2 * np.pi * np.fft.fftfreq(n)[index] for n, index in zip(size, peak, strict=True)])
    height, best = -1.0, ramp
    for _ in range(_POLISHED):
        moments = _moments(product, ramp)
        if not abs(moments[0, 0]) > height:
            break
        height, best = float(abs(moments[0, 0])), ramp
        if height == 0:
            break
        row, column, mixed = (moments[place] / moments[0, 0] for place in ((1, 0), (0, 1), (1, 1)))
        rows, columns = moments[2, 0] / moments[0, 0], moments[0, 2] / moments[0, 0]
        curvature = np.array([[row**2 - rows, row * column - mixed], [row * column - mixed, column**2 - columns]]).real
        if not np.linalg.eigvalsh(curvature)[-1] < 0:
            break
        ramp = ramp - np.linalg.solve(curvature, np.array([row, column]).imag)
    return best, height


def _moments(product: Complex, ramp: Float) -> NDArray[np.complex128]:
    """Σ row^a column^b · product · exp(-i ramp·(row, column)) for a, b from 0 to 2."""
    rows, columns = (
        np.vander(pixels, 3, increasing=True) * np.exp(-1j * slope * pixels)[:, None]
        for slope, pixels in zip(ramp, (np.arange(n) - (n - 1) / 2 for n in product.shape), strict=True)
    )
    return np.asarray(rows.T @ (product @ columns.astype(np.complex64)), dtype=np.complex128)
