"""The network: every layer's result, and the way back from the last to all weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.conformance.reference.attention import attend, attend_back
from ptycho_core.conformance.reference.layers import (
    convolve,
    convolve_back,
    fold,
    gelu,
    gelu_slope,
    silu,
    silu_slope,
    unfold,
)
from ptycho_core.conformance.reference.normalization import normalize, normalize_back
from ptycho_core.conformance.reference.resizing import resize, resize_back
from ptycho_core.conformance.reference.spectral import spectral, spectral_back

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Real = NDArray[np.float64]

__all__ = ["channels", "layer_results", "weight_gradients"]


def _same(value: Real) -> Real:
    return value


def channels(
    network: Mapping[str, Any], weights: Mapping[str, Real], given: Real, rounded: Callable[[Real], Real] = _same
) -> Real:
    """Output channels (group, 2 C, N, N) for features (group, 5 C, N, N).

    Args:
        network: description.
        weights: its tensors by name.
        given: the features.
        rounded: what a lower precision does to weights and to every layer's result.
    """
    return layer_results(network, weights, given, rounded)[network["layers"][-1]["name"]]


def layer_results(
    network: Mapping[str, Any], weights: Mapping[str, Real], given: Real, rounded: Callable[[Real], Real] = _same
) -> dict[str, Real]:
    """The result of every layer by name, and ``input``; arguments as for `channels`."""
    values = {"input": given}
    for layer in network["layers"]:
        x = [values[name] for name in layer["from"]]
        values[layer["name"]] = rounded(_result(layer, x, weights, rounded))
    return values


def _result(layer: Mapping[str, Any], x: list[Real], weights: Mapping[str, Real], rounded: Callable[[Real], Real]) -> Real:
    own = _own(layer, weights)
    match layer["op"]:
        case "add":
            return x[0] + x[1]
        case "attention":
            return attend(x[0], layer["heads"], layer["window"])
        case "convolution":
            return convolve(rounded(x[0]), rounded(own[0]), layer["stride"]) + rounded(own[1])[:, None, None]
        case "group_normalization" | "layer_normalization":
            return normalize(x[0], own[0], own[1], layer.get("groups"))
        case "resize":
            return resize(x[0], layer["scale"], layer["method"])
        case "spectral_convolution":
            return spectral(x[0], *own)
        case plain:
            return {"silu": silu, "gelu": gelu, "fold": fold, "unfold": unfold}[plain](x[0])


def _own(layer: Mapping[str, Any], weights: Mapping[str, Real]) -> list[Real]:
    """The tensors of a layer: weight, then bias."""
    return [weights[name] for part in ("weight", "bias") if (name := f"{layer['name']}.{part}") in weights]


def weight_gradients(
    network: Mapping[str, Any], weights: Mapping[str, Real], values: Mapping[str, Real], slope: Real
) -> dict[str, Real]:
    """Gradient of a loss with respect to every weight, by reverse accumulation.

    Args:
        network: description.
        weights: its tensors by name.
        values: what `layer_results` gave.
        slope: gradient with respect to the output channels, (group, 2 C, N, N).

    Returns:
        By name, each of the weight's shape.
    """
    layers = network["layers"]
    slopes: dict[str, Real] = {layers[-1]["name"]: slope}
    found: dict[str, Real] = {}
    for layer in reversed(layers):
        name = layer["name"]
        own = slopes.pop(name, None)
        if own is None:  # nothing that the loss sees came from it
            own = np.zeros_like(values[name])
        for source, part in zip(layer["from"], _back(layer, own, values, weights, found), strict=True):
            slopes[source] = slopes[source] + part if source in slopes else part
    return found


def _back(
    layer: Mapping[str, Any], slope: Real, values: Mapping[str, Real], weights: Mapping[str, Real], found: dict[str, Real]
) -> list[Real]:
    """Gradients with respect to the inputs of one layer; those of its weights are put into ``found``."""
    x, own = values[layer["from"][0]], _own(layer, weights)
    of_own: Sequence[Real] = ()
    match layer["op"]:
        case "add":
            return [slope, slope]
        case "attention":
            below = attend_back(x, layer["heads"], layer["window"], slope)
        case "convolution":
            below, of_weight = convolve_back(x, own[0], layer["stride"], slope)
            of_own = (of_weight, slope.sum(axis=(0, 2, 3)))
        case "fold":
            below = unfold(slope)
        case "gelu":
            below = slope * gelu_slope(x)
        case "group_normalization" | "layer_normalization":
            below, *of_own = normalize_back(x, own[0], layer.get("groups"), slope)
        case "resize":
            below = resize_back(x, layer["scale"], layer["method"], slope)
        case "silu":
            below = slope * silu_slope(x)
        case "spectral_convolution":
            below, *of_own = spectral_back(x, own[0], slope)
        case _:
            below = fold(slope)
    found |= {f"{layer['name']}.{part}": one for part, one in zip(("weight", "bias"), of_own, strict=False)}
    return [below]
