"""The scale of smooth phase: its own adjoint, undone by its inverse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ptycho_core.engine.smooth_phase import LARGEST, SmoothPhase


def test_smooth_phase_has_a_scale_that_is_undone(engine: Any) -> None:
    xp, random = engine.operations("float64"), np.random.default_rng(0)
    field = random.normal(size=(24, 30)) + 1j * random.normal(size=(24, 30))
    smooth, unit = SmoothPhase(xp, engine.tensor(field)), field / abs(field)
    one, other = random.normal(size=(2, 24, 30)) + 1j * random.normal(size=(2, 24, 30))

    def of(values: np.ndarray) -> np.ndarray:
        return np.asarray(smooth.of(engine.tensor(values)))

    np.testing.assert_allclose(np.asarray(smooth.inverse(smooth.of(engine.tensor(one)))), one, atol=1e-12)
    assert np.vdot(other, of(one)).real == pytest.approx(np.vdot(of(other), one).real)
    np.testing.assert_allclose(of(0.1j * unit), LARGEST * 0.1j * unit, atol=1e-12)  # a phase as smooth as can be
    np.testing.assert_allclose(of(0.1 * unit), 0.1 * unit, atol=1e-12)  # and a modulus
