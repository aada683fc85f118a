"""TensorFlow's order of channels next to the network of the reference in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from ptycho_backend_tensorflow.arrays import tensorflow_arrays
from ptycho_core.conformance.reference.network import channels
from ptycho_core.engine.network import Network
from ptycho_core.networks import check_description, describe, initial_weights, tensor_shapes

N = 32


def distance(found, wanted):
    return float(np.linalg.norm(np.asarray(found) - wanted) / np.linalg.norm(wanted))


def settings(gridsize=2, form="real-imaginary"):
    return {
        "network": "compact", "network_depth": 2,
        "gridsize": gridsize, "network_width": 4, "update_steps": 2, "output_form": form, "amplitude_activation": "softplus",
    }  # fmt: skip


def weights_of(description):
    """Weights that are nowhere zero."""
    random = np.random.default_rng(3)
    return {
        name: (value + random.normal(0, 0.04, value.shape)).astype(np.float32)
        for name, value in initial_weights(description, 2).items()
    }


def in_double(weights):
    return {name: value.astype(float) for name, value in weights.items()}


# --- the order of channels ------------------------------------------------------------------------------------------------------


def layer(name, op, *given, **more):
    return {"name": name, "op": op, "from": list(given), **more}


def convolution(name, given, channels, kernel=3, stride=1):
    return layer(name, "convolution", given, channels=channels, kernel=kernel, stride=stride)


CROSSED = [
    layer("fold", "fold", "input"),
    layer("again", "fold", "fold"),
    convolution("a", "again", 80, 1),
    layer("sum", "add", "a", "again"),
    layer("back", "add", "again", "a"),
    layer("both", "add", "sum", "back"),
    layer("risen", "unfold", "both"),
    layer("bright", "silu", "risen"),
    layer("more", "add", "fold", "bright"),
    layer("wide", "unfold", "more"),
    convolution("b", "wide", 8),
    layer("folded", "fold", "b"),
    convolution("c", "folded", 8, 1),
    layer("end", "unfold", "c"),
]
"""Folded and other channels meet in sums, and what a convolution gives is taken both by a sum and by an unfolding."""


@pytest.mark.parametrize("which", ["crossed", "ends folded", "compact"])
def test_any_description_is_built_whatever_the_order_of_its_channels(which):
    description = describe(N, settings(gridsize=1))
    if which != "compact":
        description |= {"layers": CROSSED, "input_channels": 5}
    if which == "ends folded":
        last = [layer("once", "fold", "b"), layer("down", "unfold", "once"), convolution("e", "down", 2, 1)]
        description |= {"layers": [*CROSSED[:11], *last]}
    check_description(description)
    weights, given = weights_of(description), np.random.default_rng(1).standard_normal((2, 5, 16, 16))
    xp = tensorflow_arrays(tf.float64)
    layout = xp.layout(description)
    native = {name: layout.native(name, weights[name]) for name in tensor_shapes(description)}
    found = Network(xp, description, layout, mixed=False)([*map(xp.from_numpy, native.values())], xp.from_numpy(given))
    assert distance(xp.to_numpy(found), channels(description, in_double(weights), given)) < 1e-13
    assert all(np.array_equal(layout.canonical(name, native[name]), value) for name, value in weights.items())
