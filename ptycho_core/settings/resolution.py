"""One value for every setting: the highest source wins, the others are remembered.

A job is resolved in one pass. The sources are read first, then what files state and the options of the backend are added, in the
order in which they become known; nothing is read or checked twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ptycho_core.errors import SettingsError, did_you_mean
from ptycho_core.settings.declare import Declaration, option_declaration
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.numbers import numbered
from ptycho_core.settings.sources import (
    ORIGINS,
    Given,
    SettingsFile,
    Typed,
    from_environment,
    from_execution,
    from_overrides,
    options_from_environment,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ptycho_core.backends.lists import AccessLists
    from ptycho_core.contract import BackendSpec, Value
    from ptycho_core.settings.execution import ExecutionSettings
    from ptycho_core.settings.sources import SettingsSource

__all__ = ["REQUESTING", "Facts", "Resolved", "Resolving", "Sourced", "resolve"]

REQUESTING = ("override", "execution object", "environment", "file")
"""Origins by which the user asked for a value."""


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

    @property
    def by_model(self) -> bool:
        """Whether a model file states it, whatever else does."""
        return "model" in (self.origin, *(one.origin for one in self.losers))

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
        """Names of what the user asked for; a default is never among them."""
        both = {**self.values, **self.options}
        return frozenset(name for name, one in both.items() if one.origin in REQUESTING)

    def stated(self, origin: str) -> dict[str, Sourced]:
        """The settings and options whose value is of one origin, such as ``model``: what the model file gave."""
        return {name: one for name, one in {**self.values, **self.options}.items() if one.origin == origin}

    def groups(self) -> dict[str, dict[str, Value]]:
        """Plain values by group, as they cross the contract; what is automatic and means a number is that number."""
        found: dict[str, dict[str, Value]] = {}
        for name, one in self.values.items():
            found.setdefault(declarations(self.verb)[name].group, {})[name] = one.value
        return numbered(self.verb, found)

    def as_dict(self) -> dict[str, Any]:
        """Everything for JSON."""
        return {name: one.as_dict() for name, one in {**self.values, **self.options}.items()}


class Resolving:
    """The one pass in which the settings of a job are resolved.

    Args:
        verb: the job.
        overrides: explicit values by name, a backend's option as ``BACKEND.NAME``; plain, or as ``Typed`` with the flag.
        execution: an execution object passed in code.
        environment: variables, of which those that begin with ``PTYCHO_`` count.
        file: a settings file in TOML, or what takes its place.

    Raises:
        SettingsError: an unknown name, a wrong type or range; the message names the source. Options are not looked at yet.
    """

    def __init__(
        self,
        verb: str,
        *,
        overrides: Mapping[str, object] | None = None,
        execution: ExecutionSettings | Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        file: Path | SettingsSource | None = None,
    ) -> None:
        self.verb, self._known = verb, declarations(verb)
        named = overrides or {}
        self._overrides = {name: value for name, value in named.items() if "." in name}
        self._environment = environment or {}
        self._facts = Facts()
        self._spec: BackendSpec | None = None
        given = from_overrides(self._known, {name: value for name, value in named.items() if "." not in name})
        given += from_execution(verb, execution)
        given += from_environment(verb, self._environment)
        self._file = SettingsFile(file) if isinstance(file, Path) else None
        given += [] if self._file is None else self._file.settings(verb)
        given += [] if file is None or isinstance(file, Path) else file.given(verb)
        self._given: dict[str, list[Given]] = {}
        self._options: dict[str, Declaration] = {}
        self._given_options: dict[str, list[Given]] = {}
        _add(self._given, given)

    def lists(self) -> AccessLists:
        """Which backends the settings file allows or blocks."""
        from ptycho_core.backends.lists import NO_LISTS

        return NO_LISTS if self._file is None else self._file.lists()

    def add_options(self, spec: BackendSpec) -> None:
        """Add the options of a backend, in place of those of another one.

        Raises:
            SettingsError: it has no such option, or not for this verb, or a value is of a wrong type or range; the message names
                the source.
        """
        options = {f"{spec.name}.{one.name}": option_declaration(spec.name, one) for one in spec.options}
        given = from_overrides(options, _own(self._overrides, spec))
        given += options_from_environment(self._environment, spec.name, options)
        given += [] if self._file is None else self._file.options(spec.name, options)
        self._spec, self._given_options = spec, {}
        self._options = {name: one for name, one in options.items() if self.verb in one.verbs}
        _check_verbs(self.verb, given, options)
        _add(self._given_options, [one for one in given if one.name in self._options])

    def add_facts(self, facts: Facts) -> None:
        """Add what files state of the settings of this verb; a model file also states what only its training needed.

        Raises:
            SettingsError: a value is of a wrong type or range, or a sealed one is contradicted; the message names both places.
        """
        self._facts = facts
        for origin, stated in (("data", facts.data), ("model", facts.model)):
            _add(self._given, _stated(stated, self._known, origin))
        for name in self._known:
            if name in facts.sealed:
                _check_sealed(self._given.get(name, ()))

    def value(self, name: str) -> Sourced:
        """A setting as far as it is known."""
        return _winner(self._known[name], self._given.get(name, ()), "core default")

    def asked(self, group: str) -> dict[str, Value]:
        """The settings of a group that something states so far, by name."""
        return {name: self.value(name).value for name, one in self._known.items() if one.group == group and self._given.get(name)}

    def resolved(self) -> Resolved:
        """Every setting, and every option of the backend, from what has been added.

        Raises:
            SettingsError: an option that the model states is of a wrong type or range.
        """
        values = {}
        for name, one in self._known.items():
            given = self._given.get(name, [])
            own = None if self._spec is None else one.of_backend(self._spec)
            if self._spec is not None and own is not None:
                given = [*given, Given(name, own, "backend default", f"manifest of '{self._spec.name}'")]
            values[name] = _winner(one, given, "core default")
        options = {name: list(self._given_options.get(name, ())) for name in self._options}
        _add(options, _stated(self._facts.model, self._options, "model"))
        chosen = {name: _winner(one, options[name], "backend default") for name, one in self._options.items()}
        return Resolved(self.verb, values, chosen)


def resolve(
    verb: str,
    *,
    facts: Facts | Callable[[Mapping[str, Value]], Facts] | None = None,
    spec: BackendSpec | None = None,
    **sources: Any,  # noqa: ANN401
) -> Resolved:
    """Resolve every setting of a verb at once.

    Args:
        verb: the job.
        facts: what the data and model files state; or what looks into them, with the *data* settings that are asked for.
        spec: the chosen backend, for its options; without one there are none.
        sources: as `Resolving` takes them.

    Raises:
        SettingsError: an unknown name, a wrong type or range, or a sealed fact contradicted; the message names the source.
    """
    given = Resolving(verb, **sources)
    if spec is not None:
        given.add_options(spec)
    if facts is not None:
        given.add_facts(facts(given.asked("data")) if callable(facts) else facts)
    return given.resolved()


def _check_verbs(verb: str, given: Sequence[Given], options: Mapping[str, Declaration]) -> None:
    """Refuse an option that is asked for and does not act in this verb; a file and a variable serve several verbs."""
    for one in given:
        if one.origin == "override" and verb not in options[one.name].verbs:
            acts = ", ".join(options[one.name].verbs)
            raise SettingsError(f"{one.where}: '{one.name}' acts in {acts} only, not in {verb}.", source=one.where)


def _own(overrides: Mapping[str, object], spec: BackendSpec) -> Mapping[str, object]:
    """The overrides with options under the backend's proper name; options of another backend are refused."""
    from ptycho_core.backends.known import normalise

    found: dict[str, object] = {}
    for name, value in overrides.items():
        written, _, option = name.partition(".")
        backend = normalise(written)
        full = f"{backend}.{option}"
        where = value.where if isinstance(value, Typed) else f"override '{name}'"
        if backend != spec.name:
            message = f"{where}: '{name}' is an option of backend '{backend}', but the backend is '{spec.name}'."
            raise SettingsError(message, source=where)
        if option not in [one.name for one in spec.options]:
            names = [f"{spec.name}.{one.name}" for one in spec.options]
            hint = did_you_mean(full, names) or (f" It has: {', '.join(names)}." if names else " It has none.")
            raise SettingsError(f"{where}: backend '{spec.name}' has no option '{full}'.{hint}", source=where)
        if full in found:
            raise SettingsError(f"{where}: '{full}' is given twice, under two spellings of the backend.", source=where)
        found[full] = value
    return found


