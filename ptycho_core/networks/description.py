"""What a description of a network may hold, and which tensors follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ptycho_core.errors import DataError

__all__ = [
    "CANVAS_VERSION",
    "LIKELIHOODS",
    "OPERATIONS",
    "TILE_VERSION",
    "check_description",
    "convolutions",
    "estimates_tiles",
    "sees_canvas",
    "tensor_shapes",
]

OPERATIONS: Final = ("add", "convolution", "fold", "silu", "unfold")
"""Operations of a layer; ``specs/network.md`` defines them."""

GROUP_VERSION: Final = 1
TILE_VERSION: Final = 2
CANVAS_VERSION: Final = 3
"""What is estimated before the network: the object of each group of frames by itself, or that of a tile of neighbors; of the
third version the network sees the tile's whole canvas, else the window of each frame."""

_CANVAS_CHANNELS: Final = (6, 2)
_CANVAS_FOLDS: Final = 3  # the sides of a canvas are multiples of eight

LIKELIHOODS: Final = ("amplitude", "poisson")
FORMS: Final = ("real-imaginary", "amplitude-phase")
ACTIVATIONS: Final = ("softplus", "sigmoid", "none")

_MOST_LAYERS = 1000
_MOST_CHANNELS = 1 << 16
_KERNELS = {(1, 1), (3, 1), (2, 2)}  # (side, stride)


def check_description(description: Mapping[str, Any]) -> None:
    """Make sure that a description is complete and can be built.

    Raises:
        DataError: what is wrong and in which layer or field.
    """
    tensor_shapes(description)
    if description.get("version") not in (GROUP_VERSION, TILE_VERSION, CANVAS_VERSION):
        told = f"The network's description is of version {description.get('version')!r}"
        raise DataError(f"{told}; this ptycho reads {GROUP_VERSION} to {CANVAS_VERSION}.")
    for field in ("size", "gridsize"):
        _whole(description, field, "the network")
    estimate, output = description.get("estimate"), description.get("output")
    if not isinstance(estimate, Mapping) or not isinstance(output, Mapping):
        raise DataError("The network's description lacks 'estimate' or 'output'.")
    steps, alpha = estimate.get("steps"), estimate.get("alpha")
    if isinstance(steps, bool) or not isinstance(steps, int) or not 0 <= steps <= 1000:
        raise DataError(f"The network's estimate has {steps!r} steps; it must be a whole number from 0 to 1000.")
    if not 0 < _number(alpha) <= 1:
        raise DataError(f"The network's estimate has alpha {alpha!r}; it must be in (0, 1].")
    _check_tile_estimate(description) if estimates_tiles(description) else _check_group_estimate(estimate)
    if output.get("form") not in FORMS or output.get("activation") not in ACTIVATIONS:
        raise DataError(
            f"The network's output is {dict(output)!r}; forms are {', '.join(FORMS)}, activations {', '.join(ACTIVATIONS)}."
        )


def estimates_tiles(description: Mapping[str, Any]) -> bool:
    """Whether the estimate is that of a tile of neighboring frames (version 2 or 3), not of each group by itself."""
    return description.get("version") in (TILE_VERSION, CANVAS_VERSION)


def sees_canvas(description: Mapping[str, Any]) -> bool:
    """Whether the network sees the canvas of a tile (version 3), not the window of each frame."""
    return bool(description.get("version") == CANVAS_VERSION)


def _check_group_estimate(estimate: Mapping[str, Any]) -> None:
    if not 0 <= _number(estimate.get("momentum")) < 1:
        raise DataError(f"The network's estimate has momentum {estimate.get('momentum')!r}; it must be in [0, 1).")


def _check_tile_estimate(description: Mapping[str, Any]) -> None:
    estimate = description["estimate"]
    if description["gridsize"] != 1:
        raise DataError(f"The network's estimate is of tiles; its gridsize must be 1, not {description['gridsize']}.")
    if sees_canvas(description):
        _check_canvas(description)
    smooth, cutoff = estimate.get("smooth"), estimate.get("cutoff")
    if not 0 <= _number(smooth) <= 1000 or not 0 < _number(cutoff) <= 1:
        told = f"The network's estimate has smooth {smooth!r} and cutoff {cutoff!r}"
        raise DataError(f"{told}; they must be in [0, 1000] and (0, 1].")
    if estimate.get("likelihood") not in LIKELIHOODS:
        raise DataError(
            f"The network's estimate has likelihood {estimate.get('likelihood')!r}; there are {', '.join(LIKELIHOODS)}."
        )


def _check_canvas(description: Mapping[str, Any]) -> None:
    """A canvas is one picture, whose sides are known as multiples of eight alone."""
    channels = tuple(description[f"{name}_channels"] for name in ("input", "output"))
    if channels != _CANVAS_CHANNELS or not description["layers"]:
        told = f"{channels[0]} input and {channels[1]} output channels in {len(description['layers'])} layers"
        raise DataError(f"The network on the canvas has {told}; {_CANVAS_CHANNELS[0]} and {_CANVAS_CHANNELS[1]} are expected.")
    deepest = _walked(description)[1]
    if deepest > _CANVAS_FOLDS:
        raise DataError(
            f"The network works at 1/{2**deepest} of the size; the canvas of a tile can be halved {_CANVAS_FOLDS} times."
        )


