"""How a job will run on NumPy: precision, threads, and an answer to every option that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ptycho_core.backends.plans import make_plan

if TYPE_CHECKING:
    from ptycho_core.contract import ExecutionPlan, ExecutionRequest, ProbeReport, Value

_SAME: Final[tuple[Value, str]] = ("on", "NumPy adds in a fixed order in any case")


def plan(request: ExecutionRequest, probe: ProbeReport) -> ExecutionPlan:
    """Resolve what is ``auto`` and say what became of each requested option; reads nothing and changes nothing."""
    fixed = {"deterministic": _SAME} if request.execution["deterministic"] == "off" else {}
    return make_plan(request, probe, "NumPy", fixed)
