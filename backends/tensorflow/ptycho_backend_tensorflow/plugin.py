"""The hooks of the TensorFlow backend. Importing this module imports no framework."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ptycho_core import hookimpl
from ptycho_core.backends.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ptycho_core.contract import (
        BackendSpec,
        EvaluateBatchJob,
        EvaluateJob,
        EvaluateResult,
        EventSink,
        ExecutionPlan,
        ExecutionRequest,
        InferBatch,
        InferJob,
        ProbeReport,
        ReconstructJob,
        ReconstructResult,
        TrainJob,
        TrainResult,
    )


@hookimpl
def ptycho_backend_spec() -> BackendSpec:
    """Say what the backend is: what its manifest says."""
    return read_manifest(Path(__file__).with_name("ptycho-backend.toml"), "tensorflow")


@hookimpl
def ptycho_probe() -> ProbeReport:
    """Import TensorFlow and report its devices."""
    from ptycho_backend_tensorflow.starting import without_keras, without_start_messages

    with without_start_messages(), without_keras():
        from ptycho_backend_tensorflow.devices import probe

        return probe()


@hookimpl
def ptycho_plan(request: ExecutionRequest, probe: ProbeReport) -> ExecutionPlan:
    """Resolve accelerator, precision and threads."""
    from ptycho_backend_tensorflow.planning import plan

    return plan(request, probe)


@hookimpl
def ptycho_train(job: TrainJob, plan: ExecutionPlan, events: EventSink) -> TrainResult:
    """Fit a network."""
    from ptycho_backend_tensorflow.training import train

    return train(job, plan, events)


@hookimpl
def ptycho_infer(job: InferJob, plan: ExecutionPlan, events: EventSink) -> Iterator[InferBatch]:
    """Pass a scan through a trained network."""
    from ptycho_backend_tensorflow.inference import infer

    return infer(job, plan, events)


@hookimpl
def ptycho_reconstruct(job: ReconstructJob, plan: ExecutionPlan, events: EventSink) -> ReconstructResult:
    """Fit object, probe and, if asked, positions and background to one scan."""
    from ptycho_backend_tensorflow.devices import operations
    from ptycho_core.engine.reconstruct import reconstruct

    with operations(plan) as xp:
        return reconstruct(job, plan, events, xp)


@hookimpl
def ptycho_evaluate(job: EvaluateJob | EvaluateBatchJob, plan: ExecutionPlan) -> EvaluateResult:
    """Forward intensities, loss terms and gradients of one batch."""
    from ptycho_core.contract import EvaluateBatchJob

    if isinstance(job, EvaluateBatchJob):
        from ptycho_backend_tensorflow.batch_evaluation import evaluate_batch

        return evaluate_batch(job, plan)
    from ptycho_backend_tensorflow.evaluate import evaluate

    return evaluate(job, plan)
