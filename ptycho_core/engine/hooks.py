"""The hooks of a backend whose verbs are the engine's. Importing this module imports no framework."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ptycho_core.backends.manifest import read_manifest
from ptycho_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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

__all__ = ["Hooks", "engine_hooks"]


class Hooks(NamedTuple):
    """The hooks, in the order of ``specs/backend-contract.md``."""

    spec: Callable[..., Any]
    probe: Callable[..., Any]
    plan: Callable[..., Any]
    train: Callable[..., Any]
    infer: Callable[..., Any]
    reconstruct: Callable[..., Any]
    evaluate: Callable[..., Any]


def engine_hooks(name: str, package: str) -> Hooks:
    """All seven hooks of the backend ``name``, whose import package is ``package``.

    The package holds ``ptycho-backend.toml`` and two modules that are imported when they are first needed: ``devices`` with
    ``probe()`` and ``operations(plan)``, a context that sets the process up for a plan and gives its `ArrayOps`, and ``planning``
    with ``plan(request, probe)``.
    """

    def devices() -> Any:  # noqa: ANN401 - a module of the backend
        return import_module(f"{package}.devices")

    @hookimpl
    def ptycho_backend_spec() -> BackendSpec:
        """Say what the backend is: what its manifest says."""
        return read_manifest(Path(str(import_module(package).__file__)).with_name("ptycho-backend.toml"), name)

    @hookimpl
    def ptycho_probe() -> ProbeReport:
        """Import the framework and report its devices."""
        found: ProbeReport = devices().probe()
        return found

    @hookimpl
    def ptycho_plan(request: ExecutionRequest, probe: ProbeReport) -> ExecutionPlan:
        """Resolve accelerator, precision and threads."""
        found: ExecutionPlan = import_module(f"{package}.planning").plan(request, probe)
        return found

    @hookimpl
    def ptycho_train(job: TrainJob, plan: ExecutionPlan, events: EventSink) -> TrainResult:
        """Fit a network."""
        from ptycho_core.engine.train import train

        with devices().operations(plan) as xp:
            return train(job, plan, events, xp)

    @hookimpl
    def ptycho_infer(job: InferJob, plan: ExecutionPlan, events: EventSink) -> Iterator[InferBatch]:
        """Pass a scan through a trained network."""
        from ptycho_core.engine.infer import infer

        return infer(job, plan, events, devices().operations)

    @hookimpl
    def ptycho_reconstruct(job: ReconstructJob, plan: ExecutionPlan, events: EventSink) -> ReconstructResult:
        """Fit object, probe and, if asked, positions and background to one scan."""
        from ptycho_core.engine.reconstruct import reconstruct

        with devices().operations(plan) as xp:
            return reconstruct(job, plan, events, xp)

    @hookimpl
    def ptycho_evaluate(job: EvaluateJob | EvaluateBatchJob, plan: ExecutionPlan) -> EvaluateResult:
        """Forward intensities, loss terms and gradients of one batch."""
        from ptycho_core.engine.evaluate import evaluate

        with devices().operations(plan) as xp:
            return evaluate(job, plan, xp)

    return Hooks(
        ptycho_backend_spec,
        ptycho_probe,
        ptycho_plan,
        ptycho_train,
        ptycho_infer,
        ptycho_reconstruct,
        ptycho_evaluate,
    )
