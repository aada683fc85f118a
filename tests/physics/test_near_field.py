"""The near field: a Gaussian beam as the paraxial equation has it, and an adjoint that is one."""

import numpy as np
import pytest

from ptycho_core.physics.near_field import PROPAGATORS, Propagation, near_field, near_field_adjoint
from ptycho_core.scan.scan import Geometry


@pytest.mark.parametrize("propagator", PROPAGATORS)
def test_a_gaussian_beam_widens_as_its_formula_says(propagator: str) -> None:
    """``w(z) = w₀ √(1 + (λz / πw₀²)²)``, and the amplitude on the axis falls with it (Goodman, problem 4-18)."""
    axis, waist, distance = np.arange(128) - 64.0, 6.0, 150.0
    squared = axis[:, None] ** 2 + axis**2
    found = near_field(np.exp(-squared / waist**2), Propagation(propagator, distance, 1e-4))
    spread = distance / (np.pi * waist**2)
    expected = np.exp(-squared / (waist**2 * (1 + spread**2))) / np.sqrt(1 + spread**2)
    np.testing.assert_allclose(np.abs(found), expected, atol=2e-7)
    assert np.angle(found[64, 64]) == pytest.approx(-np.arctan(spread), abs=1e-6)  # Gouy's phase


@pytest.mark.parametrize("propagator", PROPAGATORS)
@pytest.mark.parametrize("wavelength", [1e-4, 3.0])
def test_the_adjoint_is_one(propagator: str, wavelength: float) -> None:
    random, way = np.random.default_rng(0), Propagation(propagator, 20.0, wavelength)
    one, other = random.normal(size=(2, 16, 16)) + 1j * random.normal(size=(2, 16, 16))
    left, right = np.vdot(other, near_field(one, way)), np.vdot(near_field_adjoint(other, way), one)
    assert abs(left - right) < 1e-12 * abs(left)


def test_a_divergent_beam_is_a_parallel_one_of_another_distance() -> None:
    """Ten times magnified, by 0.1 m before and 0.9 m behind the sample: pixels a tenth as wide, 0.09 m in effect."""
    divergent = Geometry(17e3, 0.9, 1e-6, regime="near", focus_to_sample_m=0.1)
    parallel = Geometry(17e3, 0.09, 1e-7, regime="near")
    assert divergent.magnification == pytest.approx(10)
    assert divergent.object_pixel_m(64) == pytest.approx(1e-7) == parallel.object_pixel_m(128)
    assert divergent.propagation is not None
    assert parallel.propagation is not None
    assert divergent.propagation[1:] == pytest.approx(parallel.propagation[1:])
    assert Geometry(17e3, 0.9, 1e-6).propagation is None
