"""Shifts of an image: by whole pixels as cuts, by parts of a pixel in Fourier space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ptycho_core.imaging.area import Area

__all__ = ["Complex", "Float", "Frame", "Shifted", "squared_norm"]

Complex: TypeAlias = NDArray[np.complexfloating[Any]]
Float: TypeAlias = NDArray[np.float64]

_MARGIN = 24  # pixels around the area that are tapered, so that the Fourier shift does not ring inside


class Frame:
    """A moving image around an area of a fixed one.

    Args:
        moving: (rows, columns), complex.
        area: in pixels of the fixed image.
        offset: pixel of the fixed image onto which pixel ``[0, 0]`` of the moving one falls.
    """

    def __init__(self, moving: Complex, area: Area, offset: tuple[int, int]) -> None:
        self._moving = moving
        self._corner = (area.row_start - offset[0], area.column_start - offset[1])
        self.shape = area.shape

    def cut(self, shift: tuple[int, int], before: int = 0, shape: tuple[int, int] | None = None) -> Complex:
        """A copy of the image after a shift by whole pixels, over the area or over ``shape`` pixels from ``before`` its corner.

        Its border is repeated where it ends.
        """
        rows, columns = (
            np.clip(np.arange(size) + start - moved - before, 0, limit - 1)
            for size, start, moved, limit in zip(shape or self.shape, self._corner, shift, self._moving.shape, strict=True)
        )
        return self._moving[np.ix_(rows, columns)]

    def flattened(self, shift: tuple[int, int], ramp: Float, dtype: Any = np.complex128) -> Shifted:  # noqa: ANN401 - a dtype
        """The image after a shift by whole pixels and times a phase ramp, to be shifted by parts of a pixel."""
        from scipy.fft import next_fast_len

        rows, columns = (next_fast_len(size + 2 * _MARGIN) for size in self.shape)
        return Shifted(self.cut(shift, _MARGIN, (rows, columns)).astype(dtype, copy=False), self.shape, ramp)


class Shifted:
    """Fourier shifts of an image and their derivatives.

    The ramp is put on before the shift, so that what is shifted is as smooth as it can be. Each call of `image` or `slopes`
    overwrites what the one before returned.

    Args:
        wide: the image over the area and a margin around it, (rows, columns), complex; it is overwritten.
        shape: rows and columns of the area.
        ramp: (2,), radians per pixel, about the middle of ``wide``.
    """

    def __init__(self, wide: Complex, shape: tuple[int, int], ramp: Float) -> None:
        self._inner = tuple(slice(_MARGIN, _MARGIN + size) for size in shape)
        self._frequencies = [2 * np.pi * np.fft.fftfreq(size) for size in wide.shape]
        self._dtype = wide.dtype
        centred = [np.arange(size) - (size - 1) / 2 for size in wide.shape]
        self.pixels = [one[inner] for one, inner in zip(centred, self._inner, strict=True)]
        self._scale(wide, [np.exp(1j * slope * one) for slope, one in zip(ramp, centred, strict=True)])
        self._mean = wide.mean()
        wide -= self._mean
        self._scale(wide, [_taper(size) for size in wide.shape])
        self._spectrum = _transform(wide)
        self._buffers = [np.empty_like(wide) for _ in range(3)]

    def image(self, part: Float, ramp: Float) -> Complex:
        """The image over the area after a shift by ``part``, (2,), pixels, and then times a ramp, (2,), radians per pixel."""
        image = self._shifted(part, self._buffers[0])
        image += self._mean
        return self._scale(image, self._ramps(ramp))

    def slopes(self, part: Float, ramp: Float) -> tuple[Complex, Complex]:
        """Derivatives of the shifted image by rows and by columns, times the ramp."""
        ramps = self._ramps(ramp)
        by_row, by_column = (self._scale(self._shifted(part, self._buffers[1 + axis], axis), ramps) for axis in (0, 1))
        return by_row, by_column

    def _shifted(self, part: Float, buffer: Complex, derivative: int | None = None) -> Complex:
        phases = [np.exp(-1j * one * moved) for one, moved in zip(self._frequencies, part, strict=True)]
        if derivative is not None:
            phases[derivative] = phases[derivative] * 1j * self._frequencies[derivative]
        np.multiply(self._spectrum, phases[0].astype(self._dtype)[:, None], out=buffer)
        buffer *= phases[1].astype(self._dtype)
        return _transform(buffer, inverse=True)[self._inner]

    def _ramps(self, ramp: Float) -> list[NDArray[Any]]:
        return [np.exp(1j * slope * pixels) for slope, pixels in zip(ramp, self.pixels, strict=True)]

    def _scale(self, image: Complex, factors: list[NDArray[Any]]) -> Complex:
        """The image, multiplied in place by a factor for each row and one for each column."""
        image *= factors[0].astype(self._dtype)[:, None]
        image *= factors[1].astype(self._dtype)
        return image


def squared_norm(image: Complex) -> float:
    """Sum of the squared moduli; without BLAS, whose threads cost more here than they bring."""
    return float(sum(np.einsum("ij,ij->", part, part, dtype=np.float64) for part in (image.real, image.imag)))


def _transform(image: Complex, *, inverse: bool = False) -> Complex:
    from scipy import fft

    found: Complex = (fft.ifft2 if inverse else fft.fft2)(image, overwrite_x=True, workers=1)
    return found


def _taper(size: int) -> Float:
    """One inside, falling to zero over two thirds of the margin at each end."""
    width = 2 * _MARGIN // 3
    edge = np.sin(np.pi / 2 * (np.arange(width) + 0.5) / width) ** 2
    taper = np.ones(size)
    taper[:width] = edge
    taper[-width:] = edge[::-1]
    return taper
