"""From resolved settings to a plan: choose the backend, hold the settings against its manifest, import it, ask its plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.contract import BackendSpec, ExecutionPlan, ExecutionRequest, Value
from ptycho_core.errors import CapabilityError, PtychoError
from ptycho_core.settings.resolution import Facts, Resolved, Sourced, resolve
from ptycho_core.settings.rules import check_together
from ptycho_core.settings.sources import lists_from_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ptycho_core.backends.lists import Lists
    from ptycho_core.backends.loading import Backend
    from ptycho_core.backends.states import Row

__all__ = ["chosen_backend", "lists_of", "plan_for", "plan_verb", "resolve_for", "resolve_without_options"]

_NEEDS = {"refine_positions": (False, "positions"), "background": ("none", "background")}
"""Settings that a backend must have a capability for, with the value that needs none."""


def plan_verb(verb: str, overrides: Mapping[str, object], environment: Mapping[str, str]) -> tuple[Backend, ExecutionPlan]:
    """Backend and plan of a verb that has no files: settings come from ``overrides`` and the environment.

    Raises:
        SettingsError, BackendUnusableError, CapabilityError: as the factories of payloads.
    """
    resolved, row = resolve_for(verb, {"overrides": overrides, "environment": environment})
    return plan_for(resolved, row, allow_unsupported=False)


def resolve_for(verb: str, sources: Mapping[str, Any], facts: Callable[[], Facts] = Facts) -> tuple[Resolved, Row]:
    """Resolve without backend to learn which it is, then with its options. Imports no plugin.

    Args:
        verb: the job.
        sources: arguments of ``resolve`` by name, without ``facts`` and ``spec``.
        facts: looks into the files; called once the settings are known to be right by themselves.

    Raises:
        SettingsError, BackendUnusableError, UnknownBackendError, DataError: as they say.
    """
    named = resolve_without_options(verb, sources).values["backend"]
    if named.value is not None:  # its options are checked before any file is looked at; a checkpoint may still name another
        resolve(verb, **sources, spec=chosen_backend(named, sources).spec)
    stated = facts()
    row = chosen_backend(resolve_without_options(verb, sources, stated).values["backend"], sources)
    resolved = resolve(verb, **sources, facts=stated, spec=row.spec)
    check_together(resolved)
    return resolved, row


def chosen_backend(named: Sourced, sources: Mapping[str, Any]) -> Row:
    """The backend of that name, or the only one; an error says where the name comes from."""
    from ptycho_core.backends import choose

    try:
        return choose(None if named.value is None else str(named.value), lists_of(sources))
    except PtychoError as error:
        if named.value is not None:
            error.source = error.source or named.where
        raise


def lists_of(sources: Mapping[str, Any]) -> Lists:
    """Which backends the settings file among the sources allows or blocks.

    Raises:
        SettingsError: it says it wrongly.
    """
    from ptycho_core.backends.lists import NO_LISTS

    file = sources.get("file")
    return lists_from_file(file) if isinstance(file, Path) else NO_LISTS


def resolve_without_options(verb: str, sources: Mapping[str, Any], facts: Facts | None = None) -> Resolved:
    """Resolve all settings but the options of a backend, which only its manifest can tell.

    Raises:
        SettingsError: as ``resolve``.
    """
    overrides = {name: value for name, value in (sources.get("overrides") or {}).items() if "." not in name}
    return resolve(verb, **{**sources, "overrides": overrides}, facts=facts)


def plan_for(resolved: Resolved, row: Row, *, allow_unsupported: bool) -> tuple[Backend, ExecutionPlan]:
    """Import the backend and ask its plan.

    Raises:
        BackendUnusableError, CapabilityError, HookError: as they say.
    """
    from ptycho_core.backends import load

    assert row.spec is not None
    _check_manifest(resolved, row.spec)
    backend = load(row, allow_mixed_frameworks=bool(resolved.values["allow_mixed_frameworks"].value))
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
    """Refuse what the manifest rules out, without importing the backend; the installed ones that can do it are named."""
    from ptycho_core.backends.registry import those_that

    verb = resolved.verb
    needed = {verb: ""} | {
        capability: resolved.values[name].where
        for name, (without, capability) in _NEEDS.items()
        if name in resolved.values and resolved.values[name].value != without
    }
    for word, where in needed.items():
        if word not in spec.capabilities:
            raise CapabilityError(
                f"backend '{spec.name}' does not provide '{word}'; it provides {', '.join(spec.capabilities)}.",
                remedy=those_that(_claims(verb, word)),
                source=where, backend=spec.name,
            )  # fmt: skip
    for name, kind, also in (("accelerator", "accelerators", ("auto",)), ("precision", "precisions", ())):
        one, offered = resolved.values[name], (*also, *getattr(spec, kind))
        if one.value not in offered:
            raise CapabilityError(
                f"{name} '{one.value}' is not available: backend '{spec.name}' offers {', '.join(offered)}.",
                remedy=f"Choose one of these. {those_that(_offers(verb, kind, one.value))}",
                source=one.where, backend=spec.name,
            )  # fmt: skip


def _claims(verb: str, word: str) -> Callable[[BackendSpec], bool]:
    return lambda spec: {verb, word} <= set(spec.capabilities)


def _offers(verb: str, kind: str, word: Value) -> Callable[[BackendSpec], bool]:
    return lambda spec: verb in spec.capabilities and word in getattr(spec, kind)
