"""From resolved settings to a plan: choose the backend, hold the settings against its manifest, import it, ask its plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ptycho_core.contract import BackendSpec, ExecutionPlan, ExecutionRequest, Value
from ptycho_core.errors import CapabilityError, PtychoError
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.resolution import Facts, Resolved, Resolving, Sourced
from ptycho_core.settings.rules import check_together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ptycho_core.backends.loading import Backend
    from ptycho_core.backends.states import BackendInfo

__all__ = ["Decided", "plan_for", "plan_of_trial", "plan_verb", "resolve_for"]

_NEEDS: Final[Mapping[str, Mapping[Value, str]]] = {
    "refine_positions": {"on": "positions", "search": "position-search", "affine": "position-search"},
    "background": {"constant": "background", "pixel": "background"},
    "refine_flux": {True: "flux"},
    "regime": {"near": "near-field"},
}
"""The capability that a backend must have for the value of a setting."""


class Decided(NamedTuple):
    """What is decided about a job before its backend is imported.

    Attributes:
        resolved: every setting of the verb and every option of the backend.
        row: the chosen backend.
        rows: all backends, as one look at the manifests found them.
    """

    resolved: Resolved
    row: BackendInfo
    rows: tuple[BackendInfo, ...]


def plan_verb(verb: str, overrides: Mapping[str, object], environment: Mapping[str, str]) -> tuple[Backend, ExecutionPlan]:
    """Backend and plan of a verb that has no files: settings come from ``overrides`` and the environment.

    Raises:
        SettingsError, BackendUnusableError, CapabilityError: as the factories of payloads.
    """
    decided = resolve_for(verb, {"overrides": overrides, "environment": environment})
    return plan_for(decided, allow_unsupported=False)


def resolve_for(
    verb: str,
    sources: Mapping[str, Any],
    facts: Callable[[Mapping[str, Value]], Facts] | None = None,
    rows: tuple[BackendInfo, ...] | None = None,
) -> Decided:
    """Resolve in one pass: the settings by themselves, options of a backend that is named, facts of files. Imports no plugin.

    Args:
        verb: the job.
        sources: arguments of ``Resolving`` by name.
        facts: looks into the files, with the *data* settings that are asked for; called once settings are right by themselves.
        rows: the backends, where this job has looked for them already.

    Raises:
        SettingsError, BackendUnusableError, UnknownBackendError, DataError: as they say.
    """
    from ptycho_core.backends.registry import find_backends

    resolving = Resolving(verb, **sources)
    rows = find_backends(resolving.lists()) if rows is None else rows
    row, named = None, resolving.value("backend")
    if named.value is not None:  # its options are checked before any file is looked at; a checkpoint may still name another
        row = _chosen(named, resolving, rows)
        resolving.add_options(_spec(row))
    if facts is not None:
        resolving.add_facts(facts(resolving.asked("data")))
    stated = resolving.value("backend")
    if row is None or stated.value != named.value:
        row = _chosen(stated, resolving, rows)
        resolving.add_options(_spec(row))
    resolved = resolving.resolved()
    check_together(resolved)
    return Decided(resolved, row, rows)


def _chosen(named: Sourced, resolving: Resolving, rows: tuple[BackendInfo, ...]) -> BackendInfo:
    """The backend of that name, or the only one; an error says where the name comes from."""
    from ptycho_core.backends import choose

    try:
        return choose(None if named.value is None else str(named.value), resolving.lists(), rows)
    except PtychoError as error:
        if named.value is not None:
            error.source = error.source or named.where
        raise


def _spec(row: BackendInfo) -> BackendSpec:
    assert row.spec is not None  # a row that was chosen has a manifest
    return row.spec


def plan_for(decided: Decided, *, allow_unsupported: bool) -> tuple[Backend, ExecutionPlan]:
    """Import the backend and ask its plan.

    Raises:
        BackendUnusableError, CapabilityError, HookError: as they say.
    """
    from ptycho_core.backends import load

    resolved, row, rows = decided
    _check_manifest(resolved, _spec(row), rows)
    backend = load(row, allow_mixed_frameworks=bool(resolved.values["allow_mixed_frameworks"].value), rows=rows)
    plan = _asked_plan(backend, resolved)
    for name, answer in plan.dispositions.items():
        if answer.kind == "unsupported" and not allow_unsupported:
            one = {**resolved.values, **resolved.options}[name]
            raise CapabilityError(
                f"backend '{backend.name}': {name} = {one.value}: {answer.why}.",
                remedy="Choose another value, or continue without it with --allow-unsupported.",
                source=one.where, backend=backend.name, distribution=backend.source,
            )  # fmt: skip
    return backend, plan


def plan_of_trial(
    backend: Backend,
    job: Mapping[str, Mapping[str, Value]],
    plan: ExecutionPlan,
    trial: Mapping[str, Value],
    verb: str = "reconstruct",
) -> tuple[dict[str, dict[str, Value]], ExecutionPlan]:
    """Settings by group, and the plan, of short reconstructions or inferences that a job needs besides, with its own backend.

    Args:
        backend: that of the job.
        job: its settings by group.
        plan: its plan.
        trial: the settings in which they differ. What a backend does not honor of them it leaves aside.
        verb: of them.
    """
    taken = {name: value for name, value in plan.execution.items() if name in declarations(verb)}
    acting = [one.name for one in backend.spec.options if not one.verbs or verb in one.verbs]
    options = {f"{backend.name}.{name}": plan.options[name] for name in acting if name in plan.options}
    resolving = Resolving(verb, overrides={**taken, **options, **trial, "backend": backend.name}, environment={})
    resolving.add_options(backend.spec)
    resolved = resolving.resolved()
    found = _asked_plan(backend, resolved)
    return {**resolved.groups(), "data": dict(job["data"]), "execution": dict(found.execution)}, found


def _asked_plan(backend: Backend, resolved: Resolved) -> ExecutionPlan:
    """The plan of a backend, which has a value for everything."""
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
    return plan


def _check_manifest(resolved: Resolved, spec: BackendSpec, rows: tuple[BackendInfo, ...]) -> None:
    """Refuse what the manifest rules out, without importing the backend; the installed ones that can do it are named."""
    from ptycho_core.backends.registry import backends_that

    verb = resolved.verb
    needed = {verb: ""} | {
        word: resolved.values[name].where
        for name in (*_NEEDS, "saturation")
        if name in resolved.values and (word := _need(name, resolved.values[name].value))
    }
    for word, where in needed.items():
        if word not in spec.capabilities:
            raise CapabilityError(
                f"backend '{spec.name}' does not provide '{word}'; it provides {', '.join(spec.capabilities)}.",
                remedy=backends_that(_claims(verb, word), rows, is_verb=word == verb),
                source=where, backend=spec.name,
            )  # fmt: skip
    for name, kind, also in (("accelerator", "accelerators", ("auto",)), ("precision", "precisions", ())):
        one, offered = resolved.values[name], (*also, *getattr(spec, kind))
        if one.value not in offered:
            raise CapabilityError(
                f"{name} '{one.value}' is not available: backend '{spec.name}' offers {', '.join(offered)}.",
                remedy=f"Choose one of these. {backends_that(_offers(verb, kind, one.value), rows)}",
                source=one.where, backend=spec.name,
            )  # fmt: skip


def _need(name: str, value: Value) -> str:
    """The capability that a value of a setting takes; empty where it takes none, as auto does."""
    if name == "saturation":
        return name if value else ""
    return _NEEDS[name].get(value, "")


def _claims(verb: str, word: str) -> Callable[[BackendSpec], bool]:
    return lambda spec: {verb, word} <= set(spec.capabilities)


def _offers(verb: str, kind: str, word: Value) -> Callable[[BackendSpec], bool]:
    return lambda spec: verb in spec.capabilities and word in getattr(spec, kind)