def _number(value: object) -> float:
    """A number as it is; what is none, as one that is in no range."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else -1.0


def tensor_shapes(description: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every trained tensor, in the order of the layers.

    A convolution ``name`` has ``name.weight`` (out, in, kernel, kernel) and ``name.bias`` (out,), both float32.

    Raises:
        DataError: the description does not hold together.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, channels in convolutions(description):
        out, side = int(layer["channels"]), int(layer["kernel"])
        shapes[f"{layer['name']}.weight"] = (out, channels, side, side)
        shapes[f"{layer['name']}.bias"] = (out,)
    return shapes


def convolutions(description: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], int]]:
    """The convolutions of a description in order, each with the number of channels that it is given.

    Raises:
        DataError: the description does not hold together.
    """
    return _walked(description)[0]


def _walked(description: Mapping[str, Any]) -> tuple[list[tuple[Mapping[str, Any], int]], int]:
    """What `convolutions` gives, and how often the smallest picture was halved."""
    channels = {"input": _whole(description, "input_channels", "the network")}
    folded = {"input": 0}
    layers = description.get("layers")
    if layers == [] and description.get("version") == TILE_VERSION:  # the estimate itself is the answer
        return [], 0
    if not isinstance(layers, Sequence) or isinstance(layers, str) or not 0 < len(layers) <= _MOST_LAYERS:
        raise DataError("The network's description has no list 'layers' of 1 to 1000 layers.")
    found = []
    for layer in layers:
        name = _name(layer, channels)
        given = _inputs(layer, name, channels)
        if layer["op"] == "convolution":
            _check_convolution(layer, name)
            found.append((layer, channels[given[0]]))
        channels[name], folded[name] = _result(layer, name, [(channels[one], folded[one]) for one in given])
    last = str(layers[-1]["name"])
    wanted = _whole(description, "output_channels", "the network")
    if channels[last] != wanted or folded[last] != 0:
        gives = f"{channels[last]} channels at 1/{2 ** folded[last]} of the size"
        raise DataError(f"The network's last layer '{last}' gives {gives}, not {wanted} at full size.")
    return found, max(folded.values())


def _name(layer: Any, known: Mapping[str, Any]) -> str:  # noqa: ANN401 - JSON
    if not isinstance(layer, Mapping) or not isinstance(layer.get("name"), str) or not layer["name"].isidentifier():
        raise DataError(f"The network's description has a layer without a proper name: {layer!r:.80}.")
    name = str(layer["name"])
    if name in known:
        raise DataError(f"The network's description has two layers named '{name}'.")
    if layer.get("op") not in OPERATIONS:
        raise DataError(f"Layer '{name}' has the operation {layer.get('op')!r}; known are {', '.join(OPERATIONS)}.")
    return name


def _inputs(layer: Mapping[str, Any], name: str, known: Mapping[str, Any]) -> list[str]:
    given = layer.get("from")
    wanted = 2 if layer["op"] == "add" else 1
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != wanted:
        raise DataError(f"Layer '{name}' must have a list 'from' of {wanted}.")
    for one in given:
        if not isinstance(one, str) or one not in known:
            raise DataError(f"Layer '{name}' takes what layer {one!r} gives, but that does not come before it.")
    return [str(one) for one in given]


def _check_convolution(layer: Mapping[str, Any], name: str) -> None:
    side, stride = _whole(layer, "kernel", name), _whole(layer, "stride", name)
    if (side, stride) not in _KERNELS:
        raise DataError(f"Layer '{name}' has kernel {side} and stride {stride}; there are 1 and 1, 3 and 1, 2 and 2.")
    gain = layer.get("gain", 1.0)
    if isinstance(gain, bool) or not isinstance(gain, int | float) or not 0 <= gain <= 100:
        raise DataError(f"Layer '{name}' has the gain {gain!r}; it must be a number from 0 to 100.")


def _result(layer: Mapping[str, Any], name: str, given: list[tuple[int, int]]) -> tuple[int, int]:
    """Channels of a layer's result, and how often its size was halved."""
    channels, folded = given[0]
    if layer["op"] == "convolution":
        return _whole(layer, "channels", name), folded + (layer["stride"] == 2)
    if layer["op"] == "fold":
        return channels * 4, folded + 1
    if layer["op"] == "unfold":
        if channels % 4 or folded == 0:
            raise DataError(f"Layer '{name}' cannot unfold {channels} channels at 1/{2**folded} of the size.")
        return channels // 4, folded - 1
    if len(set(given)) > 1:
        raise DataError(f"Layer '{name}' adds what differs in channels or size: {given[0]} and {given[1]}.")
    return channels, folded


def _whole(place: Mapping[str, Any], key: str, name: str) -> int:
    value = place.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MOST_CHANNELS:
        raise DataError(f"The description of {name}: '{key}' is {value!r}; it must be a whole number from 1 to {_MOST_CHANNELS}.")
    return value
