"""A described network (``specs/network.md``) on the operations of a framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import Array, ArrayOps

__all__ = ["Layout", "Network"]


class Layout(Protocol):
    """How a framework holds weights and pictures of a network."""

    def native(self, name: str, value: NDArray[Any]) -> NDArray[Any]:
        """An array of the description's tensor ``name``, (out, in, kernel, kernel) or (out,), as it is held."""

    def canonical(self, name: str, value: NDArray[Any]) -> NDArray[Any]:
        """The inverse of `native`."""

    def weight(self, value: Array) -> Array:
        """A native weight as `ArrayOps.convolution` takes it."""

    def enter(self, features: Array) -> Array:
        """Pictures of real (batch, channels, N, N)."""

    def ordered(self, picture: Array, layer: str, place: int) -> Array:
        """A picture with its channels in the order in which ``layer`` takes its input number ``place``."""

    def leave(self, channels: Array) -> Array:
        """The inverse of `enter`, for what the last layer gives."""


class Network:
    """Runs the layers of a description in order.

    Args:
        xp: the operations.
        description: of the network.
        layout: of its weights and pictures.
        mixed: round what convolutions take, and every result, to bfloat16.
    """

    def __init__(self, xp: ArrayOps, description: Mapping[str, Any], layout: Layout, *, mixed: bool) -> None:
        self._xp, self._layout, self._mixed = xp, layout, mixed
        self._layers: list[Mapping[str, Any]] = list(description["layers"])
        last_use = {name: index for index, layer in enumerate(self._layers) for name in layer["from"]}
        self._finished = [[name for name, use in last_use.items() if use == index] for index in range(len(self._layers))]
        self._pass = xp.accelerated(self._passed)

    def __call__(self, weights: Sequence[Array], features: Array) -> Array:
        """Output channels, real (batch, channels, N, N).

        Args:
            weights: as the layout holds them, in the order of the description's tensors.
            features: real (batch, channels, N, N).
        """
        return self._layout.leave(self._pass([self._layout.weight(one) for one in weights], self._layout.enter(features)))

    def _passed(self, weights: Sequence[Array], pictures: Array) -> Array:
        values, following = {"input": pictures}, iter(weights)
        for layer, finished in zip(self._layers, self._finished, strict=True):
            name = layer["name"]
            given = [self._layout.ordered(values[one], name, place) for place, one in enumerate(layer["from"])]
            if layer["op"] == "convolution":
                weight, bias = next(following), next(following)
                found = self._xp.convolution(given[0], weight, bias, int(layer["stride"]), mixed=self._mixed)
            else:
                found = self._of_layer(layer["op"], given)
            values[name] = self._xp.brief(found) if self._mixed else found
            for one in finished:  # what no later layer needs
                del values[one]
        return values[self._layers[-1]["name"]]

    def _of_layer(self, operation: str, given: list[Array]) -> Array:
        match operation:
            case "add":
                return given[0] + given[1]
            case "silu":
                return self._xp.silu(given[0])
            case "fold":
                return self._xp.fold(given[0])
            case _:
                return self._xp.unfold(given[0])
