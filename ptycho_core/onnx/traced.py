"""Arrays that are written down: each operation on them adds nodes to a graph, and nothing is computed.

A complex array is two values of ONNX, which has no complex numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from ptycho_core.onnx.graph import Graph

__all__ = ["Shape", "Traced"]

Shape: TypeAlias = "tuple[int | None, ...]"
"""Sides; None for one that is free."""

_LAST: Final = np.iinfo(np.int64).max


class Traced:
    """An array in a graph.

    Attributes:
        graph: that it stands in.
        real, imag: names of its parts; ``imag`` is empty for a real array.
        shape: of it.
        dtype: of its parts, ``float32`` or ``float64``.
    """

    __array_priority__ = 1000  # a number of NumPy leaves the operation to it

    def __init__(self, graph: Graph, real: str, shape: Shape, imag: str = "", dtype: str = "float32") -> None:
        self.graph, self.real, self.imag, self.shape, self.dtype = graph, real, imag, shape, dtype

    def like(self, real: str, imag: str = "", shape: Shape | None = None) -> Traced:
        """An array of the same graph, and the same shape unless another is given."""
        return Traced(self.graph, real, self.shape if shape is None else shape, imag, self.dtype)

    def number(self, value: float) -> str:
        """The name of a number of its type."""
        return self.graph.constant(np.array(value, self.dtype))

    def cast(self, dtype: str) -> Traced:
        """The same in another precision."""
        if dtype == self.dtype:
            return self
        real, imag = (part and self.graph.cast(part, dtype) for part in (self.real, self.imag))
        return Traced(self.graph, real, self.shape, imag, dtype)

    def parts(self, operator: str, *more: str, shape: Shape | None = None, **attributes: Any) -> Traced:  # noqa: ANN401 - of ONNX
        """What an operator makes of each part by itself."""
        real, imag = (part and self.graph.one(operator, part, *more, **attributes) for part in (self.real, self.imag))
        return self.like(real, imag, shape)

    def expanded(self, shape: Shape, like: str) -> Traced:
        """Its values in the shape of the value ``like``."""
        return self if self.shape == shape else self.parts("Expand", self.graph.one("Shape", like), shape=shape)

    def __neg__(self) -> Traced:
        return self.parts("Neg")

    def __add__(self, other: Traced | float) -> Traced:
        return self._sum("Add", self, self._traced(other))

    __radd__ = __add__

    def __sub__(self, other: Traced | float) -> Traced:
        return self._sum("Sub", self, self._traced(other))

    def __rsub__(self, other: float) -> Traced:
        return self._sum("Sub", self._traced(other), self)

    def __mul__(self, other: Traced | float) -> Traced:
        one, other = self, self._traced(other)
        if one.imag and other.imag:
            real = one._part("Mul", one.real, other.real, other) - one._part("Mul", one.imag, other.imag, other)
            imag = one._part("Mul", one.real, other.imag, other) + one._part("Mul", one.imag, other.real, other)
            return real.like(real.real, imag.real)
        if other.imag:
            one, other = other, one
        real = one._part("Mul", one.real, other.real, other)
        return real.like(real.real, one._part("Mul", one.imag, other.real, other).real) if one.imag else real

    __rmul__ = __mul__

    def __truediv__(self, other: Traced | float) -> Traced:
        other = self._traced(other)
        assert not other.imag, "nothing is divided by complex numbers"
        real = self._part("Div", self.real, other.real, other)
        return real.like(real.real, self._part("Div", self.imag, other.real, other).real) if self.imag else real

    def __rtruediv__(self, other: float) -> Traced:
        return self._traced(other) / self

    def __getitem__(self, places: Any) -> Traced:  # noqa: ANN401 - slices, numbers, None and dots
        places = list(places) if isinstance(places, tuple) else [places]
        taken = sum(place is not None and place is not Ellipsis for place in places)
        rest = [slice(None)] * (len(self.shape) - taken)
        dots = next((number for number, place in enumerate(places) if place is Ellipsis), len(places))
        places[dots : dots + 1] = rest
        found, axis = self, 0
        for place in places:
            if place is None:
                found = found.parts("Unsqueeze", self.graph.numbers(axis), shape=_with(found.shape, axis, 1))
            elif isinstance(place, slice):
                found = found.sliced(axis, place)
            else:
                index = self.graph.constant(np.array(int(place), dtype=np.int64))
                found = found.parts("Gather", index, shape=_without(found.shape, axis), axis=axis)
                axis -= 1
            axis += 1
        return found

    def sliced(self, axis: int, place: slice) -> Traced:
        """A part of an axis."""
        if place == slice(None):
            return self
        side, step = self.shape[axis], 1 if place.step is None else int(place.step)
        first, last = 0 if place.start is None else int(place.start), _LAST if place.stop is None else int(place.stop)
        length = None if side is None else len(range(*slice(first, min(last, side), step).indices(side)))
        numbers = (self.graph.numbers(one) for one in (first, last, axis, step))
        return self.parts("Slice", *numbers, shape=(*self.shape[:axis], length, *self.shape[axis + 1 :]))

    def _traced(self, other: Traced | float) -> Traced:
        if isinstance(other, Traced):
            return other
        return self.like(self.number(float(other)), shape=())

    def _part(self, operator: str, one: str, two: str, other: Traced) -> Traced:
        """One operator of two parts, of this array and another."""
        return self.like(self.graph.one(operator, one, two), shape=broadcast_shape(self.shape, other.shape))

    @staticmethod
    def _sum(operator: str, one: Traced, two: Traced) -> Traced:
        real = one._part(operator, one.real, two.real, two)
        if one.imag and two.imag:
            return real.like(real.real, one._part(operator, one.imag, two.imag, two).real)
        if not one.imag and not two.imag:
            return real
        alone = one.like(one.imag) if one.imag else two.like(two.imag)
        alone = -alone if operator == "Sub" and not one.imag else alone
        return real.like(real.real, alone.expanded(real.shape, real.real).real)


def broadcast_shape(one: Shape, two: Shape) -> Shape:
    """Of two arrays together; where a free side meets a known one above 1, the known."""
    length = max(len(one), len(two))
    pairs = zip(*((1,) * (length - len(shape)) + shape for shape in (one, two)), strict=True)
    return tuple(b if a == 1 else a if b == 1 or b is None else b for a, b in pairs)


def _with(shape: Shape, axis: int, side: int) -> Shape:
    return (*shape[:axis], side, *shape[axis:])


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])
