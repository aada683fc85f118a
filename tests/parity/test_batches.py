"""Patches, modelled patterns, loss terms and gradients of the same batch: each backend against NumPy, and against each other."""

import numpy as np
import pytest

from ptycho_core.conformance.limits import LIMITS, LIMITS_ON_CUDA
from ptycho_core.conformance.parity import relative_distance as distance
from ptycho_core.conformance.suite.every_operation import EveryOperation

PAIRS = [("torch", "reference"), ("tensorflow", "reference"), ("torch", "tensorflow")]

LEARNS = {"train_probe": True, "train_scale": True}
CASES = {
    "one frame, merged": {"gridsize": 1, "merge": "batch", "output_form": "real-imaginary"},
    "one frame, masked, two modes": {"gridsize": 1, "merge": "none", "modes": 2, "masked": True} | LEARNS,
    "four frames": {"gridsize": 2, "merge": "batch", "modes": 2, "masked": True} | LEARNS,
    "nine frames": {"gridsize": 3, "merge": "group", "modes": 3, "output_form": "real-imaginary"} | LEARNS,
    "a deep network": {"gridsize": 1, "merge": "none", "network": "deep", "network_depth": 1, "probe_scale": 1.2},
    "supervised": {"gridsize": 2, "merge": "group", "model_type": "supervised", "amplitude_weight": 0.0, "nll_weight": 0.0},
}
LONG = {
    "every operation": {"gridsize": 1, "merge": "batch", "architecture": EveryOperation()} | LEARNS,
    "one frame, three modes": {"gridsize": 1, "merge": "batch", "modes": 3, "masked": True} | LEARNS,
    "four frames, group": {"gridsize": 2, "merge": "group", "output_form": "amplitude-phase", "amplitude_activation": "sigmoid"},
    "four frames, none": {"gridsize": 2, "merge": "none", "output_form": "amplitude-phase", "amplitude_activation": "none"},
    "softplus": {"gridsize": 2, "merge": "batch", "output_form": "amplitude-phase", "amplitude_activation": "softplus"} | LEARNS,
    "nine frames, batch": {"gridsize": 3, "merge": "batch", "masked": True, "output_form": "amplitude-phase"},
    "nine frames, none": {"gridsize": 3, "merge": "none", "modes": 2},
    "no update step": {"gridsize": 2, "update_steps": 0},
    "supervised, one frame": {"gridsize": 1, "merge": "none", "model_type": "supervised", "modes": 2} | LEARNS,
    "supervised, nine frames": {"gridsize": 3, "merge": "batch", "model_type": "supervised"},
}
TERMS = ("nll", "amplitude", "mae", "tv", "realspace")


def alone(term):
    """One loss term; only those that compare patterns tell anything of the probe."""
    weights = {f"{name}_weight": float(name == term) for name in TERMS}
    return {"gridsize": 1, "merge": "batch"} | weights | (LEARNS if term in ("nll", "amplitude", "mae") else {})


LONG |= {f"{term} alone": alone(term) for term in TERMS}
EVERY = [
    *(pytest.param(name, settings, id=name) for name, settings in CASES.items()),
    *(pytest.param(name, settings, id=name, marks=pytest.mark.long) for name, settings in LONG.items()),
]


def groups_of(gridsize, number):
    random = np.random.default_rng(8)
    return np.stack([random.permutation(30)[: gridsize**2] for _ in range(number)])


@pytest.mark.parametrize("number", [3, pytest.param(1, marks=pytest.mark.long)], ids=["a full batch", "an odd last one"])
@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize(("name", "settings"), EVERY)
def test_a_batch_is_the_same_for_both(name, settings, pair, precision, number, training_job, evaluated, measured, accelerator):
    job = training_job(**settings)
    groups = groups_of(settings["gridsize"], number)
    # The reference computes in double precision only: it is the truth for both.
    found, wanted = (
        evaluated(one, job, groups, "float64" if one == "reference" else precision, "cpu" if one == "reference" else accelerator)
        for one in pair
    )
    forward, loss, gradient = (LIMITS if accelerator == "cpu" else LIMITS_ON_CUDA)[precision]
    what = f"{'-'.join(pair)}, {name}, {number} groups"
    both = {"patches": (found.patches, wanted.patches), "intensities": (found.intensities, wanted.intensities)}
    measured("forward", precision, forward, {key: distance(*value) for key, value in both.items()}, what)
    assert found.losses.keys() == wanted.losses.keys()
    assert min(map(abs, wanted.losses.values())) > 1e-4
    measured(
        "loss terms", precision, loss, {key: abs(found.losses[key] / value - 1) for key, value in wanted.losses.items()}, what
    )
    assert found.gradients.keys() == wanted.gradients.keys()
    assert all(np.linalg.norm(value) > 0 for value in wanted.gradients.values())
    gradients = {key: distance(found.gradients[key], value) for key, value in wanted.gradients.items()}
    measured("gradients", precision, gradient, gradients, what)
