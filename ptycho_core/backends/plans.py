"""How a job will run: accelerator, precision, threads, and an answer to every option that was asked for.

Every backend decides these in the same way, from its probe and from what its framework cannot change.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ptycho_core.contract import VERBS, Disposition, ExecutionPlan, ExecutionRequest, ProbeReport, Value
from ptycho_core.errors import CapabilityError, did_you_mean
from ptycho_core.settings.components import likelihoods, loss_declarations

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = ["MOST_THREADS", "default_threads", "make_plan", "without"]

MOST_THREADS: Final = 8
"""More threads bring nothing for patterns of the usual sizes: their transforms are too small to be divided further."""

_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")

_OF_THE_BACKEND: Final = ("deterministic", "num_workers", "prefetch", "pin_memory")
"""Execution settings that nothing but the backend's own code can act on."""


def make_plan(
    request: ExecutionRequest,
    probe: ProbeReport,
    title: str,
    fixed: Mapping[str, tuple[Value, str]] | None = None,
    honours: Collection[str] | None = None,
    anyway: Mapping[str, tuple[Value, str]] | None = None,
) -> ExecutionPlan:
    """Resolve what is ``auto`` and say what became of each requested option; reads nothing and changes nothing.

    Without ``honours`` the backend promises to honour every setting of its verbs, later ones too.

    Args:
        request: what is wanted.
        probe: what the framework offers.
        title: of the framework, for messages.
        fixed: execution settings that the framework cannot change now: value and reason. ``num_workers`` that is fixed at 0
            takes ``prefetch`` with it.
        honours: the settings that act in this verb: of what is computed, and of ``num_workers``, ``prefetch``, ``pin_memory``
            and ``deterministic``, which nothing but the backend can act on. Another value than the default of one that is not
            named is ``unsupported``. Those of the group *data* need not be named: they act through ``open_scan``. Where
            there are any, a ``likelihood`` that another distribution brings is ``unsupported``: only the engine computes it.
        anyway: of what is not honoured, what is done all the same, and why nothing else is: a request for just that value
            is not refused.

    Raises:
        ValueError: ``fixed``, ``honours`` or ``anyway`` names what is no setting of any verb, or the probe has no device.
        CapabilityError: a checkpoint has a loss of another distribution, which ``honours`` does not name.
    """
    _check_names(fixed or (), honours or (), anyway or ())
    if honours is not None:
        _check_losses(request, title, honours)
    effective: dict[str, Value] = dict(request.execution)
    refused: dict[str, str] = {}
    notes: list[str] = []
    device = _device(request, probe, title, effective, refused, notes)
    if effective["precision"] not in probe.precisions:
        refused["precision"] = f"offers {', '.join(probe.precisions)}"
    if effective["precision"] == "bf16-mixed" and request.verb not in ("train", "infer"):
        refused["precision"] = f"'{request.verb}' does not compute in bfloat16; use float32"
    if effective["threads"] is None and "threads" not in (fixed or {}):
        effective["threads"], limit = default_threads()
        notes.append(f"threads {effective['threads']} ({limit})")
    fixed = {name: one for name, one in (fixed or {}).items() if name in effective}
    effective |= {name: value for name, (value, _) in fixed.items()}
    if honours is not None:
        refused |= _not_honoured(request, title, honours, anyway or {})
        refused |= _not_done(effective, title, {*honours, *fixed}, anyway or {})
    if "num_workers" in effective and "prefetch" not in {*fixed, *refused}:
        _read_ahead(effective, refused, fixed)
    dispositions = {name: _answer(name, request, effective, refused, fixed) for name in request.requested}
    plan = ExecutionPlan(device, effective, dict(request.options), dispositions, tuple(notes))
    if effective["accelerator"] != "cpu":
        return plan
    return without(plan, "pin_memory", "pinned memory serves copies to a GPU, and the device is the CPU")


def without(plan: ExecutionPlan, name: str, why: str) -> ExecutionPlan:
    """The plan with a truth off that cannot be had: an execution setting, or an option as ``BACKEND.NAME``.

    Where it is asked for the answer is ``unsupported``, because of ``why``.
    """
    option = name.partition(".")[2]
    held = plan.options if option else plan.execution
    if not held.get(option or name):
        return plan
    answer = {name: Disposition("unsupported", None, why)} if name in plan.dispositions else {}
    changed = {**held, option or name: False}
    which = {"options": changed} if option else {"execution": changed}
    return replace(plan, dispositions={**plan.dispositions, **answer}, **which)  # type: ignore[arg-type]


def default_threads() -> tuple[int, str]:
    """As many threads as help, of those that this process may use; and what limits them, as a plan notes it."""
    limits = [(number, name) for name in _THREAD_VARIABLES if (number := _number_of(name))]
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits += [(processors, "processors of this process"), (MOST_THREADS, "more do not help")]
    return min(limits, key=lambda limit: limit[0])


def _number_of(variable: str) -> int:
    """The number of threads that a variable states, the first of a list for nested regions; 0 where it states none."""
    text = os.environ.get(variable, "").partition(",")[0].strip()
    return int(text) if text.isascii() and text.isdigit() else 0


