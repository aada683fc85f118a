"""The array operations that a framework brings, on which the algorithms of this package are written.

An algorithm takes an `ArrayOps` (``xp`` in its text) and arrays that it made. What all frameworks spell alike is written as it
is: ``+``, ``-``, ``*`` and ``/`` of arrays of one kind or with Python numbers, slices, ``[None]``, ``.shape``, ``float()`` of a
single number. Everything else is a method here. Some methods are composite, because frameworks differ in how they are done fast;
how it is done, and what was measured to choose it, stays inside the framework's class. Arrays are given by position, so that a
function of the framework can serve as it is.

Two rules keep one text right for frameworks that change arrays in place and for those that cannot:

* An operation that changes an array returns it, and the caller continues with what it returns; the array given may have changed.
* A function given to `ArrayOps.compiled` takes arrays, None or named tuples of them by position, and plain values by keyword, for
  each combination of which it may be compiled anew. Inside it the length of an axis may be unknown: `ArrayOps.size` gives it.

Only training needs `ArrayOps.value_and_grad`, and with it `constant` and `with_adjoint`: a framework without derivatives leaves
them out and serves the other verbs.  Inside it nothing changes in place, and `gather` and `scatter_add` carry their own
derivative.  Gradients by complex arrays are ``d/d Re + i d/d Im``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ptycho_core.errors import CapabilityError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ptycho_core.contract import Value
    from ptycho_core.engine.network import Layout

__all__ = ["MIXED", "Array", "ArrayOps", "Corners"]

MIXED = "bf16-mixed"
"""The precision in which networks compute in bfloat16 where that is safe, and everything else in float32."""

Array: TypeAlias = Any
"""An array of the framework on its device, real or complex, in the precision of its `ArrayOps`."""

Corners: TypeAlias = Any
"""Where the windows of a batch lie, in the form in which the framework gathers fastest; made by `ArrayOps.corners`."""


class ArrayOps(ABC):
    """Operations on arrays of one framework, in one precision on one device.

    Attributes:
        is_cpu: whether the device is a CPU, whose caches ask for smaller portions of work than a GPU.
        real_dtype: NumPy's name of the real data type: ``float32`` or ``float64``.
    """

    is_cpu: bool
    real_dtype: np.dtype[Any]

    @property
    def tiny(self) -> float:
        """The smallest normal number: added to a divisor that may be zero."""
        return float(np.finfo(self.real_dtype).tiny)

    # Making and moving arrays

    @abstractmethod
    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function(xp, …)`` as a function of the rest, compiled where the framework gains by it.

        What is compiled of a module's function is kept for the next job; of a method, as long as the caller keeps it.
        """

    @abstractmethod
    def from_numpy(self, values: NDArray[Any], *, pinned: bool = False) -> Array:
        """Real or complex values on the device, in its precision; may share memory with ``values``.

        ``pinned`` copies through pinned memory, so that the copy runs while the device computes.
        """

    @abstractmethod
    def to_numpy(self, array: Array) -> NDArray[Any]:
        """The values as NumPy, of the same precision."""

    @abstractmethod
    def scalar(self, value: float) -> Array:
        """A real number as what a compiled function takes without being compiled anew for each value."""

    @abstractmethod
    def double(self, value: float) -> Array:
        """As `scalar`, in double precision."""

    @abstractmethod
    def index(self, number: int) -> Any:  # noqa: ANN401 - what ``array[...]`` takes
        """A place on the first axis, as `scalar` is for real numbers."""

    @abstractmethod
    def zeros(self, shape: tuple[int, ...]) -> Array:
        """Real zeros."""

    @abstractmethod
    def zeros_like(self, array: Array, kind: Array | None = None) -> Array:
        """Zeros of the shape of ``array``, real or complex as ``kind`` is, or as ``array`` itself."""

    @abstractmethod
    def copy(self, array: Array, /) -> Array:
        """An array that stays as it is when ``array`` is changed."""

    @abstractmethod
    def size(self, array: Array) -> Any:  # noqa: ANN401 - a number, or an array that will hold it
        """Length of the last axis, inside a compiled function too."""

    @abstractmethod
    def number(self, size: Any) -> Any:  # noqa: ANN401 - as `size`
        """What `size` gave as a real number to compute with."""

    @abstractmethod
    def is_finite(self, array: Array) -> bool:
        """Whether all values, real and complex, are finite."""

    # Portions of a scan that are kept on the device

    @abstractmethod
    def cache(self, shape: tuple[int, ...]) -> Any:  # noqa: ANN401 - an array that `fill` can change
        """Room for real values, to be filled portion by portion."""

    @abstractmethod
    def fill(self, cache: Any, first: int, values: Array) -> None:  # noqa: ANN401 - what `cache` gave
        """Put ``values`` into ``cache`` from row ``first`` on."""

    @abstractmethod
    def rows(self, array: Array, numbers: NDArray[np.int64]) -> Array:
        """Those rows of an array or a cache; not to be changed."""

    @abstractmethod
    def columns(self, array: Array, numbers: NDArray[np.int64]) -> Array:
        """Those rows and those columns of the last two axes."""

    @abstractmethod
    def frame_sums(self, amplitudes: Array, inside: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ...]:
        """Sums over each frame, in double precision, of real (frame, N, N) amplitudes, their squares, and those ``inside``."""

    # Element by element

    @abstractmethod
    def sqrt(self, array: Array, /) -> Array:
        """Root of a real array."""

    @abstractmethod
    def root_of_sum(self, array: Array, added: Array) -> Array:
        """``sqrt(array + added)`` of a real array and another one or a number."""

    @abstractmethod
    def rsqrt(self, array: Array, /) -> Array:
        """One over the root of a real array."""

    @abstractmethod
    def log(self, array: Array, /) -> Array:
        """Natural logarithm of a real array."""

    @abstractmethod
    def exp(self, array: Array, /) -> Array:
        """Exponential of a real array."""

    @abstractmethod
    def expm1(self, array: Array, /) -> Array:
        """Exponential of a real array less one, exact near zero."""

    @abstractmethod
    def softplus(self, array: Array, /) -> Array:
        """``log(1 + exp x)`` of a real array."""

    @abstractmethod
    def sigmoid(self, array: Array, /) -> Array:
        """``1 / (1 + exp(-x))`` of a real array."""

    @abstractmethod
    def sign(self, array: Array, /) -> Array:
        """-1, 0 or 1 for each value of a real array."""

    @abstractmethod
    def abs(self, array: Array, /) -> Array:
        """Absolute value of a real array, or modulus of a complex one.

        Near zero the modulus keeps the digits that the root of `abs2` loses, which is slightly faster.
        """

    @abstractmethod
    def at_least(self, array: Array, lowest: float, /) -> Array:
        """A real array, raised to ``lowest`` where it is below."""

    @abstractmethod
    def at_most(self, array: Array, highest: float, /) -> Array:
        """A real array, lowered to ``highest`` where it is above."""

    @abstractmethod
    def conj(self, array: Array, /) -> Array:
        """Complex conjugate."""

    @abstractmethod
    def real(self, array: Array, /) -> Array:
        """Real part."""

    @abstractmethod
    def imag(self, array: Array, /) -> Array:
        """Imaginary part."""

    @abstractmethod
    def complex(self, real: Array, imaginary: Array, /) -> Array:
        """A complex array of its parts."""

    @abstractmethod
    def times_polar(self, array: Array, moduli: Array, angles: Array) -> Array:
        """``array * modulus * exp(i angle)`` of a complex and two real arrays."""

    @abstractmethod
    def abs2(self, array: Array) -> Array:
        """Squared modulus of a complex array, without taking a root on the way."""

    @abstractmethod
    def times_real(self, array: Array, factor: Array) -> Array:
        """A complex array times a real one."""

    def multiply(self, array: Array, factor: Array) -> Array:
        """A complex array times a complex one that broadcasts to it or to which it does; ``array`` may have changed."""
        return array * factor

    def real_product(self, first: Array, second: Array) -> Array:
        """``Re(conj(first) second)`` of complex arrays."""
        return self.real(self.conj(first) * second)

    @abstractmethod
    def over_real(self, array: Array, divisor: Array) -> Array:
        """A complex array divided by a real one; slow in some frameworks, where a product with the inverse is not."""

    @abstractmethod
    def times_both(self, array: Array, first: Array, second: Array) -> Array:
        """A real array times two real factors, which may be multiplied with each other first."""

    @abstractmethod
    def add_scaled(self, array: Array, other: Array, factor: Any) -> Array:  # noqa: ANN401 - a number, or a `scalar`
        """``array + factor * other``; ``array`` may have changed."""

    @abstractmethod
    def add_square(self, array: Array, values: Array, factor: float) -> Array:
        """``array + factor * values^2`` of real arrays; ``array`` may have changed."""

    # Sums

    @abstractmethod
    def sum(self, array: Array, axis: int | tuple[int, ...] | None = None, /) -> Array:
        """Sum over all axes, or those given."""

    @abstractmethod
    def mode_sum(self, array: Array) -> Array:
        """Sum over modes, the second axis."""

    @abstractmethod
    def square_sum(self, array: Array) -> Array:
        """Sum of the squares of a real array."""

    @abstractmethod
    def sum64(self, array: Array) -> Array:
        """Sum of a real array in double precision: a mean over millions of pixels must not lose digits."""

    @abstractmethod
    def mean64(self, array: Array) -> Array:
        """Mean of a real array in double precision."""

    @abstractmethod
    def squares64(self, array: Array) -> Array:
        """Sum of the squares of a real array in double precision."""

    @abstractmethod
    def rounded(self, number: Array) -> Array:
        """A number in double precision as one in the precision of the arrays."""

    @abstractmethod
    def max(self, array: Array, axis: int | tuple[int, ...] | None = None, /) -> Array:
        """The largest value of a real array, or along the axes given."""

    @abstractmethod
    def mean(self, array: Array, axis: int | tuple[int, ...] | None = None, /) -> Array:
        """Mean of all values, or along the axes given."""

    @abstractmethod
    def dot(self, first: Array, second: Array) -> float:
        """Inner product of two real vectors."""

    # Shapes

    @abstractmethod
    def stack(self, arrays: Sequence[Array], axis: int = 0, /) -> Array:
        """Arrays of one shape along a new axis."""

    @abstractmethod
    def concat(self, arrays: Sequence[Array], axis: int = 0) -> Array:
        """Arrays one after the other along an axis."""

    @abstractmethod
    def einsum(self, subscripts: str, first: Array, second: Array, /) -> Array:
        """Sum over products of two arrays, both real or both complex, written as NumPy writes it: ``"ij,jk->ik"``."""

    @abstractmethod
    def split(self, vector: Array, lengths: Sequence[int]) -> Sequence[Array]:
        """Parts of a vector, one after the other."""

    @abstractmethod
    def broadcast(self, array: Array, like: Array) -> Array:
        """The values of ``array`` in the shape of ``like``; not to be changed."""

    @abstractmethod
    def reshape(self, array: Array, shape: tuple[int, ...], /) -> Array:
        """The same values in another shape."""

    @abstractmethod
    def pad(self, array: Array, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
        """Zeros (before, after) the last two axes."""

    @abstractmethod
    def as_real(self, array: Array) -> Array:
        """Real vector of the real and imaginary part of each value, one after the other."""

    @abstractmethod
    def as_complex(self, vector: Array, shape: tuple[int, ...]) -> Array:
        """The inverse of `as_real`."""

    # Fourier transforms of the last two axes, square fields with the zero frequency at [0, 0]

    @abstractmethod
    def fft2(self, array: Array, /) -> Array:
        """Forward transform without a factor."""

    @abstractmethod
    def ifft2(self, array: Array, /) -> Array:
        """Inverse of `fft2`, which divides by the number of values."""

    @abstractmethod
    def fft2_ortho(self, array: Array, /) -> Array:
        """Forward transform that keeps the sum of squares; of (…, N, N)."""

    @abstractmethod
    def ifft2_ortho(self, array: Array, /) -> Array:
        """Inverse and adjoint of `fft2_ortho`."""

    @abstractmethod
    def fftshift(self, array: Array, /) -> Array:
        """Zero frequency from ``[0, 0]`` to the middle, ``[N // 2, N // 2]``."""

    @abstractmethod
    def ifftshift(self, array: Array, /) -> Array:
        """The inverse of `fftshift`."""

    @abstractmethod
    def fft_frequencies(self, size: Any) -> Array:  # noqa: ANN401 - a number, or what `size` gave
        """Real (N,), cycles a pixel in the order of the FFT; for even N the Nyquist frequency is -1/2."""

    @abstractmethod
    def shift_ramps(self, remainders: Array, size: Any) -> Array:  # noqa: ANN401 - as above
        """Fourier factors, complex (frame, 1, N, N), that move a field by (row, column) remainders (frame, 2).

        ``exp(-2 pi i (f_row d_row + f_col d_col))``, the shift theorem.
        """

    # Windows on a canvas

    @abstractmethod
    def corners(self, whole: NDArray[Any], canvas: Array, size: int) -> Corners:
        """Places of windows of ``size`` pixels whose ``[0, 0]`` corners lie at ``whole``, rows and columns (frame, 2)."""

    @abstractmethod
    def gather(self, canvas: Array, corners: Corners, size: Any) -> Array:  # noqa: ANN401 - as above
        """Cut (frame, N, N) windows out of a (rows, columns) canvas."""

    @abstractmethod
    def scatter_add(self, canvas: Array, patches: Array, corners: Corners) -> Array:
        """The canvas with (frame, N, N) patches added to their windows; the adjoint of `gather`.

        On a CPU frames are added in order, so that the sum is the same in every run.
        """

    @abstractmethod
    def at_each(self, field: Array, corners: Corners) -> Array:
        """A field (N, N), (1, N, N) or (frame, N, N) as one for each window."""

    @abstractmethod
    def overlap_sum(self, patches: Array, corners: Corners, canvas: Array) -> Array:
        """What all windows of a batch put at each pixel of each of them: `gather` of `scatter_add` on zeros.

        ``patches`` is real (frame, N, N), ``canvas`` gives the shape. The cost need not grow with the canvas.
        """

    def canvas_length(self, length: int, size: int) -> int:  # noqa: ARG002 - for those that override it
        """Side of a canvas that holds ``length`` pixels, of windows of ``size``; longer where each shape costs a compilation."""
        return length

    # Networks: pictures in the order of axes and channels that the framework takes, which a `Layout` gives and takes back

    @abstractmethod
    def layout(self, description: Mapping[str, Any]) -> Layout:
        """How the weights and pictures of a described network are held."""

    @abstractmethod
    def convolution(self, given: Array, weight: Array, bias: Array, stride: int, *, mixed: bool) -> Array:
        """Cross-correlation with 3 x 3 weights, which pads by one, or others, which does not; ``specs/network.md``.

        With ``mixed`` what it takes and gives is rounded to bfloat16.
        """

    @abstractmethod
    def silu(self, given: Array, /) -> Array:
        """``x / (1 + exp(-x))``."""

    @abstractmethod
    def fold(self, given: Array, /) -> Array:
        """Each 2 x 2 pixels as four channels."""

    @abstractmethod
    def unfold(self, given: Array, /) -> Array:
        """The inverse of `fold`."""

    def brief(self, picture: Array, /) -> Array:
        """A picture rounded to bfloat16, in which a network of mixed precision keeps it; not needed without that precision."""
        raise NotImplementedError(f"{type(self).__name__} has no mixed precision")

    def accelerated(self, network: Callable[..., Array]) -> Callable[..., Array]:
        """``network(weights, pictures)``, translated where an option of the backend asks for it."""
        return network

    def untranslated(self, function: Callable[..., Array]) -> Callable[..., Array]:
        """A function of complex arrays inside what `accelerated` translates, as it is called where translators lack them."""
        return function

    def facts(self) -> dict[str, Value]:
        """What the record of a training says of the framework's part."""
        return {}

    @abstractmethod
    def repeat(self, function: Callable[..., tuple[Array, ...]], times: int, *first: Array) -> tuple[Array, ...]:
        """``function`` applied so many times to its own results."""

    # Derivatives, for training: what stands here is right for a framework that has none

    def constant(self, array: Array, /) -> Array:
        """The array, without a derivative."""
        return array

    def value_and_grad(self, function: Callable[..., tuple[Array, Any]], vector: Array, *more: Any) -> tuple[Any, Array]:  # noqa: ANN401, ARG002
        """``function(xp, vector, *more)``, a real number and what else is reported, and the gradient by ``vector``.

        Returns:
            What the function gave, and the gradient, zero where the number does not depend on the vector.

        Raises:
            CapabilityError: the framework has no derivatives.
        """
        raise CapabilityError(
            "the gradient of a training's loss needs automatic differentiation, which this backend has not.",
            remedy="Ask without gradients, or take a backend that trains.",
        )

    def with_adjoint(
        self,
        function: Callable[..., tuple[Array, Any]],
        adjoint: Callable[..., tuple[Array, ...]],  # noqa: ARG002 - without derivatives it is not asked
    ) -> Callable[..., Array]:
        """A function of arrays with its own derivative.

        Args:
            function: gives a real array, and what its derivative needs.
            adjoint: gives, of what was kept and the gradient by that array, the gradients by the arguments.
        """
        return lambda *arrays: function(*arrays)[0]
