"""The physics in NumPy, double precision: the reference that each backend is held against.

Conventions and formulas are in ``specs/forward-model.md``.
"""

from __future__ import annotations

from ptycho_core.physics.evaluation import check_batch, evaluate
from ptycho_core.physics.forward import check_model, intensities
from ptycho_core.physics.losses import DATA_TERMS, INTENSITY_FLOOR, TERMS, VARIATION_ROUNDING, data_derivative, data_terms
from ptycho_core.physics.propagation import shift

__all__ = [
    "DATA_TERMS",
    "INTENSITY_FLOOR",
    "TERMS",
    "VARIATION_ROUNDING",
    "check_batch",
    "check_model",
    "data_derivative",
    "data_terms",
    "evaluate",
    "intensities",
    "shift",
]
