"""All backends of this process, installed or registered, and the choice of one of them. There is no fallback."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ptycho_core import contract
from ptycho_core.backends.discovery import EntryPointClaim, canonical, scan
from ptycho_core.backends.known import how_to_install, known_backends, normalise
from ptycho_core.backends.lists import NO_LISTS, AccessLists, split_name
from ptycho_core.backends.manifest import check_spec, read_manifest
from ptycho_core.backends.states import NO_OTHER, BackendInfo, absent, examine_claim, framework_state, unusable
from ptycho_core.errors import BackendUnusableError, UnknownBackendError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "RESERVED",
    "backends_that",
    "bad_name",
    "choose",
    "find_backends",
    "find_named",
    "register",
    "registered_plugin",
    "unregister",
]

RESERVED: Final = frozenset({"auto", "all", "none", "list", "core"})
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_registered: dict[str, tuple[object, contract.BackendSpec]] = {}


def find_backends(lists: AccessLists = NO_LISTS) -> tuple[BackendInfo, ...]:
    """One row for each installed or registered backend, by name, then distribution. Runs no third-party code.

    Args:
        lists: which may be used, where the environment does not say it.
    """
    lists = lists.below_environment()
    claims: dict[str, list[EntryPointClaim]] = {}
    for claim in scan():
        claims.setdefault(claim.name, []).append(claim)
    rows = [row for name, rivals in claims.items() for row in _rows(name, rivals, lists)]
    rows += [_registered_row(name, lists) for name in _registered]
    return tuple(sorted(rows, key=lambda row: (row.name, row.distribution)))


def choose(name: str | None = None, lists: AccessLists = NO_LISTS, rows: tuple[BackendInfo, ...] | None = None) -> BackendInfo:
    """The one backend to use, in state ``ok``.

    Args:
        name: a name or alias, ``NAME@DISTRIBUTION`` where two distributions provide the same name, or None for the only
            usable one; those that are taken only by name do not count then, nor those that are taken only alone if any
            other is installed, in whatever state.
        lists: which may be used, where the environment does not say it.
        rows: what ``find_backends`` gave for these lists, where a job has looked already.

    Raises:
        UnknownBackendError: no such backend; or None was given and several are usable.
        BackendUnusableError: it is known or installed but not in state ``ok``; or None was given and none is usable.
    """
    if name is None:
        return _only(find_backends(lists) if rows is None else rows)
    row = find_named(name, lists, rows)[0]
    if row.state != "ok":
        raise unusable(row)
    return replace(row, chosen_by="named")


def find_named(name: str, lists: AccessLists = NO_LISTS, rows: tuple[BackendInfo, ...] | None = None) -> tuple[BackendInfo, ...]:
    """The rows behind a name, an alias or ``NAME@DISTRIBUTION``, in whatever state; more than one only if several provide it.

    Arguments are those of ``choose``.

    Raises:
        UnknownBackendError: neither installed nor known.
        BackendUnusableError: known, but its plugin is not installed.
    """
    plain, distribution = split_name(name)
    rows = find_backends(lists) if rows is None else rows
    named = tuple(row for row in rows if row.name == plain)
    if not named:
        raise _not_installed(plain, name, rows, lists)
    if not distribution:
        usable = tuple(row for row in named if row.state != "blocked")
        return usable or named
    lists = lists.below_environment()
    for row in named:
        if row.claim is not None and canonical(row.claim.distribution) == distribution:
            return tuple(_rows(plain, [row.claim], lists))
    providers = ", ".join(row.source for row in named)
    raise UnknownBackendError(f"backend '{plain}' is not provided by '{distribution}', but by {providers}.", backend=plain)


def backends_that(
    can: Callable[[contract.BackendSpec], bool], rows: Iterable[BackendInfo] | None = None, *, is_verb: bool = False
) -> str:
    """A sentence: which of the installed backends can do something, from their manifests alone; ``rows`` as in ``choose``.

    Where it is a verb, which all known backends provide, and no installed one is meant for it, they and their pip lines follow.
    """
    rows = find_backends() if rows is None else rows
    found = [row for row in rows if row.spec is not None and can(row.spec)]
    words = dict.fromkeys(row.name if row.state == "ok" else f"{row.name} ({row.state})" for row in found)
    text = f"Installed ones that provide it: {', '.join(words)}." if found else "No installed backend provides it."
    return f"{text} {how_to_install()}" if is_verb and all(row.only_by_name for row in found) else text


def register(name: str, plugin: object, manifest: contract.BackendSpec | Path | None = None) -> None:
    """Make a backend known to this process without an entry point: for notebooks and tests.

    It passes the checks that an installed one passes: here those of the manifest, and the rest when it is loaded.

    Args:
        name: the backend's name.
        plugin: module or object with the hook implementations.
        manifest: its manifest: a specification or the path of a file; None asks the plugin's ``ptycho_backend_spec``.

    Raises:
        UsageError: the name is malformed, reserved or taken.
        BackendUnusableError: the manifest does not hold.
    """
    problem = bad_name(name)
    if problem:
        raise UsageError(f"{problem}.", backend=name)
    if name in _registered or any(claim.name == name for claim in scan()):
        raise UsageError(f"a backend '{name}' is already there.", remedy="Register it under another name.", backend=name)
    if isinstance(manifest, Path):
        spec = read_manifest(manifest, name)
    else:
        spec = manifest if manifest is not None else _ask(name, plugin)
        if spec.name != name:
            raise BackendUnusableError(f"the manifest says '{spec.name}', not '{name}'.", state="broken", backend=name)
        check_spec(spec)
    _registered[name] = (plugin, spec)


def unregister(name: str) -> None:
    """Forget a backend that ``register`` made known; an unknown name is a ``UsageError``."""
    if name not in _registered:
        raise UsageError(f"no backend '{name}' was registered in this process.", backend=name)
    del _registered[name]


def registered_plugin(name: str) -> object:
    """The module or object that was registered under a name."""
    return _registered[name][0]


def _rows(name: str, claims: list[EntryPointClaim], lists: AccessLists) -> list[BackendInfo]:
    problem = bad_name(name)
    if problem:
        return [
            BackendInfo(one.name, one.name, "broken", problem, distribution=one.distribution, version=one.version, claim=one)
            for one in claims
        ]
    rows = [examine_claim(claim, lists) for claim in claims]
    rivals = [row for row in rows if row.state != "blocked"]
    if len(rivals) < 2:
        return rows
    sources = [row.source for row in rivals]
    if len(set(sources)) == 1:
        reason = f"{sources[0]} declares it {len(rivals)} times"
        return [replace(row, state="broken", reason=reason) if row in rivals else row for row in rows]
    reason = f"{len(rivals)} distributions provide it: {', '.join(sources)}"
    remedy = f"Choose with {' or '.join(f'--backend {row.address}' for row in rivals)}, or uninstall one."
    return [replace(row, state="conflict", reason=reason, remedy=remedy) if row in rivals else row for row in rows]


def bad_name(name: str) -> str:
    """Why a name cannot be that of a backend, as a sentence without a full stop; empty if it can."""
    if not _NAME.fullmatch(name):
        return f"'{name}' is no name for a backend: lower-case letters, digits and '_', a letter first, at most 32 characters"
    if name in RESERVED:
        return f"'{name}' is a reserved word and no name for a backend"
    if normalise(name) != name:
        return f"'{name}' is another spelling of '{normalise(name)}' and no name for a backend"
    return ""


def _registered_row(name: str, lists: AccessLists) -> BackendInfo:
    spec = _registered[name][1]
    blocked = lists.refusal(name, "")
    if blocked:
        return BackendInfo(name, spec.title, "blocked", blocked, spec=spec)
    state, reason, remedy, found = framework_state(spec)
    return BackendInfo(name, spec.title, state, reason, remedy, framework_version=found, spec=spec)


def _ask(name: str, plugin: object) -> contract.BackendSpec:
    hook = getattr(plugin, "ptycho_backend_spec", None)
    spec = hook() if callable(hook) else None
    if not isinstance(spec, contract.BackendSpec):
        reason = "no manifest was given, and the plugin's ptycho_backend_spec returns no BackendSpec."
        raise BackendUnusableError(reason, state="undeclared", backend=name)
    return spec


def _only(found: tuple[BackendInfo, ...]) -> BackendInfo:
    declared = [(row, row.declared) for row in found]
    rows = [row for row, spec in declared if not (spec and spec.only_by_name)]
    last = [row for row, spec in declared if spec and spec.only_alone and row in rows]
    rows = [row for row in rows if row not in last] or last  # one that is broken is not replaced in silence
    usable = [row for row in rows if row.state == "ok"]
    if len(usable) == 1:
        return replace(usable[0], chosen_by=NO_OTHER if usable[0] in last else "only installed")
    if usable:
        names = ", ".join(row.name for row in usable)
        raise UnknownBackendError(f"several backends are installed: {names}.", remedy="Choose one with --backend NAME.")
    if not rows:
        named = ", ".join(f"'{row.name}'" for row in found)
        but = f" but {named}, which is taken only by name" if named else ""
        raise BackendUnusableError(f"no backend is installed{but}.", state="missing", remedy=how_to_install())
    reasons = "; ".join(f"{row.name}: {row.reason}{'. ' + row.remedy if row.remedy else ''}" for row in rows)
    flags = " or ".join(f"--backend {row.name}" for row in last if row.state == "ok")
    remedy = f"{flags} would do without it." if flags else ""
    message = f"no installed backend is usable. {reasons}{'' if reasons.endswith(('.', '?')) else '.'}"
    raise BackendUnusableError(message, state=rows[0].state, remedy=remedy, backend=rows[0].name)


def _not_installed(name: str, given: str, rows: Iterable[BackendInfo], lists: AccessLists) -> Exception:
    known = known_backends().get(name)
    if known is None:
        installed = sorted({row.name for row in rows})
        spellings = {*installed, *known_backends(), *(alias for item in known_backends().values() for alias in item.aliases)}
        listing = f"Installed: {', '.join(installed)}." if installed else f"None is installed. {how_to_install()}"
        return UnknownBackendError(f"backend '{given}' is not known. {listing}{did_you_mean(name, spellings)}", backend=name)
    blocked = lists.below_environment().refusal(name, known.plugin)
    if blocked:
        return unusable(BackendInfo(name, known.title, "blocked", blocked))
    bare = bool(absent(known.module, known.title))
    what = f"neither its plugin ({known.plugin}) nor {known.title} itself is installed"
    reason = what if bare else f"its plugin ({known.plugin}) is not installed"
    return unusable(BackendInfo(name, known.title, "missing", reason, known.remedy(framework=bare)))
