"""From inputs to a frozen payload: validate, resolve, check against the manifest, freeze, import the one backend, its plan."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ptycho_core.contract import BackendSpec, ExecutionPlan, ExecutionRequest, Value
from ptycho_core.errors import CapabilityError
from ptycho_core.settings.resolution import Resolved, resolve

if TYPE_CHECKING:
    from ptycho_core.backends.loading import Backend
    from ptycho_core.backends.states import Row
    from ptycho_core.settings.execution import ExecutionSettings

__all__ = ["ReconstructionPayload", "create_reconstruction_payload", "plan_verb", "resolve_for"]

_NEEDS = {"refine_positions": (False, "positions"), "background": ("none", "background")}
"""Settings that a backend must have a capability for, with the value that needs none."""


@dataclass(frozen=True)
class ReconstructionPayload:
    """All that a reconstruction will do; nothing downstream resolves anything again.

    Attributes:
        scan: path of the scan, or the name of a sample.
        output_dir: folder for the results, or None.
        resolved: every setting with its source.
        groups: plain values by group.
        backend: the loaded backend.
        plan: its plan.
        audit: for each setting: requested, resolved, effective, origin, what it beat, disposition; JSON.
    """

    scan: Path
    output_dir: Path | None
    resolved: Resolved
    groups: Mapping[str, Mapping[str, Value]]
    backend: Backend
    plan: ExecutionPlan
    audit: Mapping[str, Any]


def create_reconstruction_payload(
    scan: str | Path,
    output_dir: str | Path | None,
    overrides: Mapping[str, object] | None = None,
    execution_config: ExecutionSettings | Mapping[str, object] | None = None,
    *,
    config_file: str | Path | None = None,
    wheres: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    allow_unsupported: bool = False,
) -> ReconstructionPayload:
    """Decide everything about a reconstruction before any pattern is read.

    Args:
        scan: path of the scan.
        output_dir: folder for the results, or None to write none.
        overrides: explicit settings by name.
        execution_config: execution settings passed in code, one rank below.
        config_file: settings in TOML.
        wheres: the flag behind each override, for messages.
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
        "overrides": overrides, "wheres": wheres, "execution": execution_config,
        "environment": os.environ if environment is None else environment,
        "file": None if config_file is None else Path(config_file),
    }  # fmt: skip
    resolved, row = resolve_for("reconstruct", sources)
    place = scan_path(scan)
    backend, plan = _plan(resolved, row, allow_unsupported=allow_unsupported)
    groups = {name: MappingProxyType(values) for name, values in resolved.groups().items()}
    return ReconstructionPayload(
        place,
        None if output_dir is None else Path(output_dir),
        resolved,
        MappingProxyType(groups | {"execution": MappingProxyType(dict(plan.execution))}),
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


def resolve_for(verb: str, sources: Mapping[str, Any]) -> tuple[Resolved, Row]:
    """Resolve without backend to learn which it is, then with its options.

    Raises:
        SettingsError, BackendUnusableError, UnknownBackendError: as they say.
    """
    from ptycho_core.backends import choose

    without_options = {name: value for name, value in (sources.get("overrides") or {}).items() if "." not in name}
    first = resolve(verb, **{**sources, "overrides": without_options})
    name = first.values["backend"].value
    row = choose(None if name is None else str(name))
    return resolve(verb, **sources, spec=row.spec), row


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
        raise CapabilityError(f"backend '{spec.name}' does not provide '{resolved.verb}'; it provides {offers}.", backend=spec.name)
    for name, (without, capability) in _NEEDS.items():
        one = resolved.values.get(name)
        if one is not None and one.value != without and capability not in spec.capabilities:
            raise CapabilityError(f"backend '{spec.name}' does not provide '{capability}'.", source=one.where, backend=spec.name)
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
        entry["effective"] = plan.execution.get(name, entry["value"])
        entry["disposition"] = None if answer is None else {"kind": answer.kind, "why": answer.why}
    backend = {"name": row.name, "distribution": row.source, "framework_version": row.framework_version, "chosen_by": row.chosen_by}
    return {"verb": resolved.verb, "backend": backend, "device": plan.device, "notes": list(plan.notes), "settings": table}
