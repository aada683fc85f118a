"""The hooks of a backend whose verbs are the engine's. Importing this module imports no framework."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.backends.manifest import MANIFEST, read_manifest
from ptycho_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ptycho_core import contract

__all__ = ["engine_hooks"]


def engine_hooks(name: str, package: str) -> tuple[Callable[..., Any], ...]:
    """All seven hooks of the backend ``name``, whose import package is ``package``: spec, probe, plan, then the four verbs.

    The package holds ``ptycho-backend.toml`` and two modules that are imported when they are first needed: ``devices`` with
    ``probe()`` and ``operations(plan)``, a context that sets the process up for a plan and gives its `ArrayOps`, and ``planning``
    with ``plan(request, probe)``.
    """

    def devices() -> Any:  # noqa: ANN401 - a module of the backend
        return import_module(f"{package}.devices")

    @hookimpl
    def ptycho_backend_spec() -> contract.BackendSpec:
        """Say what the backend is: what its manifest says."""
        return read_manifest(Path(str(import_module(package).__file__)).with_name(MANIFEST), name)

    @hookimpl
    def ptycho_probe() -> contract.ProbeReport:
        """Import the framework and report its devices."""
        found: contract.ProbeReport = devices().probe()
        return found

    @hookimpl
    def ptycho_plan(request: contract.ExecutionRequest, probe: contract.ProbeReport) -> contract.ExecutionPlan:
        """Resolve accelerator, precision and threads."""
        found: contract.ExecutionPlan = import_module(f"{package}.planning").plan(request, probe)
        return found

    @hookimpl
    def ptycho_train(job: contract.TrainJob, plan: contract.ExecutionPlan, events: contract.EventSink) -> contract.TrainResult:
        """Fit a network."""
        from ptycho_core.engine.train import train

        with devices().operations(plan) as xp:
            return train(job, plan, events, xp)

    @hookimpl
    def ptycho_infer(
        job: contract.InferJob, plan: contract.ExecutionPlan, events: contract.EventSink
    ) -> Iterator[contract.InferBatch | contract.InferTile]:
        """Estimate the object of a scan, and pass it through the network if there is one."""
        from ptycho_core.engine.infer import infer

        return infer(job, plan, events, devices().operations)

    @hookimpl
    def ptycho_reconstruct(
        job: contract.ReconstructJob, plan: contract.ExecutionPlan, events: contract.EventSink
    ) -> contract.ReconstructResult:
        """Fit object, probe and, if asked, positions and background to one scan."""
        from ptycho_core.engine.reconstruct import reconstruct

        with devices().operations(plan) as xp:
            return reconstruct(job, plan, events, xp)

    @hookimpl
    def ptycho_evaluate(
        job: contract.EvaluateJob | contract.EvaluateBatchJob, plan: contract.ExecutionPlan
    ) -> contract.EvaluateResult:
        """Forward intensities, loss terms and gradients of one batch."""
        from ptycho_core.engine.evaluate import evaluate

        with devices().operations(plan) as xp:
            return evaluate(job, xp)

    verbs = ptycho_train, ptycho_infer, ptycho_reconstruct, ptycho_evaluate
    return ptycho_backend_spec, ptycho_probe, ptycho_plan, *verbs
