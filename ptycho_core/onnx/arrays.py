"""The engine's array operations in the operators of ONNX; what a graph cannot do is refused by name.

A Fourier transform is two products with matrices.  ONNX Runtime took 0.05 ms for one of 64 x 64 pixels and 0.38 ms for 128 x 128
so, with its operator DFT 0.12 and 0.74 ms; with 96 x 96, no power of two, DFT took 1.8 ms for 0.16 ms, and lost two digits.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.engine import ArrayOps
from ptycho_core.errors import CapabilityError
from ptycho_core.onnx.traced import Traced

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ptycho_core.onnx.graph import Graph
    from ptycho_core.onnx.traced import Shape

__all__ = ["onnx_arrays"]

_Axes = int | tuple[int, ...] | None


class Planes:
    """Weights and pictures as they are described: channels first, as ONNX takes them; see `ptycho_core.engine.Layout`."""

    def native(self, name: str, value: NDArray[Any]) -> NDArray[Any]:  # noqa: ARG002 - all are held alike
        """As it is."""
        return value

    canonical = native

    def weight(self, value: Traced) -> Traced:
        """As it is."""
        return value

    enter = planes = leave = weight

    def ordered(self, picture: Traced, layer: str, place: int) -> Traced:  # noqa: ARG002
        """As it is."""
        return picture


class _OnnxArrays(ArrayOps):
    """See `ArrayOps`; arrays are `Traced`."""

    is_cpu = True

    def __init__(self, graph: Graph, dtype: str) -> None:
        self._graph, self._dtype, self.real_dtype = graph, dtype, np.dtype(dtype)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return partial(function, self)

    def from_numpy(self, values: NDArray[Any], *, pinned: bool = False) -> Traced:  # noqa: ARG002 - it has no such thing
        real = self._graph.constant(np.asarray(values.real, self.real_dtype))
        imag = self._graph.constant(np.asarray(values.imag, self.real_dtype)) if np.iscomplexobj(values) else ""
        return Traced(self._graph, real, values.shape, imag, self._dtype)

    def scalar(self, value: float) -> float:
        return value

    def zeros_like(self, array: Traced, kind: Traced | None = None) -> Traced:
        kind = array if kind is None else kind
        zero = array.number(0)
        return array.like(zero, zero if kind.imag else "", ()).expanded(array.shape, array.real)

    def size(self, array: Traced) -> int:
        return int(array.shape[-1] or 0)

    def number(self, size: int) -> float:
        return float(size)

    # Element by element

    def sqrt(self, array: Traced) -> Traced:
        return array.parts("Sqrt")

    def rsqrt(self, array: Traced) -> Traced:
        return self.sqrt(array).parts("Reciprocal")

    def log(self, array: Traced) -> Traced:
        return array.parts("Log")

    def exp(self, array: Traced) -> Traced:
        return array.parts("Exp")

    def expm1(self, array: Traced) -> Traced:
        return (0.5 * array).parts("Tanh") * (self.exp(array) + 1)  # keeps its digits near zero

    def softplus(self, array: Traced) -> Traced:
        return array.parts("Softplus")

    def sigmoid(self, array: Traced) -> Traced:
        return array.parts("Sigmoid")

    def abs(self, array: Traced) -> Traced:
        return self.sqrt(self.abs2(array)) if array.imag else array.parts("Abs")

    def at_least(self, array: Traced, lowest: float) -> Traced:
        return array.parts("Max", array.number(lowest))

    def at_most(self, array: Traced, highest: float) -> Traced:
        return array.parts("Min", array.number(highest))

    def conj(self, array: Traced) -> Traced:
        return array.like(array.real, self._graph.one("Neg", array.imag))

    def real(self, array: Traced) -> Traced:
        return array.like(array.real)

    def imag(self, array: Traced) -> Traced:
        return array.like(array.imag)

    def complex(self, real: Traced, imaginary: Traced) -> Traced:
        return real.like(real.real, imaginary.real)

    def times_polar(self, array: Traced, moduli: Traced, angles: Traced) -> Traced:
        return array * self.complex(moduli * angles.parts("Cos"), moduli * angles.parts("Sin"))

    def abs2(self, array: Traced) -> Traced:
        real, imag = self.real(array), self.imag(array)
        return real * real + imag * imag

    def times_real(self, array: Traced, factor: Traced | float) -> Traced:
        return array * factor

    def over_real(self, array: Traced, divisor: Traced) -> Traced:
        return array / divisor

    def add_scaled(self, array: Traced, other: Traced, factor: float) -> Traced:
        return array + factor * other

    # Sums

    def sum(self, array: Traced, axis: _Axes = None) -> Traced:
        return self._over("ReduceSum", array, axis)

    def mode_sum(self, array: Traced) -> Traced:
        return self.sum(array, 1)

    def max(self, array: Traced, axis: _Axes = None) -> Traced:
        return self._over("ReduceMax", array, axis)

    def mean(self, array: Traced, axis: _Axes = None) -> Traced:
        return self._over("ReduceMean", array, axis)

    def sum64(self, array: Traced) -> Traced:
        return self.sum(array.cast("float64"))

    def rounded(self, number: Traced) -> Traced:
        return number.cast(self._dtype)

    def _over(self, operator: str, array: Traced, axis: _Axes) -> Traced:
        sides = range(len(array.shape))
        axes = sides if axis is None else [one % len(sides) for one in ((axis,) if isinstance(axis, int) else axis)]
        shape = tuple(side for place, side in enumerate(array.shape) if place not in axes)
        return array.parts(operator, self._graph.numbers(*axes), shape=shape, keepdims=0)

    # Shapes

    def stack(self, arrays: Sequence[Traced], axis: int = 0) -> Traced:
        place = (*[slice(None)] * axis, None)
        return self.concat([one[place] for one in arrays], axis)

    def concat(self, arrays: Sequence[Traced], axis: int = 0) -> Traced:
        first, sides = arrays[0], [one.shape[axis] for one in arrays]
        length = None if None in sides else sum(side or 0 for side in sides)
        real = self._graph.one("Concat", *(one.real for one in arrays), axis=axis)
        imag = self._graph.one("Concat", *(one.imag for one in arrays), axis=axis) if first.imag else ""
        return first.like(real, imag, (*first.shape[:axis], length, *first.shape[axis + 1 :]))

    def broadcast(self, array: Traced, like: Traced) -> Traced:
        return array.expanded(like.shape, like.real)

    def reshape(self, array: Traced, shape: tuple[int, ...]) -> Traced:
        return array.parts("Reshape", self._graph.numbers(*shape), shape=_resolved(array.shape, shape))

    def pad(self, array: Traced, rows: tuple[int, int], columns: tuple[int, int]) -> Traced:
        before = len(array.shape) - 2
        pads = self._graph.numbers(*[0] * before, rows[0], columns[0], *[0] * before, rows[1], columns[1])
        sides = (int(array.shape[-2] or 0) + sum(rows), int(array.shape[-1] or 0) + sum(columns))
        return array.parts("Pad", pads, shape=(*array.shape[:-2], *sides))

    def einsum(self, subscripts: str, first: Traced, second: Traced) -> Traced:
        given, wanted = subscripts.split("->")
        sides: dict[str, int | None] = {}
        for letters, one in zip(given.split(","), (first, second), strict=True):
            sides |= dict(zip(letters, one.shape, strict=True))

        def product(one: str, two: str) -> Traced:
            return first.like(self._graph.one("Einsum", one, two, equation=subscripts), shape=tuple(sides[one] for one in wanted))

        if not first.imag:
            return product(first.real, second.real)
        return self.complex(
            product(first.real, second.real) - product(first.imag, second.imag),
            product(first.real, second.imag) + product(first.imag, second.real),
        )

    # Fourier transforms

    def fft2(self, array: Traced) -> Traced:
        return self._transformed(array, -1, 1.0)

    def ifft2(self, array: Traced) -> Traced:
        return self._transformed(array, 1, 1 / (_side(array, -2) * _side(array, -1)))

    def fft2_ortho(self, array: Traced) -> Traced:
        return self._transformed(array, -1, 1 / math.sqrt(_side(array, -2) * _side(array, -1)))

    def fftshift(self, array: Traced) -> Traced:
        return self._rolled(self._rolled(array, -2, 1), -1, 1)

    def ifftshift(self, array: Traced) -> Traced:
        return self._rolled(self._rolled(array, -2, 0), -1, 0)

    def fft_frequencies(self, size: int) -> Traced:
        return self.from_numpy(np.fft.fftfreq(size))

    def shift_ramps(self, remainders: Traced, size: int) -> Traced:
        angles = remainders[:, :, None] * (-2 * math.pi * self.fft_frequencies(size))
        ramps = self.complex(angles.parts("Cos"), angles.parts("Sin"))
        return (ramps[:, 0][:, :, None] * ramps[:, 1][:, None, :])[:, None]

    def _transformed(self, array: Traced, sign: int, factor: float) -> Traced:
        """Rows, then columns; real and imaginary parts beside each other are one real product."""
        graph, axis = self._graph, len(array.shape) - 1
        wide = graph.one("Concat", array.real, array.imag, axis=axis)
        wave = factor * _waves(_side(array, -1), sign)
        right = np.block([[wave.real, wave.imag], [-wave.imag, wave.real]]).astype(self.real_dtype)
        parts = graph.node("Split", graph.one("MatMul", wide, graph.constant(right)), outputs=2, axis=axis, num_outputs=2)
        tall = graph.one("Concat", *parts, axis=axis - 1)
        wave = _waves(_side(array, -2), sign)
        left = np.block([[wave.real, -wave.imag], [wave.imag, wave.real]]).astype(self.real_dtype)
        parts = graph.node("Split", graph.one("MatMul", graph.constant(left), tall), outputs=2, axis=axis - 1, num_outputs=2)
        return array.like(parts[0], parts[1])

    def _rolled(self, array: Traced, axis: int, upward: int) -> Traced:
        """The two halves of an axis changed; of an odd one the longer is the first, or the last with ``upward``."""
        middle = (_side(array, axis) + upward) // 2
        before = (*[slice(None)] * (len(array.shape) + axis),)
        return self.concat([array[*before, slice(middle, None)], array[*before, slice(None, middle)]], len(before))

    # Networks

    def layout(self, description: Mapping[str, Any]) -> Planes:  # noqa: ARG002 - all are held alike
        return Planes()

    def convolution(
        self,
        given: Traced,
        weight: Traced,
        bias: Traced,
        stride: int,
        *,
        mixed: bool,  # noqa: ARG002 - not offered
    ) -> Traced:
        kernel = int(weight.shape[-1] or 0)
        real = self._graph.one(
            "Conv", given.real, weight.real, bias.real,
            kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[1 if kernel == 3 else 0] * 4,
        )  # fmt: skip
        return given.like(real, shape=(given.shape[0], weight.shape[0], *(_side(given, axis) // stride for axis in (2, 3))))

    def silu(self, given: Traced) -> Traced:
        return given * self.sigmoid(given)

    def fold(self, given: Traced) -> Traced:
        channels, rows, columns = (_side(given, axis) for axis in (1, 2, 3))
        apart = self.reshape(given, (-1, channels, rows // 2, 2, columns // 2, 2))
        moved = apart.parts("Transpose", perm=[0, 1, 3, 5, 2, 4])
        return self.reshape(moved, (-1, 4 * channels, rows // 2, columns // 2))

    def unfold(self, given: Traced) -> Traced:
        channels, rows, columns = (_side(given, axis) for axis in (1, 2, 3))
        shape = (given.shape[0], channels // 4, 2 * rows, 2 * columns)
        return given.parts("DepthToSpace", shape=shape, blocksize=2, mode="CRD")

    def repeat(self, function: Callable[..., tuple[Traced, ...]], times: int, *first: Traced) -> tuple[Traced, ...]:
        values = first
        for _ in range(times):
            values = function(*values)
        return values


def onnx_arrays(graph: Graph, dtype: str) -> ArrayOps:
    """The operations in ``float32`` or ``float64``; one that a graph cannot do raises ``CapabilityError`` with its name."""
    missing = {name: _refused(name) for name in _OnnxArrays.__abstractmethods__}
    made: ArrayOps = type("OnnxArrays", (_OnnxArrays,), missing)(graph, dtype)
    return made


def _refused(name: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:  # noqa: ANN401 - as the operation
        raise CapabilityError(f"The array operation '{name}' has no counterpart in ONNX.")

    return refuse


def _side(array: Traced, axis: int) -> int:
    return int(array.shape[axis] or 0)


def _waves(size: int, sign: int) -> NDArray[np.complex128]:
    """``exp(± 2πi j k / N)``."""
    index = np.arange(size)
    found: NDArray[np.complex128] = np.exp(sign * 2j * np.pi * (np.outer(index, index) % size) / size)
    return found


def _resolved(before: Shape, shape: tuple[int, ...]) -> Shape:
    """The shape that is asked for, its -1 as the side that it is, or None where that follows from a free side."""
    known = math.prod(side for side in shape if side != -1)
    free = None in before
    rest = None if free else math.prod(side or 0 for side in before) // known
    return tuple(rest if side == -1 else side for side in shape)
