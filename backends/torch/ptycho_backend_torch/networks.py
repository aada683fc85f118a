"""A described network in PyTorch; ``specs/network.md`` defines the operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from ptycho_core.networks import tensor_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from ptycho_backend_torch.compiled import Compiled

__all__ = ["Network", "as_used", "build_network"]


class Network(nn.Module):
    """Runs the layers of a description in order; its parameters are named as the description's tensors are."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        super().__init__()
        shapes = tensor_shapes(description)
        self.layers: list[Mapping[str, Any]] = list(description["layers"])
        self.weights = nn.ParameterDict({name.replace(".", "/"): torch.empty(shape) for name, shape in shapes.items()})
        last_use = {name: index for index, layer in enumerate(self.layers) for name in layer["from"]}
        self._finished = [[name for name, use in last_use.items() if use == index] for index in range(len(self.layers))]

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Output channels (batch, channels, N, N) for input channels (batch, channels, N, N)."""
        values = {"input": given}
        for layer, finished in zip(self.layers, self._finished, strict=True):
            values[layer["name"]] = self._apply_layer(layer, [values[name] for name in layer["from"]])
            for name in finished:  # what no later layer needs
                del values[name]
        return values[self.layers[-1]["name"]]

    def named_weights(self) -> dict[str, torch.Tensor]:
        """Parameters by the names of the description's tensors."""
        return {name.replace("/", "."): value for name, value in self.weights.items()}

    def _apply_layer(self, layer: Mapping[str, Any], given: list[torch.Tensor]) -> torch.Tensor:
        if layer["op"] == "add":
            return given[0] + given[1]
        if layer["op"] == "silu":
            return functional.silu(given[0])
        if layer["op"] == "fold":
            return functional.pixel_unshuffle(given[0], 2)
        if layer["op"] == "unfold":
            return functional.pixel_shuffle(given[0], 2)
        weight, bias = (self.weights[f"{layer['name']}/{part}"] for part in ("weight", "bias"))
        padding = 1 if layer["kernel"] == 3 else 0
        return functional.conv2d(given[0], weight, bias, stride=layer["stride"], padding=padding)


def build_network(
    description: Mapping[str, Any], weights: Mapping[str, npt.NDArray[Any]], device: torch.device, dtype: torch.dtype
) -> Network:
    """The described network with the given weights, in channels-last order, which convolutions are fastest in.

    Args:
        description: of the network.
        weights: exactly the description's tensors.
        device: where it computes.
        dtype: real type of its weights.
    """
    network = Network(description)
    with torch.no_grad():
        for name, value in network.named_weights().items():
            value.copy_(torch.as_tensor(weights[name]))
    network.to(device=device, dtype=dtype)
    for value in network.weights.values():
        if value.ndim == 4:
            value.data = value.data.contiguous(memory_format=torch.channels_last)
    return network


def as_used(network: Network, *, compiled: bool) -> Network | Compiled:
    """What is called for a pass: the network itself or, with the same weights, compiled."""
    if not compiled:
        return network
    from ptycho_backend_torch.compiled import Compiled  # imports a compiler, which takes seconds

    return Compiled(network)
