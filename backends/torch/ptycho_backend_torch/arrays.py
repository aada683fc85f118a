"""Array operations of PyTorch, on one device in one precision: what the algorithms of the core are written on."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ptycho_core.engine.arrays import ArrayOps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["Corners", "TorchArrays", "gather", "mode_sum", "scatter_add", "shift_ramps", "squared_modulus"]

_Axes = int | tuple[int, ...] | None


class Corners:
    """The places of a batch of windows.

    Attributes:
        places: whole-pixel (row, column) of every window's corner.
        flat: int64 (frame, N, N), flat indices into the canvas; only on devices where one call beats a loop.
    """

    def __init__(self, whole: NDArray[Any], canvas: torch.Tensor, size: int) -> None:
        self.places = [(int(row), int(column)) for row, column in whole]
        self.flat: torch.Tensor | None = None
        if canvas.device.type != "cpu":
            corner = torch.as_tensor(whole, dtype=torch.int64, device=canvas.device)
            steps = torch.arange(size, device=canvas.device)
            rows = (corner[:, 0, None] + steps) * canvas.shape[1]
            self.flat = rows[:, :, None] + (corner[:, 1, None] + steps)[:, None, :]

    def __len__(self) -> int:
        return len(self.places)


def gather(canvas: torch.Tensor, corners: Corners, size: int) -> torch.Tensor:
    """Cut (frame, N, N) windows out of a (rows, columns) canvas."""
    if corners.flat is not None:
        return torch.take(canvas, corners.flat)
    return torch.stack([canvas[row : row + size, column : column + size] for row, column in corners.places])


def scatter_add(canvas: torch.Tensor, patches: torch.Tensor, corners: Corners) -> torch.Tensor:
    """Add (frame, N, N) patches to their windows of the canvas, in place; the adjoint of `gather`."""
    if corners.flat is not None:  # `index_add_` adds in no fixed order on CUDA: sums differ there in the last digits
        canvas.view(-1).index_add_(0, corners.flat.reshape(-1), patches.reshape(-1))
        return canvas
    size = patches.shape[-1]
    for patch, (row, column) in zip(patches.unbind(0), corners.places, strict=True):
        canvas[row : row + size, column : column + size].add_(patch)
    return canvas


def shift_ramps(remainders: torch.Tensor, size: int) -> torch.Tensor:
    """Fourier factors, complex (frame, 1, N, N), for remainders (frame, 2), in their precision."""
    frequencies = torch.fft.fftfreq(size, device=remainders.device, dtype=remainders.dtype)
    angles = -2 * math.pi * remainders[:, :, None] * frequencies
    ramps = torch.polar(torch.ones_like(angles), angles)
    return (ramps[:, 0, :, None] * ramps[:, 1, None, :])[:, None]


def squared_modulus(array: torch.Tensor) -> torch.Tensor:
    """``|array|^2`` (faster than through ``abs``, which takes a root)."""
    parts = torch.view_as_real(array.resolve_conj())
    parts = parts * parts
    return parts[..., 0] + parts[..., 1]


def mode_sum(array: torch.Tensor) -> torch.Tensor:
    """Sum over modes, the second axis; a single mode is not copied."""
    return array[:, 0] if array.shape[1] == 1 else array.sum(1)


class TorchArrays(ArrayOps):
    """See `ArrayOps`; nothing is compiled, and `scatter_add` changes the canvas in place."""

    abs2, mode_sum, shift_ramps = staticmethod(squared_modulus), staticmethod(mode_sum), staticmethod(shift_ramps)
    gather, scatter_add = staticmethod(gather), staticmethod(scatter_add)

    def __init__(self, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.device, self._real, self._complex = torch.device(device), dtype, dtype.to_complex()
        self.is_cpu = self.device.type == "cpu"
        self.real_dtype = np.dtype(str(dtype).removeprefix("torch."))
        self._scratch = torch.zeros((0, 0), dtype=dtype, device=self.device)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return partial(function, self)

    def from_numpy(self, values: NDArray[Any], *, pinned: bool = False) -> torch.Tensor:
        dtype = self._complex if np.iscomplexobj(values) else self._real
        if not pinned:
            return torch.as_tensor(values, dtype=dtype, device=self.device)
        return torch.as_tensor(values).pin_memory().to(self.device, non_blocking=True).to(dtype)

    def to_numpy(self, array: torch.Tensor) -> NDArray[Any]:
        found: NDArray[Any] = array.cpu().numpy()
        return found

    def scalar(self, value: float) -> float:
        return value

    def zeros(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.zeros(shape, dtype=self._real, device=self.device)

    def zeros_like(self, array: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(array)

    def copy(self, array: torch.Tensor) -> torch.Tensor:
        return array.clone()

    def size(self, array: torch.Tensor) -> int:
        return int(array.shape[-1])

    def number(self, size: int) -> float:
        return float(size)

    def is_finite(self, array: torch.Tensor) -> bool:
        return bool(torch.isfinite(torch.view_as_real(array) if array.is_complex() else array).all())

    def cache(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.empty(shape, dtype=self._real, device=self.device)

    def fill(self, cache: torch.Tensor, first: int, values: torch.Tensor) -> None:
        cache[first : first + len(values)] = values

    def rows(self, array: torch.Tensor, numbers: NDArray[np.int64]) -> torch.Tensor:
        if len(numbers) and numbers[-1] - numbers[0] + 1 == len(numbers) and bool(np.all(np.diff(numbers) == 1)):
            return array[int(numbers[0]) : int(numbers[-1]) + 1]
        return array[torch.as_tensor(numbers, device=self.device)]

    def columns(self, array: torch.Tensor, numbers: NDArray[np.int64]) -> torch.Tensor:
        chosen = torch.as_tensor(numbers, device=self.device)
        return array[..., chosen[:, None], chosen]

    def frame_sums(self, amplitudes: torch.Tensor, inside: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ...]:
        inner = amplitudes[:, torch.as_tensor(inside, device=self.device)]
        sums = (
            amplitudes.sum((1, 2), dtype=torch.float64),
            (amplitudes * amplitudes).sum((1, 2), dtype=torch.float64),
            inner.sum(1, dtype=torch.float64),
        )
        return tuple(one.cpu().numpy() for one in sums)

    def sqrt(self, array: torch.Tensor) -> torch.Tensor:
        return array.sqrt()

    def rsqrt(self, array: torch.Tensor) -> torch.Tensor:
        return array.rsqrt()

    def log(self, array: torch.Tensor) -> torch.Tensor:
        return array.log()

    def exp(self, array: torch.Tensor) -> torch.Tensor:
        return array.exp()

    def sign(self, array: torch.Tensor) -> torch.Tensor:
        return array.sign()

    def abs(self, array: torch.Tensor) -> torch.Tensor:
        return array.abs()

    def at_least(self, array: torch.Tensor, lowest: float) -> torch.Tensor:
        return array.clamp_min(lowest)

    def conj(self, array: torch.Tensor) -> torch.Tensor:
        return array.conj()

    def real(self, array: torch.Tensor) -> torch.Tensor:
        return array.real

    def imag(self, array: torch.Tensor) -> torch.Tensor:
        return array.imag

    def imaginary(self, array: torch.Tensor) -> torch.Tensor:
        return torch.complex(torch.zeros_like(array), array)

    def times_real(self, array: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        return array * factor

    def over_real(self, array: torch.Tensor, divisor: torch.Tensor) -> torch.Tensor:
        return array / divisor

    def sum(self, array: torch.Tensor, axis: _Axes = None) -> torch.Tensor:
        return array.sum() if axis is None else array.sum(axis)

    def square_sum(self, array: torch.Tensor) -> torch.Tensor:
        flat = array.reshape(-1)
        return torch.dot(flat, flat)

    def max(self, array: torch.Tensor) -> torch.Tensor:
        return array.max()

    def mean(self, array: torch.Tensor) -> torch.Tensor:
        return array.mean()

    def dot(self, first: torch.Tensor, second: torch.Tensor) -> float:
        return float(torch.dot(first, second))

    def stack(self, arrays: Sequence[torch.Tensor], axis: int = 0) -> torch.Tensor:
        return torch.stack(tuple(arrays), axis)

    def concat(self, arrays: Sequence[torch.Tensor], axis: int = 0) -> torch.Tensor:
        return torch.cat(tuple(arrays), axis)

    def reshape(self, array: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return array.reshape(shape)

    def pad(self, array: torch.Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> torch.Tensor:
        height, width = array.shape[-2:]
        padded = array.new_zeros((*array.shape[:-2], height + sum(rows), width + sum(columns)))
        padded[..., rows[0] : rows[0] + height, columns[0] : columns[0] + width] = array
        return padded

    def as_real(self, array: torch.Tensor) -> torch.Tensor:
        return torch.view_as_real(array.contiguous()).reshape(-1)

    def as_complex(self, vector: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.view_as_complex(vector.view(*shape, 2))

    def fft2(self, array: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.fft.fft2(array)
        return found

    def ifft2(self, array: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.fft.ifft2(array)
        return found

    def fft2_ortho(self, array: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.fft.fft2(array, norm="ortho")
        return found

    def ifft2_ortho(self, array: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.fft.ifft2(array, norm="ortho")
        return found

    def fftshift(self, array: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.fft.fftshift(array, dim=(-2, -1))
        return found

    def ifftshift(self, array: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.fft.ifftshift(array, dim=(-2, -1))
        return found

    def fft_frequencies(self, size: int) -> torch.Tensor:
        found: torch.Tensor = torch.fft.fftfreq(size, device=self.device, dtype=self._real)
        return found

    def corners(self, whole: NDArray[Any], canvas: torch.Tensor, size: int) -> Corners:
        return Corners(whole, canvas, size)

    def at_each(self, field: torch.Tensor, corners: Corners) -> torch.Tensor:
        return field.expand(len(corners), *field.shape[-2:])

    def overlap_sum(self, patches: torch.Tensor, corners: Corners, canvas: torch.Tensor) -> torch.Tensor:
        """Only the windows of the scratch canvas are touched, which is zero before and after."""
        if self._scratch.shape != canvas.shape:
            self._scratch = self.zeros(tuple(canvas.shape))
        size = int(patches.shape[-1])
        self.scatter_add(self._scratch, patches, corners)
        found = self.gather(self._scratch, corners, size)
        if corners.flat is not None:
            self._scratch.zero_()
        else:
            for row, column in corners.places:
                self._scratch[row : row + size, column : column + size].zero_()
        return found
