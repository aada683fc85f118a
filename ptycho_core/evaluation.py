"""The verb ``evaluate``: forward model, loss terms and gradients of one batch through a backend."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from ptycho_core.contract import EvaluateBatchJob, EvaluateJob, EvaluateResult, Value

__all__ = ["BatchRecipe", "evaluate"]


@dataclass(frozen=True, eq=False)
class BatchRecipe:
    """A batch of a training as files, so that it can go to another process, which opens them.

    Attributes:
        scans: files of the scans to learn from.
        model_path: a model file.
        settings: the groups *data*, *model*, *training* and *execution* by name.
        scan: place of the scan among those to learn from, then those of the validation.
        groups: (group, C), int64, frames of that scan; the first of a group is its seed frame.
        validation: files of scans that only validate.
        gradients: whether gradients of the weighted sum are wanted.
    """

    scans: tuple[Path, ...]
    model_path: Path
    settings: Mapping[str, Mapping[str, Value]]
    scan: int
    groups: NDArray[np.int64]
    validation: tuple[Path, ...] = ()
    gradients: bool = True

    def opened(self) -> EvaluateBatchJob:
        """The job of a backend.

        Raises:
            DataError: a scan or the model file cannot be used.
        """
        from ptycho_core.contract import EvaluateBatchJob
        from ptycho_core.model import load_model
        from ptycho_core.scan.opening import open_scan
        from ptycho_core.settings.training import resolved_weights
        from ptycho_core.training.data import training_data

        scans, validation = (
            [open_scan(path, self.settings["data"]) for path in paths] for paths in (self.scans, self.validation)
        )
        data, model = training_data(scans, self.settings, validation), load_model(self.model_path)
        weights = resolved_weights(self.settings["training"], str(model.facts["model_type"]))
        return EvaluateBatchJob(data, model, {**self.settings, "training": weights}, self.scan, self.groups, self.gradients)


def evaluate(job: EvaluateJob | EvaluateBatchJob | BatchRecipe, **execution: Value) -> EvaluateResult:
    """Evaluate one batch.

    Args:
        job: object, probe, positions and counts (``ptycho_core.contract.EvaluateJob``); or a batch of a training with its model
            (``ptycho_core.contract.EvaluateBatchJob``), which may also be given as files (`BatchRecipe`).
        execution: execution settings, such as ``backend="torch"``, ``precision="float64"``, ``accelerator="cpu"``.

    Returns:
        Modelled intensities, the value of each loss term and, if wanted, the gradients, as NumPy.

    Raises:
        SettingsError: for an unknown or impossible setting.
        BackendUnusableError: if the backend cannot be used.
        CapabilityError: if it does not evaluate, or not so.
        DataError: if the parts of the job do not fit each other, or a file cannot be used.
    """
    from ptycho_core.settings.planning import plan_verb

    backend, plan = plan_verb("evaluate", dict(execution), os.environ)
    return backend.evaluate(job.opened() if isinstance(job, BatchRecipe) else job, plan)
