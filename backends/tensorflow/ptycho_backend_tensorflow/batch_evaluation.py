"""One batch of a training as `ptycho_evaluate` tells it: what a step would see at the weights of a model file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_backend_tensorflow.devices import configured, real_dtype
from ptycho_backend_tensorflow.learner import Learner
from ptycho_backend_tensorflow.sample import Sample
from ptycho_core.contract import EvaluateBatchJob, EvaluateResult, ExecutionPlan
from ptycho_core.model import load_model
from ptycho_core.settings.training import loss_weights
from ptycho_core.training.data import check_groups, training_data

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["evaluate_batch"]


def evaluate_batch(job: EvaluateBatchJob, plan: ExecutionPlan) -> EvaluateResult:
    """Evaluate one batch of a training on the planned device in the planned precision.

    Returns:
        As specified: intensities in float64, zero frequency at ``[N // 2, N // 2]``; the terms with a weight; gradients of all
        that learns, in the precision of the plan; merged patches.

    Raises:
        DataError: if a scan or the model file cannot be used, or the groups do not fit them.
    """
    data = training_data(job.training)
    model = load_model(job.training.model_path)
    check_groups(job.groups, data, job.scan, model)
    weights = loss_weights(job.training.settings["training"], str(model.facts["model_type"]))
    with configured(plan):
        learner = Learner(model, weights, real_dtype(plan), mixed=False, jit=bool(plan.options.get("jit")))
        sample = Sample(data.scans[job.scan], real_dtype(plan))
        outcome = learner.outcome(sample, job.scan, job.groups, learn=job.gradients)
        gradients = {} if outcome.gradient is None else learner.named_gradients(outcome.gradient)
        return EvaluateResult(
            np.fft.fftshift(outcome.modelled.numpy().astype(np.float64), axes=(-2, -1)),
            outcome.terms,
            {name: _gradient(name, value) for name, value in gradients.items()},
            outcome.patches.numpy(),
        )


def _gradient(name: str, gradient: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The gradient of a leaf; pairs of real numbers as complex ones."""
    return gradient[..., 0] + 1j * gradient[..., 1] if name == "physics.probe" else gradient
