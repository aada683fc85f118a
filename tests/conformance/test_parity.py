"""Differences are measured so that nothing wrong can pass, and the limits are those of the specification."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ptycho_core.conformance.limits import LIMITS, Limits
from ptycho_core.conformance.parity import Difference, differences, relative_distance
from ptycho_core.conformance.rounding import ROUNDINGS, limits_of, nudged
from ptycho_core.contract import EvaluateResult
from ptycho_core.model import Model

ANSWER = EvaluateResult(
    intensities=np.full((2, 4, 4), 3.0),
    losses={"amplitude": 2.0, "tv": 0.5},
    gradients={"network.a": np.ones((2, 3)), "physics.probe": np.full((1, 1, 4, 4), 1j)},
    patches=np.full((2, 4, 4), 1 + 1j),
)


def test_the_limits_are_those_of_the_specification():
    text = Path(__file__).parents[2].joinpath("specs/forward-model.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (intensities|each loss term|each gradient), relative[^|]*\| (\S+) \| (\S+) \|$", text, re.MULTILINE)
    columns = {"intensities": 0, "each loss term": 1, "each gradient": 2}
    assert [columns[row[0]] for row in rows] == [0, 1, 2]
    assert {
        "float64": Limits(*(float(row[1]) for row in rows)),
        "float32": Limits(*(float(row[2]) for row in rows)),
    } == LIMITS


def test_a_distance_is_relative_and_infinite_where_there_is_none():
    assert relative_distance([3.0, 4.5], [3.0, 4.0]) == pytest.approx(0.1)
    assert relative_distance(1 + 1j, 1.0) == pytest.approx(1)
    assert relative_distance(np.zeros(3), np.zeros(3)) == 0
    for found, wanted in [(None, 1.0), (1.0, None), ([1.0], [1.0, 1.0]), (math.nan, 1.0), (1.0, math.nan), (1e-300, 0.0)]:
        assert relative_distance(found, wanted) == math.inf
    assert not Difference("loss", "tv", math.nan, 1.0).within


def test_equal_answers_differ_by_nothing_and_every_quantity_is_named():
    rows = differences(ANSWER, ANSWER, Limits(1, 2, 3))
    assert [(one.quantity, one.name, one.value, one.limit) for one in rows] == [
        ("patches", "", 0, 1), ("intensities", "", 0, 1), ("loss", "amplitude", 0, 2), ("loss", "tv", 0, 2),
        ("gradient", "network.a", 0, 3), ("gradient", "physics.probe", 0, 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({"patches": None}, ("patches", "")),
        ({"patches": ANSWER.patches.conj()}, ("patches", "")),
        ({"intensities": ANSWER.intensities * (1 + 1e-9)}, ("intensities", "")),
        ({"intensities": ANSWER.intensities[:1]}, ("intensities", "")),
        ({"losses": {"amplitude": 2.0, "tv": 0.5000001}}, ("loss", "tv")),
        ({"losses": {"amplitude": 2.0}}, ("loss", "tv")),
        ({"losses": {**ANSWER.losses, "mae": 0.0}}, ("loss", "mae")),
        ({"gradients": {**ANSWER.gradients, "network.a": np.ones((3, 2))}}, ("gradient", "network.a")),
        ({"gradients": {**ANSWER.gradients, "physics.probe": np.full((1, 1, 4, 4), -1j)}}, ("gradient", "physics.probe")),
        ({"gradients": {"network.a": np.ones((2, 3))}}, ("gradient", "physics.probe")),
        ({"gradients": {**ANSWER.gradients, "network.b": np.ones(1)}}, ("gradient", "network.b")),
    ],
)
def test_whatever_is_wrong_or_missing_is_beyond_its_limit_and_named(change, broken):
    rows = differences(replace(ANSWER, **change), ANSWER, LIMITS["float64"])
    assert [(one.quantity, one.name) for one in rows if not one.within] == [broken]


def test_a_nudge_moves_every_number_by_one_place_and_keeps_zeros():
    random = np.random.default_rng(0)
    weights = {"a.weight": random.standard_normal((4, 5)).astype(np.float32), "a.bias": np.zeros(4, np.float32)}
    probe = (random.standard_normal((1, 1, 8, 8)) + 0j).astype(np.complex64)
    moved = nudged(Model({}, weights, {"probe": probe, "log_scale": np.zeros(1, np.float32)}, {}), 1)
    apart = np.abs(moved.weights["a.weight"] - weights["a.weight"])
    assert np.array_equal(apart, np.where(apart > np.spacing(np.abs(weights["a.weight"])) * 0.4, apart, -1))
    assert (apart <= np.spacing(np.abs(weights["a.weight"]))).all()
    assert not moved.weights["a.bias"].any()
    assert (moved.physics["probe"].real != probe.real).all()
    assert np.array_equal(moved.physics["probe"].imag, probe.imag)
    assert moved.weights["a.weight"].dtype == np.float32
    assert moved.physics["probe"].dtype == np.complex64


def test_limits_rise_by_what_rounding_moves_and_by_kind():
    moved = replace(ANSWER, intensities=ANSWER.intensities * (1 + 1e-4), losses={"amplitude": 2.0, "tv": 0.5 * (1 + 3e-6)})
    found = limits_of(LIMITS["float32"], "float32", ANSWER, [ANSWER, moved])
    assert found.forward == pytest.approx(ROUNDINGS * 1e-4)
    assert found.loss == pytest.approx(ROUNDINGS * 3e-6)
    assert found.gradient == LIMITS["float32"].gradient
    assert limits_of(LIMITS["float32"], "float32", ANSWER, [ANSWER]) == LIMITS["float32"]
    found = limits_of(LIMITS["float64"], "float64", ANSWER, [ANSWER, moved])
    assert found.forward == pytest.approx(ROUNDINGS * 1e-4 * 2**-29)
    assert (found.loss, found.gradient) == (LIMITS["float64"].loss, LIMITS["float64"].gradient)
