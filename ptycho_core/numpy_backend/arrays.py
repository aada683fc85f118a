"""Array operations of NumPy and SciPy, in one precision: what the algorithms of the core are written on."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft, special

from ptycho_core.engine import ArrayOps
from ptycho_core.numpy_backend.network import ChannelsLast, convolution, fold, unfold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ptycho_core.engine import Array

__all__ = ["NumpyArrays"]

_Axes = int | tuple[int, ...] | None
_PICTURE = (-2, -1)


class NumpyArrays(ArrayOps):
    """See `ArrayOps`; nothing is compiled, `scatter_add` changes the canvas in place, and there are no derivatives."""

    is_cpu = True

    # What NumPy and SciPy themselves have
    sqrt = staticmethod(np.sqrt)
    log = staticmethod(np.log)
    exp = staticmethod(np.exp)
    expm1 = staticmethod(np.expm1)
    sigmoid = staticmethod(special.expit)
    sign = staticmethod(np.sign)
    abs = staticmethod(np.abs)
    at_least = staticmethod(np.maximum)
    at_most = staticmethod(np.minimum)
    conj = staticmethod(np.conj)
    real = staticmethod(np.real)
    imag = staticmethod(np.imag)
    stack = staticmethod(np.stack)
    fftshift = staticmethod(partial(np.fft.fftshift, axes=_PICTURE))
    ifftshift = staticmethod(partial(np.fft.ifftshift, axes=_PICTURE))
    fold = staticmethod(fold)
    unfold = staticmethod(unfold)

    def __init__(self, dtype: np.dtype[Any], threads: int = 1) -> None:
        self.real_dtype = dtype
        self._complex = np.result_type(dtype, np.complex64)
        self._threads = threads
        self._scratch = np.zeros((0, 0), dtype)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return partial(function, self)

    def from_numpy(self, values: Array, *, pinned: bool = False) -> Array:  # noqa: ARG002 - nothing is copied to a device
        return np.asarray(values).astype(self._complex if np.iscomplexobj(values) else self.real_dtype, copy=False)

    def to_numpy(self, array: Array) -> Array:
        return array

    def scalar(self, value: float) -> float:
        return value  # a number of Python takes the precision of what it meets, and one of NumPy does not

    def double(self, value: float) -> float:
        return value

    def index(self, number: int) -> int:
        return number

    def zeros(self, shape: tuple[int, ...]) -> Array:
        return np.zeros(shape, self.real_dtype)

    def zeros_like(self, array: Array, kind: Array | None = None) -> Array:
        return np.zeros(array.shape, (array if kind is None else kind).dtype)

    def size(self, array: Array) -> int:
        return int(array.shape[-1])

    def number(self, size: int) -> float:
        return float(size)

    def is_finite(self, array: Array) -> bool:
        return bool(np.isfinite(array).all())

    def cache(self, shape: tuple[int, ...]) -> Array:
        return np.empty(shape, self.real_dtype)

    def fill(self, cache: Array, first: int, values: Array) -> None:
        cache[first : first + len(values)] = values

    def rows(self, array: Array, numbers: NDArray[np.int64]) -> Array:
        if len(numbers) and bool(np.all(np.diff(numbers) == 1)):
            return array[int(numbers[0]) : int(numbers[-1]) + 1]
        return array[numbers]

    def columns(self, array: Array, numbers: NDArray[np.int64]) -> Array:
        return array[..., numbers[:, None], numbers]

    def frame_sums(self, amplitudes: Array, inside: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ...]:
        frames = (1, 2)
        summed = ((amplitudes, frames), (amplitudes * amplitudes, frames), (amplitudes[:, inside], 1))
        return tuple(np.asarray(np.sum(one, axis, np.float64)) for one, axis in summed)

    def root_of_sum(self, array: Array, added: Array | float) -> Array:
        found = array + added
        return np.sqrt(found, out=found)  # in place: one array less to make

    def rsqrt(self, array: Array) -> Array:
        return 1 / np.sqrt(array)

    def softplus(self, array: Array) -> Array:
        return np.logaddexp(array, self.real_dtype.type(0))

    def complex(self, real: Array, imaginary: Array) -> Array:
        found = np.empty(np.broadcast_shapes(real.shape, imaginary.shape), self._complex)
        found.real, found.imag = real, imaginary
        return found

    def times_polar(self, array: Array, moduli: Array, angles: Array) -> Array:
        return self.times_real(array * self.complex(np.cos(angles), np.sin(angles)), moduli)

    def abs2(self, array: Array) -> Array:
        parts = array.real, array.imag
        found = parts[0] * parts[0]
        found += parts[1] * parts[1]
        return found

    def times_real(self, array: Array, factor: Array | float) -> Array:
        found = np.empty(np.broadcast_shapes(np.shape(array), np.shape(factor)), array.dtype)
        np.multiply(array.real, factor, out=found.real)  # part by part, which is faster than a product of complex numbers
        np.multiply(array.imag, factor, out=found.imag)
        return found

    def over_real(self, array: Array, divisor: Array) -> Array:
        found = np.empty(np.broadcast_shapes(np.shape(array), np.shape(divisor)), array.dtype)
        np.divide(array.real, divisor, out=found.real)
        np.divide(array.imag, divisor, out=found.imag)
        return found

    def times_both(self, array: Array, first: Array, second: Array) -> Array:
        return array * first * second

    def add_scaled(self, array: Array, other: Array, factor: float) -> Array:
        array += factor * other
        return array

    def add_square(self, array: Array, values: Array, factor: float) -> Array:
        array += factor * (values * values)
        return array

    def sum(self, array: Array, axis: _Axes = None) -> Array:
        return np.sum(array, axis)

    def max(self, array: Array, axis: _Axes = None) -> Array:
        return np.max(array, axis)

    def mean(self, array: Array, axis: _Axes = None) -> Array:
        return np.mean(array, axis)

    def mode_sum(self, array: Array) -> Array:
        return array[:, 0] if array.shape[1] == 1 else np.sum(array, 1)  # a single mode is not copied

    def square_sum(self, array: Array) -> Array:
        flat = array.reshape(-1)
        return np.dot(flat, flat)

    def sum64(self, array: Array) -> Array:
        return np.sum(array, dtype=np.float64)

    def mean64(self, array: Array) -> Array:
        return np.mean(array, dtype=np.float64)

    def squares64(self, array: Array) -> Array:
        return np.sum(np.square(array, dtype=np.float64))

    def rounded(self, number: Array) -> Array:
        return self.real_dtype.type(number)

    def dot(self, first: Array, second: Array) -> float:
        return float(np.dot(first, second))

    def copy(self, array: Array) -> Array:
        return array.copy()

    def reshape(self, array: Array, shape: tuple[int, ...]) -> Array:
        return array.reshape(shape)

    def concat(self, arrays: Sequence[Array], axis: int = 0) -> Array:
        return np.concatenate(arrays, axis)

    def einsum(self, subscripts: str, first: Array, second: Array) -> Array:
        return np.einsum(subscripts, first, second, optimize=True)

    def split(self, vector: Array, lengths: Sequence[int]) -> Sequence[Array]:
        return np.split(vector, np.cumsum(lengths)[:-1])

    def broadcast(self, array: Array, like: Array) -> Array:
        return np.broadcast_to(array, like.shape)

    def pad(self, array: Array, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
        height, width = array.shape[-2:]
        padded = np.zeros((*array.shape[:-2], height + rows[0] + rows[1], width + columns[0] + columns[1]), array.dtype)
        padded[..., rows[0] : rows[0] + height, columns[0] : columns[0] + width] = array
        return padded

    def as_real(self, array: Array) -> Array:
        return np.ascontiguousarray(array).reshape(-1).view(self.real_dtype)

    def as_complex(self, vector: Array, shape: tuple[int, ...]) -> Array:
        return np.ascontiguousarray(vector).view(self._complex).reshape(shape)

    def fft2(self, array: Array) -> Array:
        return fft.fft2(array, workers=self._threads)

    def ifft2(self, array: Array) -> Array:
        return fft.ifft2(array, workers=self._threads)

    def fft2_ortho(self, array: Array) -> Array:
        return fft.fft2(array, norm="ortho", workers=self._threads)

    def ifft2_ortho(self, array: Array) -> Array:
        return fft.ifft2(array, norm="ortho", workers=self._threads)

    def fft_frequencies(self, size: int) -> Array:
        return np.fft.fftfreq(size).astype(self.real_dtype)

    def shift_ramps(self, remainders: Array, size: int) -> Array:
        angles = -2 * math.pi * remainders[:, :, None] * self.fft_frequencies(size)
        ramps = self.complex(np.cos(angles), np.sin(angles))
        return (ramps[:, 0, :, None] * ramps[:, 1, None, :])[:, None]

    def corners(self, whole: Array, canvas: Array, size: int) -> list[tuple[int, int]]:  # noqa: ARG002 - see `ArrayOps`
        return [(int(row), int(column)) for row, column in whole]

    def gather(self, canvas: Array, corners: list[tuple[int, int]], size: int) -> Array:
        found = np.empty((len(corners), size, size), canvas.dtype)
        for patch, view in zip(found, _views(canvas, corners, size), strict=True):
            patch[...] = view
        return found

    def scatter_add(self, canvas: Array, patches: Array, corners: list[tuple[int, int]]) -> Array:
        for patch, view in zip(patches, _views(canvas, corners, patches.shape[-1]), strict=True):
            view += patch
        return canvas

    def at_each(self, field: Array, corners: list[tuple[int, int]]) -> Array:
        return np.broadcast_to(field, (len(corners), *field.shape[-2:]))

    def overlap_sum(self, patches: Array, corners: list[tuple[int, int]], canvas: Array) -> Array:
        """Only the windows of the scratch canvas are touched, which is zero before and after."""
        if self._scratch.shape != canvas.shape:
            self._scratch = self.zeros(canvas.shape)
        found = self.gather(self.scatter_add(self._scratch, patches, corners), corners, patches.shape[-1])
        for view in _views(self._scratch, corners, patches.shape[-1]):
            view[...] = 0
        return found

    def layout(self, description: Mapping[str, Any]) -> ChannelsLast:  # noqa: ARG002 - all are held alike
        return ChannelsLast()

    def convolution(self, given: Array, weight: Array, bias: Array, stride: int, *, mixed: bool) -> Array:  # noqa: ARG002
        return convolution(given, weight, bias, stride)

    def silu(self, given: Array) -> Array:
        return given * special.expit(given)

    def repeat(self, function: Callable[..., tuple[Array, ...]], times: int, *first: Array) -> tuple[Array, ...]:
        values = first
        for _ in range(times):
            values = function(*values)
        return values


def _views(canvas: Array, corners: Sequence[tuple[int, int]], size: int) -> list[Array]:
    """The windows as parts of the canvas."""
    return [canvas[row : row + size, column : column + size] for row, column in corners]
