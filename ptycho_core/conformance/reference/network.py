"""The network: every layer's result, and the way back from the last to all weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.conformance.reference.layers import convolve, convolve_back, fold, silu, silu_slope, unfold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    if layer["op"] == "add":
        return x[0] + x[1]
    if layer["op"] == "convolution":
        weight, bias = (rounded(weights[f"{layer['name']}.{part}"]) for part in ("weight", "bias"))
        return convolve(rounded(x[0]), weight, layer["stride"]) + bias[:, None, None]
    return {"silu": silu, "fold": fold, "unfold": unfold}[layer["op"]](x[0])


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
    x = values[layer["from"][0]]
    if layer["op"] == "add":
        return [slope, slope]
    if layer["op"] == "convolution":
        name = layer["name"]
        below, found[f"{name}.weight"] = convolve_back(x, weights[f"{name}.weight"], layer["stride"], slope)
        found[f"{name}.bias"] = slope.sum(axis=(0, 2, 3))
        return [below]
    if layer["op"] == "silu":
        return [slope * silu_slope(x)]
    return [unfold(slope) if layer["op"] == "fold" else fold(slope)]
