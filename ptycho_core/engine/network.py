"""A described network (``specs/network.md``) on the operations of a framework."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from ptycho_core.engine.layers import gelu, on_planes
from ptycho_core.networks import tensor_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import Array, ArrayOps

__all__ = ["Layout", "Network"]


class Layout(Protocol):
    """How a framework holds weights and pictures of a network."""

    def native(self, name: str, value: NDArray[Any]) -> NDArray[Any]:
        """An array of the description's tensor ``name`` as it is held.

        Those of a convolution are (out, in, kernel, kernel) and (out,); any other is held as it is.
        """

    def canonical(self, name: str, value: NDArray[Any]) -> NDArray[Any]:
        """The inverse of `native`."""

    def weight(self, value: Array) -> Array:
        """A native weight as `ArrayOps.convolution` takes it; one that is no convolution's as it is."""

    def enter(self, planes: Array) -> Array:
        """Pictures of real (batch, channel, row, column)."""

    def planes(self, picture: Array) -> Array:
        """The inverse of `enter`, in the precision of the arrays, with the channels in the order that they have."""

    def ordered(self, picture: Array, layer: str, place: int) -> Array:
        """A picture with its channels in the order in which ``layer`` takes its input number ``place``."""

    def leave(self, channels: Array) -> Array:
        """As `planes`, with the channels in the order of the description, for what the last layer gives."""


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
        self._tensors = Counter(name.rpartition(".")[0] for name in tensor_shapes(description))
        self._spectral = xp.untranslated(on_planes)
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
            values[name] = self._of_layer(layer, given, [next(following) for _ in range(self._tensors[name])])
            if self._mixed:
                values[name] = self._xp.brief(values[name])
            for one in finished:  # what no later layer needs
                del values[one]
        return values[self._layers[-1]["name"]]

    def _of_layer(self, layer: Mapping[str, Any], given: list[Array], weights: list[Array]) -> Array:
        xp, picture = self._xp, given[0]
        match layer["op"]:
            case "add":
                return picture + given[1]
            case "convolution":
                return xp.convolution(picture, weights[0], weights[1], int(layer["stride"]), mixed=self._mixed)
            case "fold":
                return xp.fold(picture)
            case "gelu" if not self._mixed:
                return gelu(xp, picture)
            case "silu":
                return xp.silu(picture)
            case "unfold":
                return xp.unfold(picture)
            case "spectral_convolution":
                return self._layout.enter(self._spectral(xp, layer, self._layout.planes(picture), weights))
            case _:
                return self._layout.enter(on_planes(xp, layer, self._layout.planes(picture), weights))
