"""A network is described as data: what holds together is built, what does not is refused by name."""

import copy

import numpy as np
import pytest

from ptycho_core.errors import DataError
from ptycho_core.networks import check_description, describe, initial_weights, tensor_shapes

MODEL = {
    "network": "compact", "network_depth": 2,
    "gridsize": 2, "network_width": 8, "update_steps": None, "output_form": "real-imaginary", "amplitude_activation": "softplus",
}  # fmt: skip


def described(**changed):
    return describe(64, MODEL | changed)


@pytest.mark.parametrize("gridsize", [1, 2, 3])
def test_channels_width_and_steps_follow_the_group(gridsize):
    network = described(gridsize=gridsize)
    assert network["input_channels"] == 5 * gridsize**2
    assert network["output_channels"] == 2 * gridsize**2
    assert network["estimate"]["steps"] == 4 * gridsize**2
    assert tensor_shapes(network)["enter.weight"] == (8 * gridsize, 20 * gridsize**2, 3, 3)
    check_description(network)


def test_initial_weights_fit_and_come_from_the_seed_alone():
    network = described()
    first, again, other = (initial_weights(network, seed) for seed in (0, 0, 1))
    assert {name: value.shape for name, value in first.items()} == tensor_shapes(network)
    assert all(value.dtype == np.float32 for value in first.values())
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["enter.weight"], other["enter.weight"])
    assert not first["exit.weight"].any()
    deviation = first["quarter_up_a.weight"].std() * np.sqrt(first["quarter_up_a.weight"][0].size)
    assert deviation == pytest.approx(1, abs=0.02)


def test_a_tensor_keeps_its_numbers_whatever_stands_beside_it():
    assert np.array_equal(
        initial_weights(described(output_form="amplitude-phase"), 3)["eighth_a.weight"],
        initial_weights(described(update_steps=1), 3)["eighth_a.weight"],
    )


def changed(network, layer, **fields):
    network = copy.deepcopy(network)
    place = next(index for index, one in enumerate(network["layers"]) if one["name"] == layer)
    network["layers"][place] |= fields
    return network


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"op": "softmax"}, "softmax"),
        ({"from": ["exit"]}, "does not come before"),
        ({"from": [[]]}, "does not come before"),
        ({"from": []}, "list 'from' of 1"),
        ({"kernel": 5}, "kernel 5"),
        ({"stride": 2}, "stride 2"),
        ({"channels": 0}, "channels"),
        ({"channels": True}, "channels"),
        ({"gain": -1}, "gain"),
        ({"name": "fold"}, "two layers"),
        ({"name": "../enter"}, "proper name"),
    ],
)
def test_what_cannot_be_built_is_refused_by_layer(fields, told):
    with pytest.raises(DataError, match=told):
        check_description(changed(described(), "enter", **fields))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("layers", []), ("layers", None), ("version", 2), ("input_channels", 0), ("output_channels", 7), ("size", None),
        ("estimate", {"steps": -1, "alpha": 0.1, "momentum": 0}), ("estimate", {"steps": 1, "alpha": 0, "momentum": 0}),
        ("estimate", {"steps": 1, "alpha": 0.1, "momentum": 1}), ("estimate", None),
        ("output", {"form": "polar", "activation": "none"}), ("output", {"form": "real-imaginary", "activation": "tanh"}),
    ],
)  # fmt: skip
def test_a_description_with_a_wrong_field_is_refused(field, value):
    with pytest.raises(DataError):
        check_description(described() | {field: value})


def test_sizes_that_differ_cannot_be_added():
    with pytest.raises(DataError, match="adds what differs"):
        check_description(changed(described(), "join_half", **{"from": ["half_down", "from_quarter"]}))
