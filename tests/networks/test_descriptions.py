"""``specs/network.md`` next to the core: the initial weights, to the last bit, and the shapes that the layers pass on."""

import re
import zlib
from pathlib import Path

import numpy as np
import pytest

from ptycho_core.networks import describe, initial_weights, tensor_shapes

SPEC = Path(__file__).parents[2] / "specs" / "network.md"
MODEL = {
    "network": "compact", "network_depth": 2,
    "gridsize": 2, "network_width": 4, "update_steps": None, "output_form": "real-imaginary", "amplitude_activation": "softplus",
}  # fmt: skip


def test_initial_weights_of_the_worked_example_are_those_of_the_code():
    rows = re.findall(r"^\| `(\w+\.weight)` \| ([\d, ]+) \| (\S+) \|$", SPEC.read_text("utf-8"), flags=re.MULTILINE)
    assert len(rows) == 6
    weights = initial_weights(describe(32, MODEL), 7)
    for name, index, value in rows:
        assert float(f"{weights[name][tuple(int(i) for i in index.split(','))]:.9g}") == float(value)


@pytest.mark.parametrize("gridsize", [1, 3])
def test_initial_weights_are_drawn_as_the_specification_says(gridsize):
    network = describe(64, MODEL | {"gridsize": gridsize})
    gains = {layer["name"]: layer["gain"] for layer in network["layers"] if layer["op"] == "convolution"}
    weights = initial_weights(network, 2**40 + 3)
    assert list(weights) == [f"{name}.{part}" for name in gains for part in ("weight", "bias")]
    for name, gain in gains.items():
        shape = tensor_shapes(network)[f"{name}.weight"]
        normal = np.random.default_rng([2**40 + 3, zlib.crc32(name.encode("ascii"))]).standard_normal(shape)
        wanted = (gain / np.sqrt(shape[1] * shape[2] * shape[3]) * normal).astype(np.float32)
        assert np.array_equal(weights[f"{name}.weight"], wanted)
        assert weights[f"{name}.bias"].dtype == np.float32
        assert not weights[f"{name}.bias"].any()


def test_a_gain_that_is_absent_is_one():
    network = describe(32, MODEL)
    enter = next(layer for layer in network["layers"] if layer["name"] == "enter")
    before = initial_weights(network, 5)["enter.weight"]
    assert enter.pop("gain") == 1.0
    assert np.array_equal(initial_weights(network, 5)["enter.weight"], before)


@pytest.mark.parametrize("size", [32, 48, 256])
@pytest.mark.parametrize(
    "asked",
    [{"gridsize": 1}, {"gridsize": 2}, {"gridsize": 3}, {"network": "deep"}, {"network": "deep", "network_depth": 3}],
)
def test_every_layer_fits_those_that_take_its_result(asked, size):
    network = describe(size, MODEL | asked)
    shapes = {"input": (network["input_channels"], size)}
    for layer in network["layers"]:
        given = [shapes[name] for name in layer["from"]]
        channels, side = given[0]
        assert given == [given[0]] * len(given)
        if layer["op"] == "convolution":
            assert tensor_shapes(network)[f"{layer['name']}.weight"][:2] == (layer["channels"], channels)
            assert side % layer["stride"] == 0
            shapes[layer["name"]] = (layer["channels"], side // layer["stride"])
        elif layer["op"] == "fold":
            assert side % 2 == 0
            shapes[layer["name"]] = (4 * channels, side // 2)
        elif layer["op"] == "unfold":
            assert channels % 4 == 0
            shapes[layer["name"]] = (channels // 4, 2 * side)
        else:
            shapes[layer["name"]] = given[0]
    assert shapes[network["layers"][-1]["name"]] == (network["output_channels"], size)
