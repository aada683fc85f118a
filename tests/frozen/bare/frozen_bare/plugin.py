"""The hooks that contract 1.0 requires, and one verb, with no argument more than needed."""

from ptycho_core import hookimpl
from ptycho_core.contract import BackendSpec, Device, Disposition, EvaluateResult, ExecutionPlan, ProbeReport


@hookimpl
def ptycho_backend_spec():
    return BackendSpec("frozen_bare", "Bare", (1, 0), None, ("evaluate",))


@hookimpl
def ptycho_probe():
    return ProbeReport("", (Device("cpu", "cpu"),), ("float32",))


@hookimpl
def ptycho_plan(request):
    return ExecutionPlan("cpu", request.execution, request.options, {name: Disposition("applied") for name in request.requested})


@hookimpl
def ptycho_evaluate(job):
    return EvaluateResult(job.counts, {"amplitude": 0.0}, {})
