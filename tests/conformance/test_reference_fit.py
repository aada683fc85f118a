"""The fit of the reference: its own gradients against differences, and that it lowers what it is to lower."""

import itertools

import numpy as np
import pytest

import ptycho_core
from ptycho_core.conformance.reference.losses import variation
from ptycho_core.conformance.suite.inputs import known_scan
from ptycho_core.errors import CapabilityError


def length(thing):
    """The total variation."""
    return float(variation(thing, 0.1)[0].sum())


def test_the_slope_of_the_total_variation_is_its_difference():
    random = np.random.default_rng(2)
    thing, direction = (random.normal(size=(7, 9)) + 1j * random.normal(size=(7, 9)) for _ in range(2))
    _, slope = variation(thing, 0.1)
    step = 1e-6
    difference = (length(thing + step * direction) - length(thing - step * direction)) / (2 * step)
    assert float((slope.conj() * direction).real.sum()) == pytest.approx(difference, rel=1e-7)
    assert length(np.ones((4, 5), dtype=complex)) == 0


def test_the_joint_fit_never_raises_its_loss_and_a_variation_makes_the_object_smoother(tmp_path):
    scan = known_scan(tmp_path / "scan.npz")
    asked = {"backend": "reference", "epochs": 2, "iterations": 6, "progress": False}
    rough, smooth = (ptycho_core.reconstruct(scan, total_variation=one, **asked) for one in (0.0, 50.0))
    losses = [row["loss"] for row in rough.history if row["stage"] == "joint"]
    assert len(losses) == 6
    assert all(later <= earlier for earlier, later in itertools.pairwise(losses))
    assert length(smooth.object.astype(complex)) < length(rough.object.astype(complex))


def test_what_it_does_not_do_is_refused(tmp_path):
    scan = known_scan(tmp_path / "scan.npz")
    for asked in ({"coarse_start": True}, {"memory_gib": 1.0}, {"refine_positions": True}, {"background": "pixel"}):
        with pytest.raises(CapabilityError):
            ptycho_core.reconstruct(scan, backend="reference", progress=False, **asked)
