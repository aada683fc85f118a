"""The physics in NumPy, double precision: the reference that each backend is held against.

Conventions and formulas are in ``specs/forward-model.md``.
"""

from __future__ import annotations

from ptycho_core.physics.evaluation import check_job, evaluate
from ptycho_core.physics.forward import check_model, intensities
from ptycho_core.physics.geometry import object_pixel_size, photon_energy, wavelength
from ptycho_core.physics.gradients import Gradients, model_gradients
from ptycho_core.physics.losses import (
    DATA_TERMS,
    INTENSITY_FLOOR,
    TERMS,
    VARIATION_ROUNDING,
    data_derivative,
    data_terms,
    total_variation,
    total_variation_gradient,
)
from ptycho_core.physics.noise import poisson
from ptycho_core.physics.propagation import backpropagate, propagate, shift
from ptycho_core.physics.windows import add_windows, cut_windows, split_positions

__all__ = [
    "DATA_TERMS",
    "INTENSITY_FLOOR",
    "TERMS",
    "VARIATION_ROUNDING",
    "Gradients",
    "add_windows",
    "backpropagate",
    "check_job",
    "check_model",
    "cut_windows",
    "data_derivative",
    "data_terms",
    "evaluate",
    "intensities",
    "model_gradients",
    "object_pixel_size",
    "photon_energy",
    "poisson",
    "propagate",
    "shift",
    "split_positions",
    "total_variation",
    "total_variation_gradient",
    "wavelength",
]