def _device(
    request: ExecutionRequest,
    probe: ProbeReport,
    title: str,
    effective: dict[str, Value],
    refused: dict[str, str],
    notes: list[str],
) -> str:
    """The framework's name of the device; ``auto`` takes a GPU if there is one, else the CPU, and says what it took."""
    if not probe.devices:
        raise ValueError(f"the probe of {title} reports no device; the contract requires at least one")
    wanted = request.execution["accelerator"]
    found = {device.accelerator: device.name for device in reversed(probe.devices)}
    if wanted == "auto":
        wanted = next((word for word in ("cuda", "mps", "cpu") if word in found), probe.devices[0].accelerator)
        why = "; ".join(probe.problems) if wanted == "cpu" else ""
        notes.append(f"accelerator auto: {wanted}" + (f" ({why})" if why else ""))
    if wanted not in found:
        refused["accelerator"] = f"'{wanted}' is not available: {'; '.join(probe.problems) or f'{title} finds no such device'}"
        wanted = "cpu" if "cpu" in found else probe.devices[0].accelerator
    effective["accelerator"] = wanted
    return found[str(wanted)]


def _not_honoured(
    request: ExecutionRequest, title: str, honours: Collection[str], anyway: Mapping[str, tuple[Value, str]]
) -> dict[str, str]:
    """What is asked for in vain, and why it is."""
    computed = {name: value for group, held in request.settings.items() if group != "data" for name, value in held.items()}
    refused = {}
    for name in request.requested & computed.keys() - {*honours}:
        value, why = anyway.get(name, (None, f"{title} does not look at it"))
        if name not in anyway or value != computed[name]:
            refused[name] = why
    likelihood = str(computed.get("likelihood"))
    if "likelihood" in request.requested and likelihood in likelihoods():
        refused["likelihood"] = f"{title} computes its own likelihoods, none that another distribution brings"
    return refused


def _check_losses(request: ExecutionRequest, title: str, honours: Collection[str]) -> None:
    """A term of the loss that a checkpoint states is not asked for, so that no answer could refuse it."""
    for one in loss_declarations():
        weight = request.settings.get(one.group, {}).get(one.name)
        if one.name.endswith("_weight") and weight and one.name not in {*request.requested, *honours}:
            message = f"the checkpoint was trained with {one.name} {weight}, and {title} does not compute that loss."
            raise CapabilityError(message, remedy="Continue with the backend that it began with.")


def _not_done(
    effective: dict[str, Value], title: str, named: Collection[str], anyway: Mapping[str, tuple[Value, str]]
) -> dict[str, str]:
    """Execution settings that are not acted on, and why; what is effective of them becomes what is done all the same."""
    from ptycho_core.settings.execution import ExecutionSettings

    defaults = vars(ExecutionSettings())
    refused: dict[str, str] = {}
    for name in _OF_THE_BACKEND:
        if name == "prefetch" and not effective.get("num_workers"):
            continue  # without workers there is nothing that could be read ahead
        if name in effective and name not in named:
            value, why = anyway.get(name, (defaults[name], f"{title} does not look at it"))
            if effective[name] != value:
                refused[name], effective[name] = why, value
    return refused


def _read_ahead(effective: dict[str, Value], refused: dict[str, str], fixed: dict[str, tuple[Value, str]]) -> None:
    """Two readings for each worker unless said; without workers none, for the reason for which there are none."""
    workers = int(effective["num_workers"] or 0)
    if workers:
        effective["prefetch"] = effective["prefetch"] or 2 * workers
    elif effective["prefetch"] is not None:
        effective["prefetch"] = None
        if "num_workers" in refused:
            refused["prefetch"] = refused["num_workers"]
        else:
            fixed["prefetch"] = None, fixed.get("num_workers", (0, "nothing reads ahead without workers"))[1]


def _check_names(fixed: Iterable[str], honours: Iterable[str], anyway: Iterable[str]) -> None:
    """A name that is no setting would be swallowed, and what it was meant for refused or promised by mistake.

    Raises:
        ValueError: there is one; the message says where, and what it is like.
    """
    from ptycho_core.settings.groups import declarations

    every = {name: one.group for verb in VERBS for name, one in declarations(verb).items()}
    of_a_run = [name for name, group in every.items() if group == "execution"]
    for place, names, known in (("fixed", fixed, of_a_run), ("honours", honours, [*every]), ("anyway", anyway, [*every])):
        for name in names:
            if name not in known:
                what = "no execution setting" if place == "fixed" else "no setting of ptycho"
                raise ValueError(f"{place} of make_plan names '{name}', which is {what}.{did_you_mean(name, known)}")


def _answer(
    name: str,
    request: ExecutionRequest,
    effective: Mapping[str, Value],
    refused: Mapping[str, str],
    fixed: Mapping[str, tuple[Value, str]],
) -> Disposition:
    if name in refused:
        return Disposition("unsupported", None, refused[name])
    if name not in effective:  # what is computed, or an option of this backend: taken as it is
        return Disposition("applied", _value(name, request))
    if effective[name] == request.execution[name]:
        return Disposition("applied", effective[name])
    why = fixed[name][1] if name in fixed else f"{name} {request.execution[name]} means {effective[name]} here"
    return Disposition("adjusted", effective[name], why)


def _value(name: str, request: ExecutionRequest) -> Value:
    if "." in name:
        return request.options[name.partition(".")[2]]
    return next((group[name] for group in request.settings.values() if name in group), None)
