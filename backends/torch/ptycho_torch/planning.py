"""How a job will run on PyTorch: accelerator, precision, threads, and an answer to every option that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptycho_core.backends.plans import make_plan

if TYPE_CHECKING:
    from ptycho_core.contract import ExecutionPlan, ExecutionRequest, ProbeReport


def plan(request: ExecutionRequest, probe: ProbeReport) -> ExecutionPlan:
    """Resolve what is ``auto`` and say what became of each requested option; reads nothing and changes nothing."""
    return make_plan(request, probe, "PyTorch")
