"""The hooks of the pty-chi backend. Importing this module imports neither pty-chi nor PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ptycho_core import hookimpl
from ptycho_core.backends.manifest import read_manifest

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


@hookimpl
def ptycho_backend_spec() -> BackendSpec:
    """Say what the backend is: what its manifest says."""
    return read_manifest(Path(__file__).with_name("ptycho-backend.toml"), "ptychi")


@hookimpl
def ptycho_probe() -> ProbeReport:
    """Import pty-chi and report the devices that it can use."""
    from ptycho_backend_ptychi.library import probe

    return probe()


@hookimpl
def ptycho_plan(request: ExecutionRequest, probe: ProbeReport) -> ExecutionPlan:
    """Resolve accelerator and threads, and say what pty-chi makes of each setting."""
    from ptycho_backend_ptychi.planning import plan

    return plan(request, probe)


@hookimpl
def ptycho_reconstruct(job: ReconstructJob, plan: ExecutionPlan, events: EventSink) -> ReconstructResult:
    """Fit object, probe and, if asked, positions to one scan."""
    from ptycho_backend_ptychi.reconstruction import reconstruct

    return reconstruct(job, plan, events)
