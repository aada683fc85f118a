"""The seven hooks of a backend. ``specs/backend-contract.md`` binds; this module is its code.

A backend is a module (or object) of functions marked with ``ptycho_core.hookimpl``. All hooks are ``firstresult``; each backend
lives in its own plugin manager, so there is never more than one answer. ``None`` is a violation. A hook may take fewer
arguments than are specified. Hooks are verbs of a job and never called per batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ptycho_core import contract

PROJECT = "ptycho"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def ptycho_backend_spec() -> contract.BackendSpec:
    """Say what the backend is; equal to its manifest. Must not import the framework."""


@hookspec(firstresult=True)
def ptycho_probe() -> contract.ProbeReport:
    """Import the framework and report its version, devices, precisions and problems. Takes no memory on any device."""


@hookspec(firstresult=True)
def ptycho_plan(request: contract.ExecutionRequest, probe: contract.ProbeReport) -> contract.ExecutionPlan:
    """Resolve how the job will run, with a disposition for each requested option. Pure: no side effect, no data read."""


@hookspec(firstresult=True)
def ptycho_train(job: contract.TrainJob, plan: contract.ExecutionPlan, events: contract.EventSink) -> contract.TrainResult:
    """Fit a network. Writes below ``job.output_dir`` only."""


@hookspec(firstresult=True)
def ptycho_infer(
    job: contract.InferJob, plan: contract.ExecutionPlan, events: contract.EventSink
) -> Iterator[contract.InferBatch | contract.InferTile]:
    """Yield the object of each frame once, batch by batch or tile by tile; the core stitches them as they come."""


@hookspec(firstresult=True)
def ptycho_reconstruct(
    job: contract.ReconstructJob, plan: contract.ExecutionPlan, events: contract.EventSink
) -> contract.ReconstructResult:
    """Fit object, probe and, if asked, positions and background to one scan. Writes no file."""


@hookspec(firstresult=True)
def ptycho_evaluate(
    job: contract.EvaluateJob | contract.EvaluateBatchJob, plan: contract.ExecutionPlan
) -> contract.EvaluateResult:
    """Forward intensities, loss terms and gradients of one batch, so that backends can be compared.

    A backend that claims ``train`` takes an `EvaluateBatchJob` too.
    """
