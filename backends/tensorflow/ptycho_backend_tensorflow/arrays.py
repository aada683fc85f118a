"""Array operations of TensorFlow, in one precision: what the algorithms of the core are written on.

They compute on the default device, which `devices.configured` sets. Inside `compiled` functions lengths of axes are tensors.
"""

from __future__ import annotations

import inspect
import math
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from ptycho_backend_tensorflow.compiled import Compiled, with_xla
from ptycho_backend_tensorflow.network import ChannelOrders, brief, silu
from ptycho_core.engine import ArrayOps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["TensorFlowArrays", "tensorflow_arrays"]

_Axes = int | tuple[int, ...] | None


@lru_cache
def tensorflow_arrays(dtype: tf.DType) -> TensorFlowArrays:
    """The operations in one precision; the same object at each call, so that what was compiled serves the next job too."""
    return TensorFlowArrays(dtype)


class TensorFlowArrays(ArrayOps):
    """See `ArrayOps`; functions become graphs, and no array is ever changed in place."""

    # What TensorFlow itself has
    sqrt = staticmethod(tf.sqrt)
    rsqrt = staticmethod(tf.math.rsqrt)
    log = staticmethod(tf.math.log)
    exp = staticmethod(tf.exp)
    expm1 = staticmethod(tf.math.expm1)
    softplus = staticmethod(tf.nn.softplus)
    sigmoid = staticmethod(tf.sigmoid)
    sign = staticmethod(tf.sign)
    abs = staticmethod(tf.abs)
    at_least = staticmethod(tf.maximum)
    at_most = staticmethod(tf.minimum)
    conj = staticmethod(tf.math.conj)
    real = staticmethod(tf.math.real)
    imag = staticmethod(tf.math.imag)
    complex = staticmethod(tf.complex)
    sum = staticmethod(tf.reduce_sum)
    max = staticmethod(tf.reduce_max)
    mean = staticmethod(tf.reduce_mean)
    stack = staticmethod(tf.stack)
    reshape = staticmethod(tf.reshape)
    einsum = staticmethod(tf.einsum)
    fft2 = staticmethod(tf.signal.fft2d)
    ifft2 = staticmethod(tf.signal.ifft2d)
    silu = staticmethod(silu)
    brief = staticmethod(brief)
    constant = staticmethod(tf.stop_gradient)
    fftshift = staticmethod(partial(tf.signal.fftshift, axes=(-2, -1)))
    ifftshift = staticmethod(partial(tf.signal.ifftshift, axes=(-2, -1)))
    fold = staticmethod(partial(tf.nn.space_to_depth, block_size=2))
    unfold = staticmethod(partial(tf.nn.depth_to_space, block_size=2))

    def __init__(self, dtype: tf.DType) -> None:
        self._real, self._complex = dtype, tf.complex64 if dtype == tf.float32 else tf.complex128
        self.real_dtype = np.dtype(dtype.as_numpy_dtype)
        self._compiled: dict[Callable[..., Any], Compiled[..., Any]] = {}

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]  # of the moment, not of the object
        """Whether the default device is a CPU."""
        return "CPU" in tf.zeros(()).device

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.ismethod(function):  # its graphs end with its owner
            return Compiled(partial(function, self))
        if function not in self._compiled:
            self._compiled[function] = Compiled(partial(function, self))
        return self._compiled[function]

    def from_numpy(self, values: NDArray[Any], *, pinned: bool = False) -> tf.Tensor:  # noqa: ARG002 - it has no such thing
        dtype = self._complex if np.iscomplexobj(values) else self._real
        return tf.constant(np.asarray(values).astype(dtype.as_numpy_dtype, copy=False))

    def to_numpy(self, array: tf.Tensor) -> NDArray[Any]:
        found: NDArray[Any] = array.numpy()
        return found

    def scalar(self, value: float) -> tf.Tensor:
        return tf.constant(value, self._real)

    def double(self, value: float) -> tf.Tensor:
        return tf.constant(value, tf.float64)

    def index(self, number: int) -> tf.Tensor:
        return tf.constant(number, tf.int32)

    def zeros(self, shape: tuple[int, ...]) -> tf.Tensor:
        return tf.zeros(shape, self._real)

    def zeros_like(self, array: tf.Tensor, kind: tf.Tensor | None = None) -> tf.Tensor:
        return tf.zeros_like(array, dtype=None if kind is None else kind.dtype)

    def copy(self, array: tf.Tensor) -> tf.Tensor:
        return array  # tensors never change

    def size(self, array: tf.Tensor) -> tf.Tensor:
        return tf.shape(array)[-1]

    def number(self, size: tf.Tensor) -> tf.Tensor:
        return tf.cast(size, self._real)

    def is_finite(self, array: tf.Tensor) -> bool:
        return bool(np.isfinite(array.numpy()).all())

    def cache(self, shape: tuple[int, ...]) -> tf.Variable:
        # A variable, because it can be filled piece by piece in place.
        return tf.Variable(lambda: tf.zeros(shape, self._real), trainable=False)

    def fill(self, cache: tf.Variable, first: int, values: tf.Tensor) -> None:
        cache[first : first + values.shape[0]].assign(values)

    def rows(self, array: tf.Tensor | tf.Variable, numbers: NDArray[np.int64]) -> tf.Tensor:
        return tf.gather(array, tf.constant(numbers))

    def columns(self, array: tf.Tensor, numbers: NDArray[np.int64]) -> tf.Tensor:
        return self.compiled(_columns)(array, tf.constant(numbers))

    def frame_sums(self, amplitudes: tf.Tensor, inside: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ...]:
        double = tf.cast(amplitudes, tf.float64)
        summed = (double, double * double, double * tf.constant(inside, dtype=tf.float64))
        return tuple(tf.reduce_sum(one, (1, 2)).numpy() for one in summed)

    def root_of_sum(self, array: tf.Tensor, added: tf.Tensor | float) -> tf.Tensor:
        return tf.sqrt(array + added)

    def times_polar(self, array: tf.Tensor, moduli: tf.Tensor, angles: tf.Tensor) -> tf.Tensor:
        real, imaginary, cosine, sine = tf.math.real(array), tf.math.imag(array), tf.cos(angles), tf.sin(angles)
        return tf.complex(moduli * (real * cosine - imaginary * sine), moduli * (real * sine + imaginary * cosine))

    def abs2(self, array: tf.Tensor) -> tf.Tensor:
        return tf.square(tf.math.real(array)) + tf.square(tf.math.imag(array))

    def times_real(self, array: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
        return array * tf.cast(factor, array.dtype)

    def over_real(self, array: tf.Tensor, divisor: tf.Tensor) -> tf.Tensor:
        return array / tf.cast(divisor, array.dtype)

    def times_both(self, array: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        return array * (first * second)

    def add_scaled(self, array: tf.Tensor, other: tf.Tensor, factor: float | tf.Tensor) -> tf.Tensor:
        return array + factor * other

    def add_square(self, array: tf.Tensor, values: tf.Tensor, factor: float) -> tf.Tensor:
        return array + factor * tf.square(values)

    def mode_sum(self, array: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(array, 1)

    def square_sum(self, array: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.square(array))

    def sum64(self, array: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.cast(array, tf.float64))

    def mean64(self, array: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.cast(array, tf.float64))

    def squares64(self, array: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.square(tf.cast(array, tf.float64)))

    def rounded(self, number: tf.Tensor) -> tf.Tensor:
        return tf.cast(number, self._real)

    def dot(self, first: tf.Tensor, second: tf.Tensor) -> float:
        return float(self.compiled(_dot)(first, second))

    def concat(self, arrays: Sequence[tf.Tensor], axis: int = 0) -> tf.Tensor:
        return tf.concat(arrays, axis)

    def split(self, vector: tf.Tensor, lengths: Sequence[int]) -> Sequence[tf.Tensor]:
        return list(tf.split(vector, list(lengths)))

    def broadcast(self, array: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        return tf.broadcast_to(array, tf.shape(like))

    def pad(self, array: tf.Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> tf.Tensor:
        before = [[0, 0]] * (array.shape.rank - 2)
        return tf.pad(array, [*before, rows, columns])

    def as_real(self, array: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.bitcast(array, self._real), [-1])

    def as_complex(self, vector: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
        return tf.bitcast(tf.reshape(vector, [*shape, 2]), self._complex)

    def fft2_ortho(self, array: tf.Tensor) -> tf.Tensor:
        return tf.signal.fft2d(array) * tf.cast(1 / tf.cast(tf.shape(array)[-1], tf.float64), array.dtype)

    def ifft2_ortho(self, array: tf.Tensor) -> tf.Tensor:
        return tf.signal.ifft2d(array) * tf.cast(tf.shape(array)[-1], array.dtype)

    def fft_frequencies(self, size: int | tf.Tensor) -> tf.Tensor:
        size = tf.cast(size, tf.int64)
        steps = tf.range(size, dtype=tf.int64)
        wrapped = tf.where(steps < (size + 1) // 2, steps, steps - size)
        return tf.cast(wrapped / size, self._real)

    def shift_ramps(self, remainders: tf.Tensor, size: int | tf.Tensor) -> tf.Tensor:
        angles = -2 * math.pi * remainders[:, :, None] * self.fft_frequencies(size)
        ramps = tf.complex(tf.cos(angles), tf.sin(angles))
        # As a matrix product: several times faster than a product with two broadcasts.
        return tf.linalg.matmul(ramps[:, 0, :, None], ramps[:, 1, None, :])[:, None]

    def gather(self, canvas: tf.Tensor, corners: tf.Tensor, size: int | tf.Tensor) -> tf.Tensor:
        flat = _flat_indices(corners, size, tf.shape(canvas)[1])

        def cut(values: tf.Tensor) -> tuple[tf.Tensor, object]:
            # Without a gradient of its own TensorFlow would keep the indices and sum them up later, far more slowly.
            return _taken(values, flat), lambda upstream: _summed(upstream, flat, tf.shape(values))

        return tf.custom_gradient(cut)(canvas)

    def scatter_add(self, canvas: tf.Tensor, patches: tf.Tensor, corners: tf.Tensor) -> tf.Tensor:
        flat = _flat_indices(corners, tf.shape(patches)[-1], tf.shape(canvas)[1])

        def add(values: tf.Tensor) -> tuple[tf.Tensor, object]:
            return _summed(values, flat, tf.shape(canvas)), lambda upstream: _taken(upstream, flat)

        return canvas + tf.custom_gradient(add)(patches)

    def corners(self, whole: NDArray[Any], canvas: tf.Tensor, size: int) -> tf.Tensor:  # noqa: ARG002 - see `ArrayOps`
        return tf.constant(whole.astype(np.int64))

    def at_each(self, field: tf.Tensor, corners: tf.Tensor) -> tf.Tensor:
        return tf.broadcast_to(field, tf.concat([tf.shape(corners)[:1], tf.shape(field)[-2:]], 0))

    def overlap_sum(self, patches: tf.Tensor, corners: tf.Tensor, canvas: tf.Tensor) -> tf.Tensor:
        total = self.scatter_add(tf.zeros(tf.shape(canvas), patches.dtype), patches, corners)
        return self.gather(total, corners, tf.shape(patches)[-1])

    def canvas_length(self, length: int, size: int) -> int:
        return -(-length // size) * size if with_xla() else length  # XLA compiles anew for each shape

    def layout(self, description: Mapping[str, Any]) -> ChannelOrders:
        return ChannelOrders(description)

    def convolution(self, given: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, stride: int, *, mixed: bool) -> tf.Tensor:
        padding = "SAME" if weight.shape[0] == 3 else "VALID"
        if mixed:
            given, weight, bias = brief(given), brief(weight), brief(bias)
        return tf.nn.bias_add(tf.nn.conv2d(given, weight, stride, padding), bias)

    def repeat(self, function: Callable[..., tuple[tf.Tensor, ...]], times: int, *first: tf.Tensor) -> tuple[tf.Tensor, ...]:
        found = tf.while_loop(lambda *_: True, function, first, parallel_iterations=1, maximum_iterations=times)
        return tuple(found)

    def value_and_grad(
        self,
        function: Callable[..., tuple[tf.Tensor, Any]],
        vector: tf.Tensor,
        *more: Any,  # noqa: ANN401 - as the function takes
    ) -> tuple[Any, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(vector)
            value, further = function(self, vector, *more)
        return (value, further), tape.gradient(value, vector, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def with_adjoint(
        self,
        function: Callable[..., tuple[tf.Tensor, Any]],
        adjoint: Callable[..., tuple[tf.Tensor, ...]],
    ) -> Callable[..., tf.Tensor]:
        def called(*arrays: tf.Tensor) -> tuple[tf.Tensor, object]:
            found, kept = function(*arrays)
            return found, lambda upstream: adjoint(kept, upstream)

        return tf.custom_gradient(called)  # type: ignore[no-any-return]


def _columns(_: ArrayOps, array: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    return tf.gather(tf.gather(array, numbers, axis=-2), numbers, axis=-1)


def _dot(_: ArrayOps, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(first * second)


def _flat_indices(corners: tf.Tensor, size: int | tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """int64 (frame, N, N), flat indices into the canvas."""
    steps = tf.range(tf.cast(size, tf.int64), dtype=tf.int64)
    rows = (corners[:, 0, None] + steps) * tf.cast(columns, tf.int64)
    return rows[:, :, None] + (corners[:, 1, None] + steps)[:, None, :]


def _taken(canvas: tf.Tensor, flat: tf.Tensor) -> tf.Tensor:
    # On a CPU nearly twice as fast as `tf.gather`, which copies each single number as if it were a row.
    return tf.gather_nd(tf.reshape(canvas, [-1]), flat[..., None])


def _summed(patches: tf.Tensor, flat: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.math.unsorted_segment_sum(patches, flat, tf.reduce_prod(shape)), shape)
