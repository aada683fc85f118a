"""Array operations of PyTorch, on one device in one precision: what the algorithms of the core are written on."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from ptycho_backend_torch.network import ChannelsLast, Translated
from ptycho_core.engine import ArrayOps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ptycho_core.contract import Value

__all__ = ["TorchArrays"]

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


def _cut(canvas: torch.Tensor, corners: Corners, size: int) -> torch.Tensor:
    """Windows (frame, N, N) of a canvas."""
    if corners.flat is not None:
        return torch.take(canvas, corners.flat)
    return torch.stack(_views(canvas, corners, size))


def _add(canvas: torch.Tensor, patches: torch.Tensor, corners: Corners) -> torch.Tensor:
    """Patches (frame, N, N) added to their windows of the canvas, in place; the adjoint of `_cut`."""
    if corners.flat is not None:  # `index_add_` adds in no fixed order on CUDA: sums differ there in the last digits
        canvas.view(-1).index_add_(0, corners.flat.reshape(-1), patches.reshape(-1))
        return canvas
    for patch, view in zip(patches.unbind(0), _views(canvas, corners, patches.shape[-1]), strict=True):
        view.add_(patch)
    return canvas


def _views(canvas: torch.Tensor, corners: Corners, size: int) -> list[torch.Tensor]:
    """The windows as parts of the canvas."""
    return [canvas[row : row + size, column : column + size] for row, column in corners.places]


class _Cut(torch.autograd.Function):
    """`_cut`, with `_add` as its derivative: thousands of slices would each be a node of the graph otherwise."""

    @staticmethod
    def forward(ctx: Any, canvas: torch.Tensor, corners: Corners, size: int) -> torch.Tensor:  # noqa: ANN401
        ctx.corners, ctx.shape = corners, canvas.shape
        return _cut(canvas, corners, size)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # noqa: ANN401
        return _add(gradients[0].new_zeros(ctx.shape), gradients[0], ctx.corners), None, None


class _Added(torch.autograd.Function):
    """`_add`, with `_cut` as its derivative by the patches."""

    @staticmethod
    def forward(ctx: Any, canvas: torch.Tensor, patches: torch.Tensor, corners: Corners) -> torch.Tensor:  # noqa: ANN401
        ctx.corners, ctx.size = corners, patches.shape[-1]
        return _add(canvas.detach(), patches, corners)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:  # noqa: ANN401
        return gradients[0], _cut(gradients[0], ctx.corners, ctx.size), None


class _WithAdjoint(torch.autograd.Function):
    """See `ArrayOps.with_adjoint`."""

    @staticmethod
    def forward(ctx: Any, function: Any, adjoint: Any, *arrays: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        found, ctx.kept = function(*arrays)
        ctx.adjoint = adjoint
        array: torch.Tensor = found
        return array

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        return None, None, *ctx.adjoint(ctx.kept, gradients[0])


class TorchArrays(ArrayOps):
    """See `ArrayOps`; nothing is compiled, and `scatter_add` changes the canvas in place."""

    # What PyTorch itself has
    sqrt = staticmethod(torch.sqrt)
    rsqrt = staticmethod(torch.rsqrt)
    log = staticmethod(torch.log)
    exp = staticmethod(torch.exp)
    expm1 = staticmethod(torch.expm1)
    softplus = staticmethod(functional.softplus)
    sigmoid = staticmethod(torch.sigmoid)
    sign = staticmethod(torch.sign)
    abs = staticmethod(torch.abs)
    conj = staticmethod(torch.conj)
    real = staticmethod(torch.real)
    imag = staticmethod(torch.imag)
    complex = staticmethod(torch.complex)
    fft2 = staticmethod(torch.fft.fft2)
    ifft2 = staticmethod(torch.fft.ifft2)
    silu = staticmethod(functional.silu)
    einsum = staticmethod(torch.einsum)
    copy = staticmethod(torch.clone)
    constant = staticmethod(torch.detach)
    fft2_ortho = staticmethod(partial(torch.fft.fft2, norm="ortho"))
    ifft2_ortho = staticmethod(partial(torch.fft.ifft2, norm="ortho"))
    fftshift = staticmethod(partial(torch.fft.fftshift, dim=(-2, -1)))
    ifftshift = staticmethod(partial(torch.fft.ifftshift, dim=(-2, -1)))
    fold = staticmethod(partial(functional.pixel_unshuffle, downscale_factor=2))
    unfold = staticmethod(partial(functional.pixel_shuffle, upscale_factor=2))

    def __init__(
        self, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32, *, translated: bool = False
    ) -> None:
        self.device, self._real, self._complex = torch.device(device), dtype, dtype.to_complex()
        self.is_cpu = self.device.type == "cpu"
        self.real_dtype = np.dtype(str(dtype).removeprefix("torch."))
        self._scratch = torch.zeros((0, 0), dtype=dtype, device=self.device)
        self._translate, self._translated = translated, list[Translated]()

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return partial(function, self)

    def from_numpy(self, values: NDArray[Any], *, pinned: bool = False) -> torch.Tensor:
        dtype = self._complex if np.iscomplexobj(values) else self._real
        if not pinned:
            return torch.as_tensor(values, dtype=dtype, device=self.device)
        return torch.as_tensor(values).pin_memory().to(self.device, non_blocking=True).to(dtype)

    def to_numpy(self, array: torch.Tensor) -> NDArray[Any]:
        found: NDArray[Any] = array.detach().resolve_conj().cpu().numpy()
        return found

    def scalar(self, value: float) -> float:
        return value

    def double(self, value: float) -> float:
        return value

    def index(self, number: int) -> int:
        return number

    def zeros(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.zeros(shape, dtype=self._real, device=self.device)

    def zeros_like(self, array: torch.Tensor, kind: torch.Tensor | None = None) -> torch.Tensor:
        return torch.zeros_like(array, dtype=None if kind is None else kind.dtype)

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

    def root_of_sum(self, array: torch.Tensor, added: torch.Tensor | float) -> torch.Tensor:
        return (array + added).sqrt_()  # in place: one array less to make

    def at_least(self, array: torch.Tensor, lowest: float) -> torch.Tensor:
        return array.clamp_min(lowest)

    def at_most(self, array: torch.Tensor, highest: float) -> torch.Tensor:
        return array.clamp_max(highest)

    def times_polar(self, array: torch.Tensor, moduli: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
        return moduli * array * torch.polar(torch.ones_like(angles), angles)

    def abs2(self, array: torch.Tensor) -> torch.Tensor:
        parts = torch.view_as_real(array.resolve_conj())
        parts = parts * parts
        return parts[..., 0] + parts[..., 1]

    def times_real(self, array: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        return array * factor

    def multiply(self, array: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        return array.mul_(factor) if array.shape == factor.shape else array * factor

    def real_product(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        parts = torch.view_as_real(first) * torch.view_as_real(second)
        return parts[..., 0] + parts[..., 1]

    def over_real(self, array: torch.Tensor, divisor: torch.Tensor) -> torch.Tensor:
        return array / divisor

    def times_both(self, array: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return array * first * second

    def add_scaled(self, array: torch.Tensor, other: torch.Tensor, factor: float) -> torch.Tensor:
        return array.add_(other, alpha=factor)

    def add_square(self, array: torch.Tensor, values: torch.Tensor, factor: float) -> torch.Tensor:
        return array.addcmul_(values, values, value=factor)

    def sum(self, array: torch.Tensor, axis: _Axes = None) -> torch.Tensor:
        return array.sum() if axis is None else array.sum(axis)

    def mode_sum(self, array: torch.Tensor) -> torch.Tensor:
        return array[:, 0] if array.shape[1] == 1 else array.sum(1)  # a single mode is not copied

    def square_sum(self, array: torch.Tensor) -> torch.Tensor:
        flat = array.reshape(-1)
        return torch.dot(flat, flat)

    def sum64(self, array: torch.Tensor) -> torch.Tensor:
        return array.sum(dtype=torch.float64)

    def mean64(self, array: torch.Tensor) -> torch.Tensor:
        return array.mean(dtype=torch.float64)

    def squares64(self, array: torch.Tensor) -> torch.Tensor:
        return array.double().square().sum()

    def rounded(self, number: torch.Tensor) -> torch.Tensor:
        return number.to(self._real)

    def max(self, array: torch.Tensor, axis: _Axes = None) -> torch.Tensor:
        return array.max() if axis is None else array.amax(axis)

    def mean(self, array: torch.Tensor, axis: _Axes = None) -> torch.Tensor:
        return array.mean() if axis is None else array.mean(axis)

    def dot(self, first: torch.Tensor, second: torch.Tensor) -> float:
        return float(torch.dot(first, second))

    def stack(self, arrays: Sequence[torch.Tensor], axis: int = 0) -> torch.Tensor:
        return torch.stack(tuple(arrays), axis)

    def concat(self, arrays: Sequence[torch.Tensor], axis: int = 0) -> torch.Tensor:
        return torch.cat(tuple(arrays), axis)

    def split(self, vector: torch.Tensor, lengths: Sequence[int]) -> Sequence[torch.Tensor]:
        return torch.split(vector, list(lengths))

    def broadcast(self, array: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return array.expand(like.shape)

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

    def fft_frequencies(self, size: int) -> torch.Tensor:
        found: torch.Tensor = torch.fft.fftfreq(size, device=self.device, dtype=self._real)
        return found

    def shift_ramps(self, remainders: torch.Tensor, size: int) -> torch.Tensor:
        angles = -2 * math.pi * remainders[:, :, None] * self.fft_frequencies(size)
        ramps = torch.polar(torch.ones_like(angles), angles)
        return (ramps[:, 0, :, None] * ramps[:, 1, None, :])[:, None]

    def gather(self, canvas: torch.Tensor, corners: Corners, size: int) -> torch.Tensor:
        if canvas.requires_grad:
            found: torch.Tensor = _Cut.apply(canvas, corners, size)  # type: ignore[no-untyped-call]
            return found
        return _cut(canvas, corners, size)

    def scatter_add(self, canvas: torch.Tensor, patches: torch.Tensor, corners: Corners) -> torch.Tensor:
        if patches.requires_grad:
            found: torch.Tensor = _Added.apply(canvas, patches, corners)  # type: ignore[no-untyped-call]
            return found
        return _add(canvas, patches, corners)

    def corners(self, whole: NDArray[Any], canvas: torch.Tensor, size: int) -> Corners:
        return Corners(whole, canvas, size)

    def at_each(self, field: torch.Tensor, corners: Corners) -> torch.Tensor:
        return field.expand(len(corners), *field.shape[-2:])

    def overlap_sum(self, patches: torch.Tensor, corners: Corners, canvas: torch.Tensor) -> torch.Tensor:
        """Only the windows of the scratch canvas are touched, which is zero before and after."""
        if self._scratch.shape != canvas.shape:
            self._scratch = self.zeros(tuple(canvas.shape))
        size = int(patches.shape[-1])
        if corners.flat is not None:
            found = self.gather(self.scatter_add(self._scratch, patches, corners), corners, size)
            self._scratch.zero_()
            return found
        views = _views(self._scratch, corners, size)  # once: cutting them out takes as long as adding to them
        for patch, view in zip(patches.unbind(0), views, strict=True):
            view.add_(patch)
        found = torch.stack(views)
        for view in views:
            view.zero_()
        return found

    def layout(self, description: Mapping[str, Any]) -> ChannelsLast:
        return ChannelsLast(description, self._real)

    def convolution(
        self, given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stride: int, *, mixed: bool
    ) -> torch.Tensor:
        if mixed:
            given, weight, bias = (one.to(torch.bfloat16) for one in (given, weight, bias))
        return functional.conv2d(given, weight, bias, stride=stride, padding=1 if weight.shape[-1] == 3 else 0)

    def brief(self, picture: torch.Tensor) -> torch.Tensor:
        return picture.to(torch.bfloat16)  # nothing is done to what a convolution gave, which is bfloat16 already

    def accelerated(self, network: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        if not self._translate:
            return network
        self._translated.append(Translated(network))
        return self._translated[-1]

    def untranslated(self, function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        if not self._translate:
            return function
        called: Callable[..., torch.Tensor] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
        return called

    def facts(self) -> dict[str, Value]:
        return {"compilations": sum(one.translations for one in self._translated)}

    def repeat(
        self, function: Callable[..., tuple[torch.Tensor, ...]], times: int, *first: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        values = first
        for _ in range(times):
            values = function(*values)
        return values

    def value_and_grad(
        self,
        function: Callable[..., tuple[torch.Tensor, Any]],
        vector: torch.Tensor,
        *more: Any,  # noqa: ANN401 - as the function takes
    ) -> tuple[Any, torch.Tensor]:
        leaf = vector.detach().requires_grad_()
        value, further = function(self, leaf, *more)
        if not value.requires_grad:
            return (value, further), torch.zeros_like(vector)
        (gradient,) = torch.autograd.grad(value, leaf)
        return (value, further), gradient

    def with_adjoint(
        self,
        function: Callable[..., tuple[torch.Tensor, Any]],
        adjoint: Callable[..., tuple[torch.Tensor, ...]],
    ) -> Callable[..., torch.Tensor]:
        found: Callable[..., torch.Tensor] = partial(_WithAdjoint.apply, function, adjoint)
        return found