def _stated(stated: Mapping[str, tuple[Value, str]], known: Mapping[str, Declaration], origin: str) -> list[Given]:
    """What files state of what is known; the rest is passed over."""
    return [
        Given(name, known[name].of_model.check(value, where), origin, where)
        for name, (value, where) in stated.items()
        if name in known
    ]


def _add(held: dict[str, list[Given]], given: Iterable[Given]) -> None:
    for one in given:
        held.setdefault(one.name, []).append(one)


def _check_sealed(given: Sequence[Given]) -> None:
    fact = next((one for origin in ("model", "data") for one in given if one.origin == origin), None)
    other = next((one for one in given if fact is not None and one.origin in REQUESTING and one.value != fact.value), None)
    if fact is not None and other is not None:
        asked, fixed = ("auto" if one.value is None else repr(one.value) for one in (other, fact))
        message = f"{other.where}: {other.name} = {asked} contradicts {fact.where}, which fixes it at {fixed}."
        raise SettingsError(message, source=other.where)


def _winner(one: Declaration, given: Iterable[Given], default: str) -> Sourced:
    mine = sorted(given, key=lambda item: ORIGINS.index(item.origin))
    mine.append(Given(one.name, one.default, default, "declaration" if default == "core default" else "manifest"))
    return Sourced(mine[0].value, mine[0].origin, mine[0].where, tuple(mine[1:]))
