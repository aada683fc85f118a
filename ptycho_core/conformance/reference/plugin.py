"""The hooks of the reference backend. Importing this module does not import NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ptycho_core import hookimpl
from ptycho_core.backends.manifest import MANIFEST, read_manifest
from ptycho_core.conformance.reference import NAME
from ptycho_core.conformance.reference.planning import ptycho_plan, ptycho_probe  # noqa: F401 - hooks too

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ptycho_core import contract


@hookimpl
def ptycho_backend_spec() -> contract.BackendSpec:
    """Say what the backend is: what its manifest says."""
    return read_manifest(Path(__file__).with_name(MANIFEST), NAME)


@hookimpl
def ptycho_train(job: contract.TrainJob, plan: contract.ExecutionPlan, events: contract.EventSink) -> contract.TrainResult:
    """Fit a network."""
    from ptycho_core.conformance.reference.training import train

    return train(job, plan, events)


@hookimpl
def ptycho_infer(job: contract.InferJob, events: contract.EventSink) -> Iterator[contract.InferBatch | contract.InferTile]:
    """Make the object of a scan in one pass."""
    from ptycho_core.conformance.reference.inference import infer

    return infer(job, events)


@hookimpl
def ptycho_reconstruct(
    job: contract.ReconstructJob, plan: contract.ExecutionPlan, events: contract.EventSink
) -> contract.ReconstructResult:
    """Fit object and probe to one scan."""
    from ptycho_core.conformance.reference.reconstruction import reconstruct

    return reconstruct(job, plan, events)


@hookimpl
def ptycho_evaluate(job: contract.EvaluateJob | contract.EvaluateBatchJob) -> contract.EvaluateResult:
    """Forward intensities, loss terms and gradients of one batch."""
    from ptycho_core.contract import EvaluateBatchJob

    if isinstance(job, EvaluateBatchJob):
        from ptycho_core.conformance.reference.evaluation import evaluate_batch

        return evaluate_batch(job)
    from ptycho_core.physics import evaluate

    return evaluate(job)
