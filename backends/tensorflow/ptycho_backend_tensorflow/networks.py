"""A described network in TensorFlow; ``specs/network.md`` defines the operations.

Arrays are (batch, row, column, channel) here, the only order that convolutions take on a CPU. There the cheap way to fold a
picture gives the channels in another order than the specification. So the order is followed through the layers when the network
is built, and the few weights are permuted instead of the many channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho_core.networks import tensor_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Network", "build_network"]


class Network:
    """Runs the layers of a description in order; its variables are named as the description's tensors are.

    Attributes:
        weights: by name, those of convolutions as (row, column, in, out) with the channels in the order in which they come.
    """

    def __init__(self, description: Mapping[str, Any], dtype: tf.DType) -> None:
        shapes = tensor_shapes(description)
        self.layers: list[Mapping[str, Any]] = list(description["layers"])
        self._orders = _Orders(description)
        self.weights: dict[str, tf.Variable] = {}
        for name, shape in shapes.items():
            self.weights[name] = tf.Variable(self.native(name, np.zeros(shape)), dtype=dtype, name=name.replace(".", "_"))
        last_use = {name: index for index, layer in enumerate(self.layers) for name in layer["from"]}
        self._finished = [[name for name, use in last_use.items() if use == index] for index in range(len(self.layers))]

    def forward(self, given: tf.Tensor, *, mixed: bool = False) -> tf.Tensor:
        """Output channels (batch, N, N, channels) for input channels (batch, N, N, channels).

        Args:
            given: what the first layers take.
            mixed: round what convolutions are given, their weights and every result to bfloat16.
        """
        values = {"input": given}
        for layer, finished in zip(self.layers, self._finished, strict=True):
            name = layer["name"]
            inputs = [self._ordered(values[one], name, place) for place, one in enumerate(layer["from"])]
            found = self._apply_layer(layer, inputs, mixed=mixed)
            values[name] = _rounded(found) if mixed else found
            for one in finished:  # what no later layer needs
                del values[one]
        return _permuted(values[self.layers[-1]["name"]], self._orders.last)

    def named_weights(self) -> dict[str, npt.NDArray[Any]]:
        """The weights by the names of the description's tensors, in its shapes."""
        return {name: self.canonical(name, value.numpy()) for name, value in self.weights.items()}

    def native(self, name: str, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """An array of the description's tensor ``name``, (out, in, kernel, kernel) or (out,), as the variable holds it."""
        given, gives = self._orders.of_weights[name.rpartition(".")[0]]
        return value[gives][:, given].transpose(2, 3, 1, 0) if value.ndim == 4 else value[gives]

    def canonical(self, name: str, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The inverse of `native`."""
        given, gives = self._orders.of_weights[name.rpartition(".")[0]]
        if value.ndim == 1:
            return value[np.argsort(gives)]
        return np.ascontiguousarray(value.transpose(3, 2, 0, 1)[np.argsort(gives)][:, np.argsort(given)])

    def _ordered(self, value: tf.Tensor, name: str, place: int) -> tf.Tensor:
        return _permuted(value, self._orders.changes.get((name, place)))

    def _apply_layer(self, layer: Mapping[str, Any], given: list[tf.Tensor], *, mixed: bool) -> tf.Tensor:
        if layer["op"] == "add":
            return given[0] + given[1]
        if layer["op"] == "silu":
            return _silu(given[0])
        if layer["op"] == "fold":
            return tf.nn.space_to_depth(given[0], 2)
        if layer["op"] == "unfold":
            return tf.nn.depth_to_space(given[0], 2)
        weight, bias = (self.weights[f"{layer['name']}.{part}"] for part in ("weight", "bias"))
        padding = "SAME" if layer["kernel"] == 3 else "VALID"
        if mixed:
            given, weight, bias = [_rounded(given[0])], _rounded(weight), _rounded(bias)
        return tf.nn.bias_add(tf.nn.conv2d(given[0], weight, layer["stride"], padding), bias)


def build_network(description: Mapping[str, Any], weights: Mapping[str, npt.NDArray[Any]], dtype: tf.DType) -> Network:
    """The described network with the given weights, on the device that is set.

    Args:
        description: of the network.
        weights: exactly the description's tensors.
        dtype: real type of its weights.
    """
    network = Network(description, dtype)
    for name, value in network.weights.items():
        value.assign(network.native(name, np.asarray(weights[name])))
    return network


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
        return first

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


def _rounded(value: tf.Tensor) -> tf.Tensor:
    """Numbers of bfloat16 in single precision, so that sums lose nothing; the gradient is rounded alike."""
    return tf.cast(tf.cast(value, tf.bfloat16), tf.float32)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _silu(given: tf.Tensor) -> Any:  # noqa: ANN401 - a tensor and the function of its gradient
    """``x / (1 + exp(−x))``; the gradient takes its sigmoid from here instead of making it again."""
    share = tf.sigmoid(given)
    found = given * share

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return upstream * (share + found * (1 - share))

    return found, gradient
