"""One value for every setting: the highest source wins, the others are remembered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ptycho_core.errors import SettingsError, did_you_mean
from ptycho_core.settings.declare import Declaration, option_declaration
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.sources import (
    ORIGINS,
    Given,
    Typed,
    from_environment,
    from_execution,
    from_file,
    from_overrides,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ptycho_core.contract import BackendSpec, Value
    from ptycho_core.settings.execution import ExecutionSettings
    from ptycho_core.settings.sources import SettingsSource

__all__ = ["REQUESTING", "Facts", "Resolved", "Sourced", "resolve"]

REQUESTING = ("override", "execution object", "environment", "file")
"""Origins by which somebody asked for a value."""


class Facts(NamedTuple):
    """What files state: values with their places, by name.

    Attributes:
        data: of the scan's file.
        model: of the model file; a name that is neither a setting of the verb nor an option of the backend is passed over.
        sealed: names of those that no other source may change.
    """

    data: Mapping[str, tuple[Value, str]] = {}
    model: Mapping[str, tuple[Value, str]] = {}
    sealed: frozenset[str] = frozenset()


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

    def stated(self, origin: str) -> dict[str, Sourced]:
        """The settings and options whose value is of one origin, such as ``model``: what the model file gave."""
        return {name: one for name, one in {**self.values, **self.options}.items() if one.origin == origin}

    def groups(self) -> dict[str, dict[str, Value]]:
        """Plain values by group, as they cross the contract: the groups of which the verb takes settings."""
        found: dict[str, dict[str, Value]] = {}
        for name, one in self.values.items():
            found.setdefault(declarations(self.verb)[name].group, {})[name] = one.value
        return found

    def as_dict(self) -> dict[str, Any]:
        """Everything for JSON."""
        return {name: one.as_dict() for name, one in {**self.values, **self.options}.items()}


def resolve(
    verb: str,
    *,
    overrides: Mapping[str, object] | None = None,
    execution: ExecutionSettings | Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    file: Path | SettingsSource | None = None,
    facts: Facts | None = None,
    spec: BackendSpec | None = None,
) -> Resolved:
    """Resolve every setting of a verb.

    Args:
        verb: the job.
        overrides: explicit values by name, a backend's option as ``BACKEND.NAME``; plain, or as ``Typed`` with the flag.
        execution: an execution object passed in code.
        environment: variables, of which those that begin with ``PTYCHO_`` count.
        file: a settings file in TOML, or what takes its place.
        facts: what the data and model files state.
        spec: the chosen backend, for its options.

    Raises:
        SettingsError: an unknown name, a wrong type or range, or a sealed fact contradicted; the message names the source.
    """
    options = {} if spec is None else {f"{spec.name}.{one.name}": option_declaration(spec.name, one) for one in spec.options}
    backend = "" if spec is None else spec.name
    given = from_overrides(verb, _own(overrides or {}, spec), options)
    given += from_execution(verb, execution)
    given += from_environment(verb, environment or {}, options, backend)
    if isinstance(file, Path):
        given += from_file(verb, file, backend, options)
    elif file is not None:
        given += file.given(verb)
    stated = facts or Facts()
    given += _stated(stated, declarations(verb) | options)
    for one in declarations(verb).values():
        if spec is not None and (own := one.of_backend(spec)) is not None:
            given.append(Given(one.name, own, "backend default", f"manifest of '{spec.name}'"))
    values = {name: _winner(one, given, stated.sealed, "core default") for name, one in declarations(verb).items()}
    chosen = {name: _winner(one, given, stated.sealed, "backend default") for name, one in options.items()}
    return Resolved(verb, values, chosen)


def _own(overrides: Mapping[str, object], spec: BackendSpec | None) -> Mapping[str, object]:
    """The overrides with options under the backend's proper name; options of another backend are refused."""
    from ptycho_core.backends.known import normalise

    found: dict[str, object] = {}
    for name, value in overrides.items():
        written, dot, option = name.partition(".")
        backend = normalise(written)
        full = f"{backend}.{option}" if dot else name
        where = value.where if isinstance(value, Typed) else f"override '{name}'"
        if dot and spec is not None and backend != spec.name:
            message = f"{where}: '{name}' is an option of backend '{backend}', but the backend is '{spec.name}'."
            raise SettingsError(message, source=where)
        if dot and spec is not None and option not in [one.name for one in spec.options]:
            names = [f"{spec.name}.{one.name}" for one in spec.options]
            hint = did_you_mean(full, names) or (f" It has: {', '.join(names)}." if names else " It has none.")
            raise SettingsError(f"{where}: backend '{spec.name}' has no option '{full}'.{hint}", source=where)
        if full in found:
            raise SettingsError(f"{where}: '{full}' is given twice, under two spellings of the backend.", source=where)
        found[full] = value
    return found


def _stated(facts: Facts, known: Mapping[str, Declaration]) -> list[Given]:
    """What files state of the settings of this verb; a model file also states what only its training needed."""
    found = [Given(name, known[name].check(value, where), "data", where) for name, (value, where) in facts.data.items()]
    for name, (value, where) in facts.model.items():
        if name in known:
            found.append(Given(name, known[name].check(value, where), "model", where))
    return found


def _winner(one: Declaration, given: Sequence[Given], sealed: frozenset[str], default: str) -> Sourced:
    mine = sorted((item for item in given if item.name == one.name), key=lambda item: ORIGINS.index(item.origin))
    if one.name in sealed:
        fact = next((item for item in mine if item.origin in ("model", "data")), None)
        other = next((item for item in mine if fact and item.origin in REQUESTING and item.value != fact.value), None)
        if fact is not None and other is not None:
            message = f"{other.where}: {one.name} = {other.value!r} contradicts {fact.where}, which fixes it at {fact.value!r}."
            raise SettingsError(message, source=other.where)
    mine.append(Given(one.name, one.default, default, "declaration" if default == "core default" else "manifest"))
    return Sourced(mine[0].value, mine[0].origin, mine[0].where, tuple(mine[1:]))
