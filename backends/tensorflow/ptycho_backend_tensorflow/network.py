"""How TensorFlow holds the weights and pictures of a described network.

Pictures are (batch, row, column, channel) here, the only order that convolutions take on a CPU. There the cheap way to fold a
picture gives the channels in another order than the specification. So the order is followed through the layers when the network
is built, and the few weights are permuted instead of the many channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ChannelOrders", "brief", "silu"]

_EACH_CHANNEL_ALIKE: Final = ("add", "gelu", "resize", "silu")
"""Operations that give the channels in the order that they are given; what is not named takes them as they are described."""


class ChannelOrders:
    """Weights of convolutions are (row, column, in, out), channels in the order in which they come.

    See `ptycho_core.engine.network.Layout`.
    """

    def __init__(self, description: Mapping[str, Any]) -> None:
        self._orders = _Orders(description)

    def native(self, name: str, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Of a convolution's (out, in, kernel, kernel), or (out,)."""
        if name.rpartition(".")[0] not in self._orders.of_weights:
            return value
        given, gives = self._orders.of_weights[name.rpartition(".")[0]]
        return value[gives][:, given].transpose(2, 3, 1, 0) if value.ndim == 4 else value[gives]

    def canonical(self, name: str, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The inverse of `native`."""
        if name.rpartition(".")[0] not in self._orders.of_weights:
            return value
        given, gives = self._orders.of_weights[name.rpartition(".")[0]]
        if value.ndim == 1:
            return value[np.argsort(gives)]
        return np.ascontiguousarray(value.transpose(3, 2, 0, 1)[np.argsort(gives)][:, np.argsort(given)])

    def weight(self, value: tf.Tensor) -> tf.Tensor:
        """Convolutions take native weights."""
        return value

    def enter(self, planes: tf.Tensor) -> tf.Tensor:
        """Channels last."""
        return tf.transpose(planes, (0, 2, 3, 1))

    def planes(self, picture: tf.Tensor) -> tf.Tensor:
        """Channels first."""
        return tf.transpose(picture, (0, 3, 1, 2))

    def ordered(self, picture: tf.Tensor, layer: str, place: int) -> tf.Tensor:
        """Channels in the order in which the layer takes its input number ``place``."""
        return _permuted(picture, self._orders.changes.get((layer, place)))

    def leave(self, channels: tf.Tensor) -> tf.Tensor:
        """Channels first, in the order of the description."""
        return self.planes(_permuted(channels, self._orders.last))


class _Orders:
    """In which order the channels of each layer come; an order says at each place which of the described channels is there.

    Attributes:
        of_weights: for each convolution the orders of what it is given and of what it gives.
        changes: permutations of what a layer is given, by its name and the place among its inputs, where there must be one.
        last: a permutation of what the last layer gives, or None.
    """

    def __init__(self, description: Mapping[str, Any]) -> None:
        self.of_weights: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = {}
        self.changes: dict[tuple[str, int], npt.NDArray[np.int64]] = {}
        layers = description["layers"]
        unfolded = {name for layer in layers if layer["op"] == "unfold" for name in layer["from"]}
        orders = {"input": np.arange(int(description["input_channels"]))}
        for layer in layers:
            name = layer["name"]
            orders[name] = self._gives(layer, [orders[one] for one in layer["from"]], unfolded=name in unfolded)
        self.last = _change(orders[layers[-1]["name"]], np.arange(int(description["output_channels"])))

    def _gives(self, layer: Mapping[str, Any], given: list[npt.NDArray[np.int64]], *, unfolded: bool) -> npt.NDArray[np.int64]:
        """The order of what a layer gives; notes what must be permuted before."""
        first, name = given[0], layer["name"]
        if layer["op"] == "convolution":
            channels = np.arange(int(layer["channels"]))
            gives = _folded(channels[: len(channels) // 4]) if unfolded else channels
            self.of_weights[name] = (first, gives)
            return gives
        if layer["op"] == "fold":
            return _folded(first)
        if layer["op"] == "unfold":
            inner = first[: len(first) // 4] // 4
            if len(set(inner)) < len(inner):  # it was never folded so
                inner = np.arange(len(inner))
            self._change(name, 0, first, _folded(inner))
            return inner
        if layer["op"] == "add":
            self._change(name, 1, given[1], first)
        if layer["op"] in _EACH_CHANNEL_ALIKE:
            return first
        self._change(name, 0, first, np.arange(len(first)))
        return np.arange(int(layer.get("channels", len(first) // (3 if layer["op"] == "attention" else 1))))

    def _change(self, name: str, place: int, order: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> None:
        change = _change(order, wanted)
        if change is not None:
            self.changes[name, place] = change


def _folded(order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The order after ``space_to_depth``: place ``(2 a + b) C + p`` holds channel ``4 order[p] + 2 a + b``."""
    return (4 * order + np.arange(4)[:, None]).reshape(-1)


def _change(order: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
    """Which places to take so that channels in ``order`` come as ``wanted``; None where they do."""
    return None if np.array_equal(order, wanted) else np.argsort(order)[wanted]


def _permuted(value: tf.Tensor, change: npt.NDArray[np.int64] | None) -> tf.Tensor:
    return value if change is None else tf.gather(value, change, axis=-1)


def brief(value: tf.Tensor) -> tf.Tensor:
    """Numbers of bfloat16 in single precision, so that sums lose nothing; the gradient is rounded alike."""
    return tf.cast(tf.cast(value, tf.bfloat16), tf.float32)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def silu(given: tf.Tensor) -> Any:  # noqa: ANN401 - a tensor and the function of its gradient
    """``x / (1 + exp(−x))``; the gradient takes its sigmoid from here instead of making it again."""
    share = tf.sigmoid(given)
    found = given * share

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return upstream * (share + found * (1 - share))

    return found, gradient
