"""The hooks of the backend: ptycho calls them, each is a verb of a job. What is heavy is imported inside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ptycho_core import hookimpl

if TYPE_CHECKING:
    from ptycho_core.contract import (
        BackendSpec,
        EventSink,
        ExecutionPlan,
        ExecutionRequest,
        ProbeReport,
        ReconstructJob,
        ReconstructResult,
    )

NAME = "template"


@hookimpl
def ptycho_backend_spec() -> BackendSpec:
    """Say what the backend is: what its manifest says."""
    from ptycho_core.backends.manifest import read_manifest

    return read_manifest(Path(__file__).with_name("ptycho-backend.toml"), NAME)


@hookimpl
def ptycho_probe() -> ProbeReport:
    """Import the framework, and say what it offers on this machine."""
    import numpy as np

    from ptycho_core.contract import Device, ProbeReport

    return ProbeReport(framework_version=np.__version__, devices=(Device("cpu", "cpu", "processor"),), precisions=("float64",))


@hookimpl
def ptycho_plan(request: ExecutionRequest, probe: ProbeReport) -> ExecutionPlan:
    """Say how a job will be run, before anything is read."""
    from ptycho_backend_template.planning import plan

    return plan(request, probe)


@hookimpl
def ptycho_reconstruct(job: ReconstructJob, plan: ExecutionPlan, events: EventSink) -> ReconstructResult:
    """Fit object and probe to a scan."""
    from ptycho_backend_template.engine import reconstruct

    return reconstruct(job, plan, events)
