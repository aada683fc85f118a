"""The verb ``evaluate``: forward model, loss terms and gradients of one batch through a backend."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptycho_core.contract import BatchRecipe, EvaluateBatchJob, EvaluateJob, EvaluateResult, Value

__all__ = ["evaluate", "opened"]


def opened(recipe: BatchRecipe) -> EvaluateBatchJob:
    """The job of a backend, from the files of a recipe.

    Raises:
        DataError: a scan or the model file cannot be used.
    """
    from ptycho_core.contract import EvaluateBatchJob
    from ptycho_core.formats.opening import open_scan
    from ptycho_core.model import load_model
    from ptycho_core.scan.selection import with_even_dose, with_saturation, without_background
    from ptycho_core.settings.components import losses_of
    from ptycho_core.training.data import training_data

    settings = recipe.settings
    level = float(str(settings["training"]["saturation"] or 0))
    opened = [[open_scan(path, settings["data"]) for path in paths] for paths in (recipe.scans, recipe.validation)]
    scans, validation = ([with_even_dose(without_background(with_saturation(scan, level))) for scan in some] for some in opened)
    data, model, losses = training_data(scans, settings, validation), load_model(recipe.model_path), losses_of(settings)
    return EvaluateBatchJob(data, model, settings, recipe.scan, recipe.groups, recipe.gradients, losses)


def evaluate(job: EvaluateJob | EvaluateBatchJob | BatchRecipe, **execution: Value) -> EvaluateResult:
    """Evaluate one batch.

    Args:
        job: object, probe, positions and counts (``ptycho_core.contract.EvaluateJob``); or a batch of a training with its model
            (``ptycho_core.contract.EvaluateBatchJob``), which may also be given as files (``ptycho_core.contract.BatchRecipe``).
        execution: execution settings, such as ``backend="torch"``, ``precision="float64"``, ``accelerator="cpu"``.

    Returns:
        Modelled intensities, the value of each loss term and, if wanted, the gradients, as NumPy.

    Raises:
        SettingsError: for an unknown or impossible setting.
        BackendUnusableError: if the backend cannot be used.
        CapabilityError: if it does not evaluate, or not so.
        DataError: if the parts of the job do not fit each other, or a file cannot be used.
    """
    from ptycho_core.contract import BatchRecipe
    from ptycho_core.settings.planning import plan_verb

    backend, plan = plan_verb("evaluate", dict(execution), os.environ)
    return backend.evaluate(opened(job) if isinstance(job, BatchRecipe) else job, plan)
