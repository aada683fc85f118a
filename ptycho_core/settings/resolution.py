"""One value for every setting: the highest source wins, the others are remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ptycho_core.contract import BackendSpec, Value
from ptycho_core.errors import SettingsError, did_you_mean
from ptycho_core.settings.declare import Declaration, option_declaration
from ptycho_core.settings.execution import ExecutionSettings
from ptycho_core.settings.groups import GROUPS, declarations
from ptycho_core.settings.sources import ORIGINS, Given, from_environment, from_execution, from_file, from_overrides

__all__ = ["REQUESTING", "Resolved", "Sourced", "resolve"]

REQUESTING = ("override", "execution object", "environment", "file")
"""Origins by which somebody asked for a value."""

_Group = TypeVar("_Group")


@dataclass(frozen=True)
class Sourced:
    """A resolved value, where it came from, and what it beat (highest first)."""

    value: Value
    origin: str
    where: str
    losers: tuple[Given, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        beat = [{"value": one.value, "origin": one.origin, "where": one.where} for one in self.losers]
        return {"value": self.value, "origin": self.origin, "where": self.where, "beat": beat}


@dataclass(frozen=True)
class Resolved:
    """Every setting of a verb, and every option of its backend, with its source."""

    verb: str
    values: Mapping[str, Sourced]
    options: Mapping[str, Sourced]

    @property
    def requested(self) -> frozenset[str]:
        """Names of what somebody asked for; a default is never among them."""
        both = {**self.values, **self.options}
        return frozenset(name for name, one in both.items() if one.origin in REQUESTING)

    def group(self, group: type[_Group]) -> _Group:
        """The typed object of a group."""
        return group(**{name: one.value for name, one in self.values.items() if declarations(self.verb)[name].group == group.GROUP})  # type: ignore[attr-defined]

    def groups(self) -> dict[str, dict[str, Value]]:
        """Plain values by group, as they cross the contract."""
        found: dict[str, dict[str, Value]] = {str(group.GROUP): {} for group in GROUPS}  # type: ignore[attr-defined]
        for name, one in self.values.items():
            found[declarations(self.verb)[name].group][name] = one.value
        return found

    def as_dict(self) -> dict[str, Any]:
        """Everything for JSON."""
        return {name: one.as_dict() for name, one in {**self.values, **self.options}.items()}


def resolve(
    verb: str,
    *,
    overrides: Mapping[str, object] | None = None,
    wheres: Mapping[str, str] | None = None,
    execution: ExecutionSettings | Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
    facts: Mapping[str, tuple[Value, str]] | None = None,
    sealed: frozenset[str] = frozenset(),
    spec: BackendSpec | None = None,
) -> Resolved:
    """Resolve every setting of a verb.

    Args:
        verb: the job.
        overrides: explicit values by name, a backend's option as ``BACKEND.NAME``.
        wheres: the flag behind an override, where there was one.
        execution: an execution object passed in code.
        environment: variables, of which those that begin with ``PTYCHO_`` count.
        file: a settings file in TOML.
        facts: what the data or model file states: value and place.
        sealed: facts that no other source may change.
        spec: the chosen backend, for its options.

    Raises:
        SettingsError: an unknown name, a wrong type or range, or a sealed fact contradicted; the message names the source.
    """
    options = {} if spec is None else {f"{spec.name}.{one.name}": option_declaration(spec.name, one) for one in spec.options}
    given = from_overrides(verb, _own(overrides or {}, spec), options, wheres or {})
    given += from_execution(verb, execution)
    given += from_environment(verb, environment or {}, options)
    given += [] if file is None else from_file(verb, file, "" if spec is None else spec.name, options)
    given += [Given(name, value, "data", where) for name, (value, where) in (facts or {}).items()]
    values = {name: _winner(one, given, sealed, "core default") for name, one in declarations(verb).items()}
    chosen = {name: _winner(one, given, sealed, "backend default") for name, one in options.items()}
    _check_together(values)
    return Resolved(verb, values, chosen)


def _own(overrides: Mapping[str, object], spec: BackendSpec | None) -> Mapping[str, object]:
    for name in overrides:
        backend, dot, option = name.partition(".")
        if not dot or spec is None:
            continue
        if backend != spec.name:
            raise SettingsError(f"option '{name}' belongs to backend '{backend}', but the backend is '{spec.name}'.", source=f"--opt {name}")
        if option not in [one.name for one in spec.options]:
            names = [f"{spec.name}.{one.name}" for one in spec.options]
            hint = did_you_mean(name, names) or (f" It has: {', '.join(names)}." if names else " It has none.")
            raise SettingsError(f"backend '{spec.name}' has no option '{name}'.{hint}", source=f"--opt {name}")
    return overrides


def _winner(one: Declaration, given: Sequence[Given], sealed: frozenset[str], default: str) -> Sourced:
    mine = sorted((item for item in given if item.name == one.name), key=lambda item: ORIGINS.index(item.origin))
    if one.name in sealed:
        fact = next((item for item in mine if item.origin == "data"), None)
        other = next((item for item in mine if fact is not None and item.value != fact.value), None)
        if fact is not None and other is not None:
            raise SettingsError(
                f"{other.where}: {one.name} = {other.value!r} contradicts {fact.where}, which fixes it at {fact.value!r}.", source=other.where
            )
    mine.append(Given(one.name, one.default, default, "declaration" if default == "core default" else "manifest"))
    return Sourced(mine[0].value, mine[0].origin, mine[0].where, tuple(mine[1:]))


def _check_together(values: Mapping[str, Sourced]) -> None:
    names = ("photon_energy_ev", "detector_distance_m", "detector_pixel_size_m")
    there = [name for name in names if name in values and values[name].value is not None]
    if there and len(there) < len(names):
        missing = [name for name in names if name not in there]
        where = values[there[0]].where
        raise SettingsError(f"{where}: a scale in metres needs {' and '.join(missing)} too.", source=where)
