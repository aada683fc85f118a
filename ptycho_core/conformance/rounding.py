"""What rounding does to a batch in any implementation: no limit may be tighter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.conformance.limits import Limits
from ptycho_core.conformance.parity import differences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ptycho_core.contract import EvaluateResult
    from ptycho_core.model import Model

__all__ = ["ROUNDINGS", "limits_of", "nudged"]

ROUNDINGS: Final = 10.0
"""A computation rounds after every operation, not once: so much farther than one rounding moves the answer it may end."""


def nudged(model: Model, seed: int) -> Model:
    """The model with every number of its weights and probes moved to the next that single precision has, up or down by chance.

    Zeros stay: they are exact.
    """
    random = np.random.default_rng(seed)
    physics = dict(model.physics)
    physics["probe"] = _moved(physics["probe"].view(np.float32), random).view(np.complex64)
    weights = {name: _moved(value, random) for name, value in model.weights.items()}
    return replace(model, weights=weights, physics=physics, training=None)


def limits_of(limits: Limits, precision: str, answer: EvaluateResult, moved: Sequence[EvaluateResult]) -> Limits:
    """Limits for one batch: those given, or ten times what one rounding of the model's numbers does, where that is more.

    Of each kind (patches and intensities, loss terms, gradients) the quantity that moves farthest counts. A rounding in double
    precision moves it less by the ratio of the two: such small changes are linear.

    Args:
        limits: for batches in general.
        precision: ``float64`` or ``float32``, of the roundings.
        answer: of the reference for a model.
        moved: of the reference for the same model, `nudged` in several ways.
    """
    times = ROUNDINGS * float(np.finfo(precision).eps / np.finfo(np.float32).eps)
    rows = [one for other in moved for one in differences(other, answer, limits)]

    def most(*quantities: str) -> float:
        values = [one.value for one in rows if one.quantity in quantities and np.isfinite(one.value)]
        return times * max(values, default=0.0)

    return Limits(
        forward=max(limits.forward, most("patches", "intensities")),
        loss=max(limits.loss, most("loss")),
        gradient=max(limits.gradient, most("gradient")),
    )


def _moved(values: NDArray[Any], random: np.random.Generator) -> NDArray[np.float32]:
    up = random.random(values.shape) < 0.5
    towards = np.where(up, np.float32(np.inf), np.float32(-np.inf)).astype(np.float32)
    found: NDArray[np.float32] = np.where(values == 0, values, np.nextafter(values, towards)).astype(np.float32)
    return np.where(np.isfinite(found), found, values)
