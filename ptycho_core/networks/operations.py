"""The operations of layers: what each takes, which tensors it learns, what it gives; ``specs/network.md`` defines them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any, ClassVar, Final, NamedTuple

from ptycho_core.errors import DataError

__all__ = ["OPERATIONS", "Operation", "Picture", "Tensor", "whole_number"]

_MOST_CHANNELS = 1 << 16
_KERNELS = {(1, 1), (3, 1), (2, 2)}  # (side, stride)
_SCALES: Final = ("half", "double")
_METHODS: Final = ("nearest", "bilinear")

Layer = Mapping[str, Any]


class Picture(NamedTuple):
    """What is known of the pictures between two layers.

    Attributes:
        channels: how many.
        halved: how often the side N was halved.
    """

    channels: int
    halved: int

    def side(self, size: int) -> int:
        """Pixels across, where N is ``size``."""
        return size >> self.halved


class Tensor(NamedTuple):
    """A trained tensor, float32, as it is at first.

    Attributes:
        shape: of it.
        deviation: standard deviation of its normal random numbers, or None.
        value: of every element, where there are none.
    """

    shape: tuple[int, ...]
    deviation: float | None = None
    value: float = 0.0


class Operation(ABC):
    """What a layer does.

    Attributes:
        inputs: how many pictures it takes.
    """

    inputs: ClassVar[int] = 1

    @abstractmethod
    def gives(self, layer: Layer, given: Sequence[Picture], size: int) -> Picture:
        """What a layer gives, for patterns of ``size`` pixels across.

        Raises:
            DataError: its fields are wrong, or do not fit to what it is given.
        """

    def tensors(self, layer: Layer, given: Picture) -> dict[str, Tensor]:  # noqa: ARG002 - most have none
        """The tensors of a layer whose fields are right, by the part of their name after its own."""
        return {}


class _Kept(Operation):
    """Each number by itself."""

    def gives(self, layer: Layer, given: Sequence[Picture], size: int) -> Picture:  # noqa: ARG002
        return given[0]


class _Add(Operation):
    inputs = 2

    def gives(self, layer: Layer, given: Sequence[Picture], size: int) -> Picture:  # noqa: ARG002
        if given[0] != given[1]:
            message = " and ".join(f"{one.channels} channels at 1/{2**one.halved} of the size" for one in given)
            raise DataError(f"Layer '{layer['name']}' adds what differs: {message}.")
        return given[0]


class _Fold(Operation):
    def gives(self, layer: Layer, given: Sequence[Picture], size: int) -> Picture:
        return Picture(given[0].channels * 4, _halved(layer, given[0], size))


class _Unfold(Operation):
    def gives(self, layer: Layer, given: Sequence[Picture], size: int) -> Picture:  # noqa: ARG002
        channels, halved = given[0]
        if channels % 4 or halved == 0:
            raise DataError(f"Layer '{layer['name']}' cannot unfold {channels} channels at 1/{2**halved} of the size.")
        return Picture(channels // 4, halved - 1)


class _Convolution(Operation):
    def gives(self, layer: Layer, given: Sequence[Picture], size: int) -> Picture:
        name = layer["name"]
        side, stride = whole_number(layer, "kernel", name), whole_number(layer, "stride", name)
        if (side, stride) not in _KERNELS:
            raise DataError(f"Layer '{name}' has kernel {side} and stride {stride}; there are 1 and 1, 3 and 1, 2 and 2.")
        _gain(layer)
        halved = _halved(layer, given[0], size) if stride == 2 else given[0].halved
        return Picture(whole_number(layer, "channels", name), halved)

    def tensors(self, layer: Layer, given: Picture) -> dict[str, Tensor]:
        out, side = int(layer["channels"]), int(layer["kernel"])
        weight = Tensor((out, given.channels, side, side), _gain(layer) / sqrt(given.channels * side**2))
        return {"weight": weight, "bias": Tensor((out,))}


class _LayerNormalization(_Kept):
    def tensors(self, layer: Layer, given: Picture) -> dict[str, Tensor]:  # noqa: ARG002
        return {"weight": Tensor((given.channels,), value=1.0), "bias": Tensor((given.channels,))}


class _GroupNormalization(_LayerNormalization):
    def gives(self, layer: Layer, given: Sequence[Picture], size: int) -> Picture:  # noqa: ARG002
        _divides(layer, "groups", given[0].channels, "channels")
        return given[0]


class _Resize(Operation):
    def gives(self, layer: Layer, given: Sequence[Picture], size: int) -> Picture:
        name = layer["name"]
        for field, words in (("scale", _SCALES), ("method", _METHODS)):
            if layer.get(field) not in words:
                raise DataError(f"Layer '{name}' has the {field} {layer.get(field)!r:.40}; there are {' and '.join(words)}.")
        channels, halved = given[0]
        if layer["scale"] == "half":
            return Picture(channels, _halved(layer, given[0], size))
        if halved == 0:
            raise DataError(f"Layer '{name}' cannot double a picture of full size.")
        return Picture(channels, halved - 1)


class _SpectralConvolution(Operation):
    def gives(self, layer: Layer, given: Sequence[Picture], size: int) -> Picture:
        name, side = layer["name"], given[0].side(size)
        modes = whole_number(layer, "modes", name)
        if 2 * modes > side:
            raise DataError(f"Layer '{name}' has {modes} modes; a picture of {side} x {side} pixels has at most {side // 2}.")
        _gain(layer)
        return Picture(whole_number(layer, "channels", name), given[0].halved)

    def tensors(self, layer: Layer, given: Picture) -> dict[str, Tensor]:
        out, modes = int(layer["channels"]), int(layer["modes"])
        return {"weight": Tensor((2, out, given.channels, 2 * modes, modes), _gain(layer) / sqrt(given.channels))}


class _Attention(Operation):
    def gives(self, layer: Layer, given: Sequence[Picture], size: int) -> Picture:
        channels, halved = given[0]
        if channels % 3:
            message = f"is given {channels} channels; it takes as many queries, keys and values"
            raise DataError(f"Layer '{layer['name']}' {message}.")
        _divides(layer, "heads", channels // 3, "channels of each of queries, keys and values")
        _divides(layer, "window", given[0].side(size), "pixels across")
        return Picture(channels // 3, halved)


OPERATIONS: Final[dict[str, Operation]] = {
    "add": _Add(),
    "attention": _Attention(),
    "convolution": _Convolution(),
    "fold": _Fold(),
    "gelu": _Kept(),
    "group_normalization": _GroupNormalization(),
    "layer_normalization": _LayerNormalization(),
    "resize": _Resize(),
    "silu": _Kept(),
    "spectral_convolution": _SpectralConvolution(),
    "unfold": _Unfold(),
}
"""By the word that a layer has for it."""


def whole_number(place: Mapping[str, Any], key: str, name: str) -> int:
    """A field that is a whole number above 0.

    Raises:
        DataError: it is none.
    """
    value = place.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MOST_CHANNELS:
        raise DataError(f"The description of {name}: '{key}' is {value!r}; it must be a whole number from 1 to {_MOST_CHANNELS}.")
    return value


def _gain(layer: Layer) -> float:
    gain = layer.get("gain", 1.0)
    if isinstance(gain, bool) or not isinstance(gain, int | float) or not 0 <= gain <= 100:
        raise DataError(f"Layer '{layer['name']}' has the gain {gain!r}; it must be a number from 0 to 100.")
    return float(gain)


def _halved(layer: Layer, given: Picture, size: int) -> int:
    if given.side(size) << given.halved != size or given.side(size) % 2:
        raise DataError(f"Layer '{layer['name']}' cannot halve a picture of {given.side(size)} x {given.side(size)} pixels.")
    return given.halved + 1


def _divides(layer: Layer, field: str, total: int, what: str) -> None:
    parts = whole_number(layer, field, layer["name"])
    if total % parts:
        raise DataError(f"Layer '{layer['name']}' has {field} {parts}, which does not divide {total} {what}.")
