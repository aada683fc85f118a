"""How a job will run on JAX: precision, threads, and an answer to every option that was asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ptycho_core.backends.plans import make_plan

if TYPE_CHECKING:
    from ptycho_core.contract import ExecutionPlan, ExecutionRequest, ProbeReport, Value


def plan(request: ExecutionRequest, probe: ProbeReport) -> ExecutionPlan:
    """Resolve what is ``auto`` and say what became of each requested option; reads nothing and changes nothing."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    fixed: dict[str, tuple[Value, str]] = {
        "threads": (processors, "XLA takes a thread for each processor that the process may use, and has no setting for it")
    }
    if request.execution["deterministic"] == "off":
        fixed["deterministic"] = ("on", "on a CPU XLA adds in a fixed order in any case")
    return make_plan(request, probe, "JAX", fixed)
