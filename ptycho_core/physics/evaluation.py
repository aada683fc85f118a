"""The reference answer to the hook ``ptycho_evaluate``: forward model, loss terms and gradients in NumPy, float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from ptycho_core.contract import EvaluateJob, EvaluateResult
from ptycho_core.physics.forward import intensities
from ptycho_core.physics.gradients import model_gradients
from ptycho_core.physics.losses import (
    INTENSITY_FLOOR,
    bounded_above,
    check_counts,
    check_weights,
    data_derivative,
    data_terms,
    total_variation,
    total_variation_gradient,
)
from ptycho_core.physics.near_field import way_of

__all__ = ["check_batch", "evaluate"]


def check_batch(job: EvaluateJob) -> None:
    """Check what `intensities` does not: loss weights, counts and mask.

    Raises:
        DataError: if counts or mask do not fit the positions and the probe, or hold what cannot be counts.
        SettingsError: if a loss term is unknown or its weight is not a finite number.
    """
    check_weights(job.weights)
    mask = None if job.mask is None else np.asarray(job.mask)
    check_counts(np.asarray(job.counts), mask, len(job.positions), job.probe.shape[-1])


def evaluate(job: EvaluateJob) -> EvaluateResult:
    """Evaluate one batch in double precision.

    All four loss terms are given, weighted or not. Gradients, if wanted, are those of the weighted sum, with respect to
    ``object``, ``probe``, ``positions`` and, if the job has them, ``background`` and ``flux``.

    Raises:
        DataError: if a shape does not fit, a number is not finite or negative where it counts, or a window leaves the object.
        SettingsError: if a loss term is unknown or its weight is not a finite number.
    """
    way = way_of(job.propagation)
    modelled = intensities(job.object, job.probe, job.positions, job.background, flux=job.flux, way=way)
    check_batch(job)
    transmission = np.asarray(job.object, dtype=np.complex128)
    counts = np.asarray(job.counts, dtype=np.float64)
    compared = modelled if job.saturation is None else bounded_above(modelled, counts, job.saturation, INTENSITY_FLOOR)
    losses = {**data_terms(compared, counts, job.mask), "tv": total_variation(transmission)}
    if not job.gradients:
        return EvaluateResult(modelled, losses, {})
    probe = np.asarray(job.probe, dtype=np.complex128)
    positions = np.asarray(job.positions, dtype=np.float64)
    slopes = data_derivative(compared, counts, job.mask, job.weights)
    flux = None if job.flux is None else np.asarray(job.flux, dtype=np.float64)
    derivative = np.where(compared == modelled, slopes, 0.0)  # beyond a saturated count there is no slope
    parts = model_gradients(transmission, probe, positions, derivative, flux, way=way)
    gradients: dict[str, Any] = {
        "object": parts.object + job.weights.get("tv", 0.0) * total_variation_gradient(transmission),
        "probe": parts.probe,
        "positions": parts.positions,
    }
    if job.background is not None:
        gradients["background"] = parts.background
    if flux is not None:
        gradients["flux"] = parts.flux
    return EvaluateResult(modelled, losses, gradients)
