"""The verb ``evaluate``: forward model, loss terms and gradients of one batch through a backend."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptycho_core.contract import EvaluateBatchJob, EvaluateJob, EvaluateResult, Value

__all__ = ["evaluate"]


def evaluate(job: EvaluateJob | EvaluateBatchJob, **execution: Value) -> EvaluateResult:
    """Evaluate one batch.

    Args:
        job: object, probe, positions and counts (``ptycho_core.contract.EvaluateJob``), or a batch of a training with its model
            file (``ptycho_core.contract.EvaluateBatchJob``).
        execution: execution settings, such as ``backend="torch"``, ``precision="float64"``, ``accelerator="cpu"``.

    Returns:
        Modelled intensities, the value of each loss term and, if wanted, the gradients, as NumPy.

    Raises:
        SettingsError: for an unknown or impossible setting.
        BackendUnusableError: if the backend cannot be used.
        CapabilityError: if it does not evaluate, or not so.
    """
    from ptycho_core.settings.planning import plan_verb

    backend, plan = plan_verb("evaluate", dict(execution), os.environ)
    return backend.evaluate(job, plan)
