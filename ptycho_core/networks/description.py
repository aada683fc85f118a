"""What a description of a network may hold, and which tensors follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ptycho_core.errors import DataError
from ptycho_core.networks.operations import OPERATIONS, Picture, Tensor, whole_number

__all__ = [
    "CANVAS_CHANNELS",
    "CANVAS_VERSION",
    "LIKELIHOODS",
    "TILE_VERSION",
    "check_description",
    "estimates_tiles",
    "sees_canvas",
    "tensor_shapes",
    "trained_tensors",
]

GROUP_VERSION: Final = 1
TILE_VERSION: Final = 2
CANVAS_VERSION: Final = 3
"""What is estimated before the network: the object of each group of frames by itself, or that of a tile of neighbors; of the
third version the network sees the tile's whole canvas, else the window of each frame."""

CANVAS_CHANNELS: Final = (6, 2)
"""Channels that a network on the canvas takes (the first four as of a frame, two of the light of all frames) and gives."""

_CANVAS_FOLDS: Final = 3  # the sides of a canvas are multiples of eight
_OF_A_SIZE: Final = ("attention", "spectral_convolution")

LIKELIHOODS: Final = ("amplitude", "poisson")
FORMS: Final = ("real-imaginary", "amplitude-phase")
ACTIVATIONS: Final = ("softplus", "sigmoid", "none")

_MOST_LAYERS = 1000


def check_description(description: Mapping[str, Any]) -> None:
    """Make sure that a description is complete and can be built.

    Raises:
        DataError: what is wrong and in which layer or field.
    """
    tensor_shapes(description)
    if description.get("version") not in (GROUP_VERSION, TILE_VERSION, CANVAS_VERSION):
        message = f"The network's description is of version {description.get('version')!r}"
        raise DataError(f"{message}; this ptycho reads {GROUP_VERSION} to {CANVAS_VERSION}.")
    for field in ("size", "gridsize"):
        whole_number(description, field, "the network")
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
        message = f"The network's estimate has smooth {smooth!r} and cutoff {cutoff!r}"
        raise DataError(f"{message}; they must be in [0, 1000] and (0, 1].")
    if estimate.get("likelihood") not in LIKELIHOODS:
        raise DataError(
            f"The network's estimate has likelihood {estimate.get('likelihood')!r}; there are {', '.join(LIKELIHOODS)}."
        )


def _check_canvas(description: Mapping[str, Any]) -> None:
    """A canvas is one picture, whose sides are known as multiples of eight alone."""
    channels = tuple(description[f"{name}_channels"] for name in ("input", "output"))
    if channels != CANVAS_CHANNELS or not description["layers"]:
        message = f"{channels[0]} input and {channels[1]} output channels in {len(description['layers'])} layers"
        raise DataError(f"The network on the canvas has {message}; {CANVAS_CHANNELS[0]} and {CANVAS_CHANNELS[1]} are expected.")
    sized = next((str(layer["op"]) for layer in description["layers"] if layer["op"] in _OF_A_SIZE), None)
    if sized is not None:
        raise DataError(f"The network on the canvas has the operation {sized!r}, which needs a picture of known size.")
    deepest = _walked(description)[1]
    if deepest > _CANVAS_FOLDS:
        raise DataError(
            f"The network works at 1/{2**deepest} of the size; the canvas of a tile can be halved {_CANVAS_FOLDS} times."
        )


def _number(value: object) -> float:
    """A number as it is; what is none, as one that is in no range."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else -1.0


def tensor_shapes(description: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every trained tensor, all float32, in the order of the layers.

    A convolution ``name`` has ``name.weight`` (out, in, kernel, kernel) and ``name.bias`` (out,).

    Raises:
        DataError: the description does not hold together.
    """
    return {name: tensor.shape for name, tensor in trained_tensors(description).items()}


def trained_tensors(description: Mapping[str, Any]) -> dict[str, Tensor]:
    """Every trained tensor by name, in the order of the layers, as it is at first.

    Raises:
        DataError: the description does not hold together.
    """
    return _walked(description)[0]


def _walked(description: Mapping[str, Any]) -> tuple[dict[str, Tensor], int]:
    """What `trained_tensors` gives, and how often the smallest picture was halved."""
    layers = description.get("layers")
    if layers == [] and description.get("version") == TILE_VERSION:  # the estimate itself is the answer
        return {}, 0
    if not isinstance(layers, Sequence) or isinstance(layers, str) or not 0 < len(layers) <= _MOST_LAYERS:
        raise DataError("The network's description has no list 'layers' of 1 to 1000 layers.")
    size = whole_number(description, "size", "the network")
    known = {"input": Picture(whole_number(description, "input_channels", "the network"), 0)}
    found: dict[str, Tensor] = {}
    for layer in layers:
        name = _name(layer, known)
        operation = OPERATIONS[layer["op"]]
        given = [known[one] for one in _inputs(layer, name, operation.inputs, known)]
        known[name] = operation.gives(layer, given, size)
        found |= {f"{name}.{part}": tensor for part, tensor in operation.tensors(layer, given[0]).items()}
    last, wanted = str(layers[-1]["name"]), whole_number(description, "output_channels", "the network")
    if known[last] != (wanted, 0):
        gives = f"{known[last].channels} channels at 1/{2 ** known[last].halved} of the size"
        raise DataError(f"The network's last layer '{last}' gives {gives}, not {wanted} at full size.")
    return found, max(one.halved for one in known.values())


def _name(layer: Any, known: Mapping[str, Any]) -> str:  # noqa: ANN401 - JSON
    if not isinstance(layer, Mapping) or not isinstance(layer.get("name"), str) or not layer["name"].isidentifier():
        raise DataError(f"The network's description has a layer without a proper name: {layer!r:.80}.")
    name = str(layer["name"])
    if name in known:
        raise DataError(f"The network's description has two layers named '{name}'.")
    if not isinstance(layer.get("op"), str) or layer["op"] not in OPERATIONS:
        raise DataError(f"Layer '{name}' has the operation {layer.get('op')!r:.60}; known are {', '.join(OPERATIONS)}.")
    return name


def _inputs(layer: Mapping[str, Any], name: str, wanted: int, known: Mapping[str, Any]) -> list[str]:
    given = layer.get("from")
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != wanted:
        raise DataError(f"Layer '{name}' must have a list 'from' of {wanted}.")
    for one in given:
        if not isinstance(one, str) or one not in known:
            raise DataError(f"Layer '{name}' takes what layer {one!r} gives, but that does not come before it.")
    return [str(one) for one in given]
