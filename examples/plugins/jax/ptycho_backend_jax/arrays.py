"""Array operations of JAX, in one precision, on the default device: what the algorithms of the core are written on.

Arrays never change. A function is compiled for each combination of shapes, so nothing here depends on the values of places.
"""

from __future__ import annotations

import inspect
import math
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ptycho_backend_jax.network import ChannelsLast, convolution, fold, unfold
from ptycho_core.engine import ArrayOps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ptycho_core.engine import Array

__all__ = ["JaxArrays", "jax_arrays"]

_Axes = int | tuple[int, ...] | None
_PICTURE = (-2, -1)


@lru_cache
def jax_arrays(precision: str) -> JaxArrays:
    """The operations in one precision; the same object at each call, so that what was compiled serves the next job too."""
    return JaxArrays(np.dtype(precision))


class Compiled:
    """A function, compiled for the values of its keywords; JAX itself does so for kinds and shapes of the rest."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._made: dict[Any, Callable[..., Any]] = {}

    def __call__(self, *arguments: Any, **fixed: Any) -> Any:  # noqa: ANN401 - as the function has them
        """What the function returns."""
        key = tuple(fixed.items())
        if key not in self._made:
            self._made[key] = jax.jit(partial(self._function, **fixed))
        return self._made[key](*arguments)


class Cache:
    """Rows that are filled portion by portion: the array is given up to its successor, which takes its place in memory."""

    def __init__(self, array: jax.Array) -> None:
        self.array = array


class JaxArrays(ArrayOps):
    """See `ArrayOps`; functions are compiled by XLA, and no array is ever changed in place."""

    is_cpu = True

    # What JAX itself has
    sqrt = staticmethod(jnp.sqrt)
    rsqrt = staticmethod(jax.lax.rsqrt)
    log = staticmethod(jnp.log)
    exp = staticmethod(jnp.exp)
    expm1 = staticmethod(jnp.expm1)
    softplus = staticmethod(jax.nn.softplus)
    sigmoid = staticmethod(jax.nn.sigmoid)
    sign = staticmethod(jnp.sign)
    abs = staticmethod(jnp.abs)
    at_least = staticmethod(jnp.maximum)
    at_most = staticmethod(jnp.minimum)
    conj = staticmethod(jnp.conj)
    real = staticmethod(jnp.real)
    imag = staticmethod(jnp.imag)
    complex = staticmethod(jax.lax.complex)
    sum = staticmethod(jnp.sum)
    max = staticmethod(jnp.max)
    mean = staticmethod(jnp.mean)
    stack = staticmethod(jnp.stack)
    reshape = staticmethod(jnp.reshape)
    fft2 = staticmethod(jnp.fft.fft2)
    ifft2 = staticmethod(jnp.fft.ifft2)
    silu = staticmethod(jax.nn.silu)
    constant = staticmethod(jax.lax.stop_gradient)
    fft2_ortho = staticmethod(partial(jnp.fft.fft2, norm="ortho"))
    ifft2_ortho = staticmethod(partial(jnp.fft.ifft2, norm="ortho"))
    fftshift = staticmethod(partial(jnp.fft.fftshift, axes=_PICTURE))
    ifftshift = staticmethod(partial(jnp.fft.ifftshift, axes=_PICTURE))
    fold = staticmethod(fold)
    unfold = staticmethod(unfold)

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.real_dtype, self._complex = dtype, np.result_type(dtype, np.complex64)
        self._compiled: dict[Callable[..., Any], Compiled] = {}

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.ismethod(function):  # what is compiled of it ends with its owner
            return Compiled(partial(function, self))
        if function not in self._compiled:
            self._compiled[function] = Compiled(partial(function, self))
        return self._compiled[function]

    def from_numpy(self, values: NDArray[Any], *, pinned: bool = False) -> jax.Array:  # noqa: ARG002 - it has no such thing
        # A copy: on a CPU JAX would share the memory, and the caller may continue to change it.
        return jnp.array(values, self._complex if np.iscomplexobj(values) else self.real_dtype)

    def to_numpy(self, array: jax.Array) -> NDArray[Any]:
        return np.array(array)

    def scalar(self, value: float) -> jax.Array:
        return jnp.asarray(value, self.real_dtype)

    def double(self, value: float) -> jax.Array:
        return jnp.asarray(value, jnp.float64)

    def index(self, number: int) -> jax.Array:
        return jnp.asarray(number, jnp.int32)

    def zeros(self, shape: tuple[int, ...]) -> jax.Array:
        return jnp.zeros(shape, self.real_dtype)

    def zeros_like(self, array: jax.Array, kind: jax.Array | None = None) -> jax.Array:
        return jnp.zeros(array.shape, (array if kind is None else kind).dtype)

    def copy(self, array: jax.Array) -> jax.Array:
        return array  # arrays never change

    def size(self, array: jax.Array) -> int:
        return int(array.shape[-1])

    def number(self, size: int) -> float:
        return float(size)

    def is_finite(self, array: jax.Array) -> bool:
        return bool(jnp.isfinite(array).all())

    def cache(self, shape: tuple[int, ...]) -> Cache:
        return Cache(self.zeros(shape))

    def fill(self, cache: Cache, first: int, values: jax.Array) -> None:
        cache.array = _filled(cache.array, values, first)

    def rows(self, array: jax.Array | Cache, numbers: NDArray[np.int64]) -> jax.Array:
        return _rows(array.array if isinstance(array, Cache) else array, numbers.astype(np.int32))

    def columns(self, array: jax.Array, numbers: NDArray[np.int64]) -> jax.Array:
        return _columns(array, numbers.astype(np.int32))

    def frame_sums(self, amplitudes: jax.Array, inside: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ...]:
        return tuple(np.array(one) for one in _frame_sums(amplitudes, inside))

    def root_of_sum(self, array: jax.Array, added: jax.Array | float) -> jax.Array:
        return jnp.sqrt(array + added)

    def times_polar(self, array: jax.Array, moduli: jax.Array, angles: jax.Array) -> jax.Array:
        return self.times_real(array * jax.lax.complex(jnp.cos(angles), jnp.sin(angles)), moduli)

    def abs2(self, array: jax.Array) -> jax.Array:
        return jnp.square(jnp.real(array)) + jnp.square(jnp.imag(array))

    def times_real(self, array: jax.Array, factor: Array) -> jax.Array:
        return jax.lax.complex(jnp.real(array) * factor, jnp.imag(array) * factor)

    def over_real(self, array: jax.Array, divisor: Array) -> jax.Array:
        return jax.lax.complex(jnp.real(array) / divisor, jnp.imag(array) / divisor)

    def times_both(self, array: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
        return array * first * second

    def add_scaled(self, array: jax.Array, other: jax.Array, factor: Array) -> jax.Array:
        return array + factor * other

    def add_square(self, array: jax.Array, values: jax.Array, factor: float) -> jax.Array:
        return array + factor * jnp.square(values)

    def mode_sum(self, array: jax.Array) -> jax.Array:
        return jnp.sum(array, 1)

    def square_sum(self, array: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(array))

    def sum64(self, array: jax.Array) -> jax.Array:
        return jnp.sum(array, dtype=jnp.float64)

    def mean64(self, array: jax.Array) -> jax.Array:
        return jnp.mean(array, dtype=jnp.float64)

    def squares64(self, array: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(array.astype(jnp.float64)))

    def rounded(self, number: jax.Array) -> jax.Array:
        return number.astype(self.real_dtype)

    def dot(self, first: jax.Array, second: jax.Array) -> float:
        return float(_dot(first, second))

    def concat(self, arrays: Sequence[jax.Array], axis: int = 0) -> jax.Array:
        return jnp.concatenate(arrays, axis)

    def split(self, vector: jax.Array, lengths: Sequence[int]) -> Sequence[jax.Array]:
        found: Sequence[jax.Array] = jnp.split(vector, np.cumsum(lengths)[:-1])
        return found

    def broadcast(self, array: jax.Array, like: jax.Array) -> jax.Array:
        return jnp.broadcast_to(array, like.shape)

    def einsum(self, subscripts: str, first: jax.Array, second: jax.Array) -> jax.Array:
        return jnp.einsum(subscripts, first, second, precision="highest")  # no shorter numbers inside

    def pad(self, array: jax.Array, rows: tuple[int, int], columns: tuple[int, int]) -> jax.Array:
        return jnp.pad(array, [(0, 0)] * (array.ndim - 2) + [rows, columns])

    def as_real(self, array: jax.Array) -> jax.Array:
        return jnp.stack([jnp.real(array), jnp.imag(array)], -1).reshape(-1)

    def as_complex(self, vector: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        pairs = vector.reshape(*shape, 2)
        return jax.lax.complex(pairs[..., 0], pairs[..., 1])

    def fft_frequencies(self, size: int) -> jax.Array:
        return jnp.asarray(np.fft.fftfreq(size), self.real_dtype)

    def shift_ramps(self, remainders: jax.Array, size: int) -> jax.Array:
        angles = -2 * math.pi * remainders[:, :, None] * self.fft_frequencies(size)
        ramps = jax.lax.complex(jnp.cos(angles), jnp.sin(angles))
        return (ramps[:, 0, :, None] * ramps[:, 1, None, :])[:, None]

    def corners(self, whole: NDArray[Any], canvas: jax.Array, size: int) -> jax.Array:  # noqa: ARG002 - see `ArrayOps`
        return jnp.asarray(whole.astype(np.int32))

    def gather(self, canvas: jax.Array, corners: jax.Array, size: int) -> jax.Array:
        return _gather(canvas, corners, size=size)

    def scatter_add(self, canvas: jax.Array, patches: jax.Array, corners: jax.Array) -> jax.Array:
        return _scatter_add(canvas, patches, corners)

    def at_each(self, field: jax.Array, corners: jax.Array) -> jax.Array:
        return jnp.broadcast_to(field, (len(corners), *field.shape[-2:]))

    def overlap_sum(self, patches: jax.Array, corners: jax.Array, canvas: jax.Array) -> jax.Array:
        total = self.scatter_add(jnp.zeros(canvas.shape, patches.dtype), patches, corners)
        return self.gather(total, corners, int(patches.shape[-1]))

    def canvas_length(self, length: int, size: int) -> int:
        return -(-length // size) * size  # each shape is compiled anew

    def layout(self, description: Mapping[str, Any]) -> ChannelsLast:  # noqa: ARG002 - all are held alike
        return ChannelsLast()

    def convolution(
        self,
        given: jax.Array,
        weight: jax.Array,
        bias: jax.Array,
        stride: int,
        *,
        mixed: bool,  # noqa: ARG002 - not offered
    ) -> jax.Array:
        return convolution(given, weight, bias, stride)

    def repeat(self, function: Callable[..., tuple[jax.Array, ...]], times: int, *first: jax.Array) -> tuple[jax.Array, ...]:
        found: tuple[jax.Array, ...] = jax.lax.fori_loop(0, times, lambda _, values: function(*values), first)
        return found

    def value_and_grad(
        self,
        function: Callable[..., tuple[jax.Array, Any]],
        vector: jax.Array,
        *more: Any,  # noqa: ANN401 - as the function takes
    ) -> tuple[Any, jax.Array]:
        found: tuple[Any, jax.Array] = jax.value_and_grad(lambda one: function(self, one, *more), has_aux=True)(vector)
        return found

    def with_adjoint(
        self,
        function: Callable[..., tuple[jax.Array, Any]],
        adjoint: Callable[..., tuple[jax.Array, ...]],
    ) -> Callable[..., jax.Array]:
        called: Any = jax.custom_vjp(lambda *arrays: function(*arrays)[0])

        def back(kept: Any, upstream: jax.Array) -> tuple[jax.Array, ...]:  # noqa: ANN401 - what the function kept
            # JAX's gradient by a complex array is the our conjugate: d/d Re - i d/d Im.
            return tuple(jnp.conj(one) for one in adjoint(kept, upstream))

        called.defvjp(function, back)
        found: Callable[..., jax.Array] = called
        return found


@partial(jax.jit, donate_argnums=0)
def _filled(cache: jax.Array, values: jax.Array, first: int) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(cache, values, first, 0)


@jax.jit
def _rows(array: jax.Array, numbers: jax.Array) -> jax.Array:
    return array[numbers]


@jax.jit
def _columns(array: jax.Array, numbers: jax.Array) -> jax.Array:
    return array[..., numbers[:, None], numbers]


@jax.jit
def _frame_sums(amplitudes: jax.Array, inside: jax.Array) -> tuple[jax.Array, ...]:
    double = amplitudes.astype(jnp.float64)
    return tuple(jnp.sum(one, (1, 2)) for one in (double, double * double, jnp.where(inside, double, 0)))


@jax.jit
def _dot(first: jax.Array, second: jax.Array) -> jax.Array:
    return jnp.sum(first * second)


@partial(jax.jit, static_argnames="size")
def _gather(canvas: jax.Array, corners: jax.Array, *, size: int) -> jax.Array:
    """Whole windows at once: XLA goes through places one by one, and must not do so for single pixels."""
    axes = jax.lax.GatherDimensionNumbers(offset_dims=(1, 2), collapsed_slice_dims=(), start_index_map=(0, 1))
    return jax.lax.gather(canvas, corners, axes, (size, size), mode="promise_in_bounds")


@jax.jit
def _scatter_add(canvas: jax.Array, patches: jax.Array, corners: jax.Array) -> jax.Array:
    axes = jax.lax.ScatterDimensionNumbers(
        update_window_dims=(1, 2), inserted_window_dims=(), scatter_dims_to_operand_dims=(0, 1)
    )
    return jax.lax.scatter_add(canvas, corners, patches, axes, mode="promise_in_bounds")
