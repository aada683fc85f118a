"""A network translated by ``torch.compile`` when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch._dynamo import lookup_backend, maybe_mark_dynamic

if TYPE_CHECKING:
    from collections.abc import Callable

    from ptycho_backend_torch.networks import Network

__all__ = ["Compiled"]


class Compiled:
    """A network as compiled code, which serves any number of groups.

    Attributes:
        compilations: how often it was translated.
    """

    def __init__(self, network: Network) -> None:
        self.compilations = 0
        self._translated = torch.compile(network, backend=self._translate)

    def __call__(self, given: torch.Tensor) -> torch.Tensor:
        """What the network gives, up to rounding."""
        maybe_mark_dynamic(given, 0)  # else each number of groups is translated anew
        found: torch.Tensor = self._translated(given)
        return found

    def _translate(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        self.compilations += 1
        translate: Callable[..., Callable[..., Any]] = lookup_backend("inductor")
        return translate(graph, inputs)
