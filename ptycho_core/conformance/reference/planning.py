"""How a job will run: in double precision on the processor, whatever else was asked for; and an answer to each option."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptycho_core.contract import Device, Disposition, ExecutionPlan, ProbeReport

if TYPE_CHECKING:
    from ptycho_core.contract import ExecutionRequest, Value

__all__ = ["plan", "probe"]

_PRECISION = "float64"


def probe() -> ProbeReport:
    """NumPy's version; there is one device and one precision."""
    import numpy as np

    return ProbeReport(np.__version__, (Device("cpu", "cpu", "CPU, NumPy"),), (_PRECISION,))


def plan(request: ExecutionRequest) -> ExecutionPlan:
    """Resolve what is ``auto`` and say what became of each requested option; reads nothing and changes nothing."""
    effective: dict[str, Value] = dict(request.execution)
    refused: dict[str, str] = {}
    adjusted: dict[str, str] = {}
    if effective["accelerator"] not in ("auto", "cpu"):
        refused["accelerator"] = f"'{effective['accelerator']}' is no device of NumPy; it computes on the cpu"
    elif effective["accelerator"] == "auto":
        adjusted["accelerator"] = "there is no other device"
    effective["accelerator"] = "cpu"
    if effective["precision"] != _PRECISION:
        refused["precision"] = f"offers {_PRECISION} alone: it is there to compare with"
    if effective["threads"] is not None:
        adjusted["threads"] = (
            "NumPy's libraries choose their threads as they are loaded; set OMP_NUM_THREADS and OPENBLAS_NUM_THREADS before"
        )
        effective["threads"] = None
    if effective["deterministic"] == "off":
        adjusted["deterministic"] = "there is nothing here that differs from run to run"
        effective["deterministic"] = "on"
    asked = request.settings.get("reconstruction", {})
    if asked.get("coarse_start"):
        refused["coarse_start"] = "starts at the whole resolution"
    if "memory_gib" in asked:
        refused["memory_gib"] = "keeps all patterns in memory"
    if effective.get("num_workers"):
        adjusted["num_workers"] = "patterns are read where they are wanted"
        effective["num_workers"] = 0
    if effective.get("prefetch"):
        adjusted["prefetch"] = "nothing is read ahead"
        effective["prefetch"] = None
    if effective.get("pin_memory"):
        refused["pin_memory"] = "pinned memory serves copies to a GPU, and NumPy computes on the CPU"
        effective["pin_memory"] = False
    dispositions = {name: _answer(name, request, effective, refused, adjusted) for name in request.requested}
    return ExecutionPlan("cpu", effective, dict(request.options), dispositions)


def _answer(
    name: str,
    request: ExecutionRequest,
    effective: dict[str, Value],
    refused: dict[str, str],
    adjusted: dict[str, str],
) -> Disposition:
    if name in refused:
        return Disposition("unsupported", None, refused[name])
    if name in adjusted:
        return Disposition("adjusted", effective[name], adjusted[name])
    if name in effective:
        return Disposition("applied", effective[name])
    value = next((group[name] for group in request.settings.values() if name in group), None)
    return Disposition("applied", value)
