"""How PyTorch holds the weights and pictures of a described network, and what translates it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["ChannelsLast", "Translated"]


class ChannelsLast:
    """Weights of convolutions lie in channels-last order, which these are fastest in; see `ptycho_core.engine.network.Layout`."""

    def __init__(self, description: Mapping[str, Any], dtype: torch.dtype) -> None:  # noqa: ARG002 - all are held alike
        self._real = dtype

    def native(self, name: str, value: NDArray[Any]) -> NDArray[Any]:  # noqa: ARG002
        """(out, kernel, kernel, in) of (out, in, kernel, kernel)."""
        return np.ascontiguousarray(value.transpose(0, 2, 3, 1)) if value.ndim == 4 else value

    def canonical(self, name: str, value: NDArray[Any]) -> NDArray[Any]:  # noqa: ARG002
        """The inverse of `native`."""
        return np.ascontiguousarray(value.transpose(0, 3, 1, 2)) if value.ndim == 4 else value

    def weight(self, value: torch.Tensor) -> torch.Tensor:
        """A view of a native weight as convolutions take it."""
        return value.permute(0, 3, 1, 2) if value.ndim == 4 else value

    def enter(self, planes: torch.Tensor) -> torch.Tensor:
        """Pictures are given as they are held."""
        return planes

    def planes(self, picture: torch.Tensor) -> torch.Tensor:
        """In the precision of everything else."""
        return picture.to(self._real)

    def ordered(self, picture: torch.Tensor, layer: str, place: int) -> torch.Tensor:  # noqa: ARG002
        """Channels come as described."""
        return picture

    def leave(self, channels: torch.Tensor) -> torch.Tensor:
        """In the precision of everything else, one channel after the other."""
        return self.planes(channels).contiguous()


class Translated:
    """A network as ``torch.compile`` translates it when it is first used; it serves any number of groups.

    Attributes:
        translations: how often that was.
    """

    def __init__(self, network: Callable[..., torch.Tensor]) -> None:
        self.translations = 0
        self._translated = torch.compile(network, backend=self._translate)

    def __call__(self, weights: Sequence[torch.Tensor], pictures: torch.Tensor) -> torch.Tensor:
        """What the network gives, up to rounding."""
        from torch._dynamo import maybe_mark_dynamic

        maybe_mark_dynamic(pictures, 0)  # else each number of groups is translated anew
        found: torch.Tensor = self._translated(weights, pictures)
        return found

    def _translate(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        from torch._dynamo import lookup_backend

        self.translations += 1
        translate: Callable[..., Callable[..., Any]] = lookup_backend("inductor")
        return translate(graph, inputs)
