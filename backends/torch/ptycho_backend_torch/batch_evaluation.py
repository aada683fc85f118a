"""One batch of a training as `ptycho_evaluate` tells it: what a step would see at the weights of a model file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ptycho_backend_torch.devices import configured, real_dtype
from ptycho_backend_torch.learner import Learner
from ptycho_backend_torch.sample import Sample
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
    with configured(plan) as device:
        learner = Learner(model, weights, device, real_dtype(plan), mixed=False)
        with torch.set_grad_enabled(job.gradients):
            outcome = learner.outcome(Sample(data.scans[job.scan], device, real_dtype(plan)), job.scan, job.groups)
        if job.gradients:
            outcome.loss.backward()  # type: ignore[no-untyped-call]
        gradients = {name: _gradient(name, leaf) for name, leaf in learner.leaves().items() if leaf.grad is not None}
    return EvaluateResult(
        np.fft.fftshift(outcome.modelled.double().cpu().numpy(), axes=(-2, -1)),
        {name: float(value.detach()) for name, value in outcome.terms.items()},
        gradients,
        outcome.patches.cpu().numpy(),
    )


def _gradient(name: str, leaf: torch.Tensor) -> npt.NDArray[Any]:
    """The gradient of a leaf; pairs of real numbers as complex ones."""
    assert leaf.grad is not None
    gradient = leaf.grad.contiguous()
    return np.asarray((torch.view_as_complex(gradient) if name == "physics.probe" else gradient).cpu().numpy())
