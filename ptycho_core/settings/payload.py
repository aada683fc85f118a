"""From inputs to a frozen payload: validate, resolve, check against the manifest, freeze, import the one backend, its plan."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.contract import BackendSpec, ExecutionPlan, ExecutionRequest, Value
from ptycho_core.errors import CapabilityError
from ptycho_core.settings.resolution import Resolved, check_together, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_core.backends.loading import Backend
    from ptycho_core.backends.states import Row
    from ptycho_core.settings.execution import ExecutionSettings

__all__ = ["ReconstructionPayload", "create_reconstruction_payload", "plan_verb", "resolve_for", "resolve_without_options"]

_NEEDS = {"refine_positions": (False, "positions"), "background": ("none", "background")}
"""Settings that a backend must have a capability for, with the value that needs none."""


@dataclass(frozen=True)
class ReconstructionPayload:
    """All that a reconstruction will do; nothing downstream resolves anything again.

    Attributes:
        scan: path of the scan, or the name of a sample.
        output_dir: folder for the results, or None.
        resolved: every setting with its source.
        backend: the loaded backend.
        plan: its plan.
        audit: for each setting: requested, resolved, effective, origin, what it beat, disposition; JSON.
    """

    scan: Path
    output_dir: Path | None
    resolved: Resolved
    backend: Backend
    plan: ExecutionPlan
    audit: Mapping[str, Any]

    @property
    def groups(self) -> dict[str, dict[str, Value]]:
        """Plain values by group, *execution* as planned: a new copy each time, as jobs carry them from process to process."""
        return self.resolved.groups() | {"execution": dict(self.plan.execution)}


def create_reconstruction_payload(
    scan: str | Path,
    output_dir: str | Path | None,
    overrides: Mapping[str, object] | None = None,
    execution_config: ExecutionSettings | Mapping[str, object] | None = None,
    *,
    config_file: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    allow_unsupported: bool = False,
) -> ReconstructionPayload:
    """Decide everything about a reconstruction before any pattern is read.

    The order is fixed: validate and resolve (the scan's headers and scalars are read), check against the manifest, import the one
    backend, ask its plan, freeze the payload.

    Args:
        scan: path of the scan.
        output_dir: folder for the results, or None to write none.
        overrides: explicit settings by name, a backend's options as ``BACKEND.NAME``.
        execution_config: execution settings passed in code, one rank below.
        config_file: settings in TOML.
        environment: variables; those of the process if None.
        allow_unsupported: go on without the options that the backend does not support.

    Raises:
        SettingsError: for an unknown or impossible setting.
        BackendUnusableError: if the backend cannot be used.
        CapabilityError: if it does not provide what was asked for.
        DataError: if there is no such scan.
    """
    from ptycho_core.scan.opening import scan_path

    sources = {
        "overrides": overrides, "execution": execution_config,
        "environment": os.environ if environment is None else environment,
        "file": None if config_file is None else Path(config_file),
    }  # fmt: skip
    resolved, row = resolve_for("reconstruct", sources, scan)
    place = scan_path(scan)
    backend, plan = _plan(resolved, row, allow_unsupported=allow_unsupported)
    return ReconstructionPayload(
        place,
        None if output_dir is None else Path(output_dir),
        resolved,
        backend,
        plan,
        _audit(resolved, plan, row),
    )


def plan_verb(verb: str, overrides: Mapping[str, object], environment: Mapping[str, str]) -> tuple[Backend, ExecutionPlan]:
    """Backend and plan of a verb that has no files: settings come from ``overrides`` and the environment.

    Raises:
        SettingsError, BackendUnusableError, CapabilityError: as `create_reconstruction_payload`.
    """
    resolved, row = resolve_for(verb, {"overrides": overrides, "environment": environment})
    return _plan(resolved, row, allow_unsupported=False)


def resolve_for(verb: str, sources: Mapping[str, Any], scan: str | Path | None = None) -> tuple[Resolved, Row]:
    """Resolve without backend to learn which it is, then with its options and what the scan's file states. Imports no plugin.

    Raises:
        SettingsError, BackendUnusableError, UnknownBackendError, DataError: as they say.
    """
    from ptycho_core.backends import choose

    name = resolve_without_options(verb, sources).values["backend"].value
    row = choose(None if name is None else str(name))
    resolved = resolve(verb, **sources, facts=_facts(scan), spec=row.spec)
    check_together(resolved)
    return resolved, row


def resolve_without_options(verb: str, sources: Mapping[str, Any], scan: str | Path | None = None) -> Resolved:
    """Resolve all settings but the options of a backend, which only its manifest can tell.

    Raises:
        SettingsError, DataError: as they say.
    """
    overrides = {name: value for name, value in (sources.get("overrides") or {}).items() if "." not in name}
    return resolve(verb, **{**sources, "overrides": overrides}, facts=_facts(scan))


def _facts(scan: str | Path | None) -> Mapping[str, tuple[Value, str]]:
    if scan is None:
        return {}
    from ptycho_core.settings.facts import scan_facts

    return dict(scan_facts(scan))


def _plan(resolved: Resolved, row: Row, *, allow_unsupported: bool) -> tuple[Backend, ExecutionPlan]:
    from ptycho_core.backends import load

    assert row.spec is not None
    _check_manifest(resolved, row.spec)
    backend = load(row)
    groups = resolved.groups()
    request = ExecutionRequest(
        verb=resolved.verb,
        execution=groups.pop("execution"),
        settings=groups,
        options={name.partition(".")[2]: one.value for name, one in resolved.options.items()},
        requested=resolved.requested,
    )
    plan = backend.plan(request, backend.probe())
    forgotten = sorted({*request.execution, *request.options} - {*plan.execution, *plan.options})
    if forgotten:
        backend.violation(f"gives no effective value for {', '.join(forgotten)}", "ptycho_plan")
    for name, answer in plan.dispositions.items():
        if answer.kind == "unsupported" and not allow_unsupported:
            one = {**resolved.values, **resolved.options}[name]
            raise CapabilityError(
                f"backend '{backend.name}': {name} = {one.value}: {answer.why}.",
                remedy="Choose another value, or go on without it with --allow-unsupported.",
                source=one.where, backend=backend.name, distribution=backend.source,
            )  # fmt: skip
    return backend, plan


def _check_manifest(resolved: Resolved, spec: BackendSpec) -> None:
    """Refuse what the manifest rules out, without importing the backend."""
    if resolved.verb not in spec.capabilities:
        offers = ", ".join(word for word in spec.capabilities) or "nothing"
        message = f"backend '{spec.name}' does not provide '{resolved.verb}'; it provides {offers}."
        raise CapabilityError(message, backend=spec.name)
    for name, (without, capability) in _NEEDS.items():
        one = resolved.values.get(name)
        if one is not None and one.value != without and capability not in spec.capabilities:
            message = f"backend '{spec.name}' does not provide '{capability}'; it provides {', '.join(spec.capabilities)}."
            raise CapabilityError(message, source=one.where, backend=spec.name)
    for name, offered in (("accelerator", ("auto", *spec.accelerators)), ("precision", spec.precisions)):
        one = resolved.values[name]
        if one.value not in offered:
            raise CapabilityError(
                f"{name} '{one.value}' is not available: backend '{spec.name}' offers {', '.join(offered)}.",
                source=one.where, backend=spec.name,
            )  # fmt: skip


def _audit(resolved: Resolved, plan: ExecutionPlan, row: Row) -> dict[str, Any]:
    """What was asked, what was decided and what was effective, for the result folder."""
    table = resolved.as_dict()
    for name, entry in table.items():
        answer = plan.dispositions.get(name)
        entry["requested"] = name in resolved.requested
        entry["effective"] = _effective(name, entry["value"], plan)
        entry["disposition"] = None if answer is None else {"kind": answer.kind, "why": answer.why}
    table["backend"]["effective"] = row.name
    backend = {
        "name": row.name, "distribution": row.source, "framework_version": row.framework_version, "chosen_by": row.chosen_by,
    }  # fmt: skip
    return {"verb": resolved.verb, "backend": backend, "device": plan.device, "notes": list(plan.notes), "settings": table}


def _effective(name: str, value: Value, plan: ExecutionPlan) -> Value:
    """What the plan makes of a value: of an execution setting, an option, or a setting that the backend says it adjusts."""
    option = name.partition(".")[2]
    if option:
        return plan.options[option]
    answer = plan.dispositions.get(name)
    if name not in plan.execution and answer is not None and answer.kind == "adjusted":
        return answer.value
    return plan.execution.get(name, value)
