"""The far-field propagator and the sub-pixel shift, both on the last two axes, both unitary. NumPy, double precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["backpropagate", "propagate", "shift", "shift_derivatives"]

_AXES = (-2, -1)


def propagate(field: ArrayLike) -> NDArray[np.complex128]:
    """Wave at the detector of an exit wave (..., N, N): orthonormal FFT, zero frequency at ``[N//2, N//2]``.

    The corner ``[0, 0]`` of the field is the origin of its coordinates; intensities do not depend on that choice.
    """
    spectrum = np.fft.fft2(np.asarray(field, dtype=np.complex128), norm="ortho")
    return np.fft.fftshift(spectrum, axes=_AXES)


def backpropagate(field: ArrayLike) -> NDArray[np.complex128]:
    """Inverse, and adjoint, of `propagate`: from the detector (..., N, N) to the exit wave (..., N, N)."""
    spectrum = np.fft.ifftshift(np.asarray(field, dtype=np.complex128), axes=_AXES)
    return np.fft.ifft2(spectrum, norm="ortho")


def _ramps(
    shape: tuple[int, ...], displacement: NDArray[np.float64]
) -> tuple[NDArray[np.complex128], NDArray[np.float64], NDArray[np.float64]]:
    """Fourier factors of a shift, and the frequencies along rows (R, 1) and columns (1, C)."""
    rows = np.asarray(np.fft.fftfreq(shape[-2])[:, None], dtype=np.float64)
    columns = np.asarray(np.fft.fftfreq(shape[-1])[None, :], dtype=np.float64)
    d = displacement[..., None, None, :]
    ramps: NDArray[np.complex128] = np.exp(-2j * np.pi * (rows * d[..., 0] + columns * d[..., 1]))
    return ramps, rows, columns


def shift(field: ArrayLike, displacement: ArrayLike) -> NDArray[np.complex128]:
    """Move a periodic field by a fraction of a pixel, in Fourier space (the shift theorem).

    ``FFT⁻¹[exp(-2πi (f_row d_row + f_col d_col)) FFT[field]]`` with frequencies ``-1/2 ≤ f < 1/2`` cycles a pixel. For even N
    the Nyquist frequency counts as -1/2, so its factor is ``exp(+πi d)``: of modulus one, like all others. Thus the shift keeps
    Σ|field|², shifts add up, and ``-d`` undoes ``d``. The price: what a real field holds at the Nyquist frequency does not stay
    real unless ``d`` is whole; a shift by whole pixels is ``numpy.roll``.

    Args:
        field: (..., N, N).
        displacement: (..., 2), (row, column) in pixels, positive towards higher indices; leading axes broadcast with the field's.
    """
    values = np.asarray(field, dtype=np.complex128)
    ramps, _, _ = _ramps(values.shape, np.asarray(displacement, dtype=np.float64))
    return np.fft.ifft2(ramps * np.fft.fft2(values))


def shift_derivatives(field: ArrayLike, displacement: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Derivatives of `shift` with respect to ``d_row`` and ``d_col``: each complex, shaped as the shifted field."""
    values = np.asarray(field, dtype=np.complex128)
    ramps, rows, columns = _ramps(values.shape, np.asarray(displacement, dtype=np.float64))
    spectrum = -2j * np.pi * ramps * np.fft.fft2(values)
    return np.fft.ifft2(rows * spectrum), np.fft.ifft2(columns * spectrum)
