"""How a job will run on TensorFlow: accelerator, precision, threads, and an answer to every option that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptycho_backend_tensorflow.devices import is_strict, threads_in_use
from ptycho_core.backends.plans import make_plan, without

if TYPE_CHECKING:
    from ptycho_core.contract import ExecutionPlan, ExecutionRequest, ProbeReport, Value


def plan(request: ExecutionRequest, probe: ProbeReport) -> ExecutionPlan:
    """Resolve what is ``auto`` and say what became of each requested option; reads nothing and changes nothing."""
    fixed: dict[str, tuple[Value, str]] = {}
    threads = threads_in_use()
    if threads is not None:
        why = f"TensorFlow fixes its threads at the first operation of a process, and this one already runs with {threads}"
        fixed["threads"] = (threads, why)
    wanted = request.execution["deterministic"]
    if is_strict():
        fixed["deterministic"] = ("strict", "an earlier job of this process wanted it, and TensorFlow cannot turn it off")
    elif wanted == "on" and _on_gpu(request, probe):
        fixed["deterministic"] = ("strict", "on a GPU TensorFlow has one such mode, which refuses what cannot be deterministic")
    elif wanted == "off" and not _on_gpu(request, probe):
        fixed["deterministic"] = ("on", "on a CPU TensorFlow adds in a fixed order in any case")
    found = make_plan(request, probe, "TensorFlow", fixed)
    return without(found, "pin_memory", "TensorFlow has no pinned memory to offer")


def _on_gpu(request: ExecutionRequest, probe: ProbeReport) -> bool:
    return request.execution["accelerator"] in ("auto", "cuda") and any(one.accelerator == "cuda" for one in probe.devices)
