"""The audit: for each setting and option what was asked, resolved and effective, where from, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptycho_core.backends.states import BackendInfo
    from ptycho_core.contract import ExecutionPlan, Value
    from ptycho_core.settings.resolution import Resolved

__all__ = ["audit", "audit_without_plan"]


def audit(resolved: Resolved, plan: ExecutionPlan, row: BackendInfo) -> dict[str, Any]:
    """The audit of a plan, as payload, run folder, model file and ``ptycho config explain`` hold it; JSON.

    Of each setting: ``value`` (resolved), ``origin`` and ``where`` (the source), ``beat`` (what it overruled), ``requested``,
    ``effective`` and ``disposition`` (``kind`` and ``why``; None where nothing was asked for).
    """
    table = resolved.as_dict()
    numbers = {name: value for group in resolved.groups().values() for name, value in group.items()}
    for name, entry in table.items():
        answer = plan.dispositions.get(name)
        entry["requested"] = name in resolved.requested
        entry["effective"] = _effective(name, numbers.get(name, entry["value"]), plan)
        entry["disposition"] = None if answer is None else {"kind": answer.kind, "why": answer.why}
    table["backend"]["effective"] = row.name
    head = {"verb": resolved.verb, "backend": _backend(row), "device": plan.device, "notes": list(plan.notes)}
    return {**head, "settings": table}


def audit_without_plan(resolved: Resolved, row: BackendInfo | None, why: str) -> dict[str, Any]:
    """The same as far as it goes where no backend is asked: ``device``, ``effective`` and ``disposition`` are None.

    Args:
        resolved: the settings.
        row: the backend that would be asked, if one is known.
        why: there is no plan; the only note.
    """
    table = resolved.as_dict()
    for name, entry in table.items():
        entry |= {"requested": name in resolved.requested, "effective": None, "disposition": None}
    backend = None if row is None else _backend(row)
    return {"verb": resolved.verb, "backend": backend, "device": None, "notes": [why], "settings": table}


def _backend(row: BackendInfo) -> dict[str, str]:
    return {
        "name": row.name, "distribution": row.source, "framework_version": row.framework_version, "chosen_by": row.chosen_by,
    }  # fmt: skip


def _effective(name: str, value: Value, plan: ExecutionPlan) -> Value:
    """What the plan makes of a value: of an execution setting, an option, or a setting that the backend says it adjusts."""
    option = name.partition(".")[2]
    if option:
        return plan.options[option]
    answer = plan.dispositions.get(name)
    if name not in plan.execution and answer is not None and answer.kind == "adjusted":
        return answer.value
    return plan.execution.get(name, value)
