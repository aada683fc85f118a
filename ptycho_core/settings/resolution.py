"""One value for every setting: the highest source wins, the others are remembered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ptycho_core.errors import SettingsError, did_you_mean
from ptycho_core.settings.declare import Declaration, option_declaration
from ptycho_core.settings.execution import ExecutionSettings
from ptycho_core.settings.groups import GROUPS, declarations
from ptycho_core.settings.sources import ORIGINS, Given, Typed, from_environment, from_execution, from_file, from_overrides

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ptycho_core.contract import BackendSpec, Value

__all__ = ["REQUESTING", "Resolved", "Sourced", "check_together", "resolve"]

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
        return group(**self.groups()[group.GROUP])  # type: ignore[attr-defined]

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
        overrides: explicit values by name, a backend's option as ``BACKEND.NAME``; plain, or as ``Typed`` with the flag.
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
    backend = "" if spec is None else spec.name
    given = from_overrides(verb, _own(overrides or {}, spec), options)
    given += from_execution(verb, execution)
    given += from_environment(verb, environment or {}, options, backend)
    given += [] if file is None else from_file(verb, file, backend, options)
    for name, (value, where) in (facts or {}).items():
        given.append(Given(name, declarations(verb)[name].check(value, where), "data", where))
    given += [] if spec is None else _backend_defaults(spec)
    values = {name: _winner(one, given, sealed, "core default") for name, one in declarations(verb).items()}
    chosen = {name: _winner(one, given, sealed, "backend default") for name, one in options.items()}
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


def _backend_defaults(spec: BackendSpec) -> list[Given]:
    """The first precision of the manifest, where the backend does not offer the core's default."""
    if not spec.precisions or ExecutionSettings().precision in spec.precisions:
        return []
    return [Given("precision", spec.precisions[0], "backend default", f"manifest of '{spec.name}'")]


def _winner(one: Declaration, given: Sequence[Given], sealed: frozenset[str], default: str) -> Sourced:
    mine = sorted((item for item in given if item.name == one.name), key=lambda item: ORIGINS.index(item.origin))
    if one.name in sealed:
        fact = next((item for item in mine if item.origin == "data"), None)
        other = next((item for item in mine if fact and item.origin in REQUESTING and item.value != fact.value), None)
        if fact is not None and other is not None:
            message = f"{other.where}: {one.name} = {other.value!r} contradicts {fact.where}, which fixes it at {fact.value!r}."
            raise SettingsError(message, source=other.where)
    mine.append(Given(one.name, one.default, default, "declaration" if default == "core default" else "manifest"))
    return Sourced(mine[0].value, mine[0].origin, mine[0].where, tuple(mine[1:]))


def check_together(resolved: Resolved) -> None:
    """The rule between settings: photon energy, detector distance and pixel size make a scale only together.

    Raises:
        SettingsError: one was asked for, and another is known neither from a setting nor from the data.
    """
    values = resolved.values
    names = ("photon_energy_ev", "detector_distance_m", "detector_pixel_size_m")
    asked = [name for name in names if name in values and values[name].origin in REQUESTING and values[name].value is not None]
    missing = [name for name in names if name in values and values[name].value is None]
    if asked and missing:
        where = values[asked[0]].where
        message = f"{where}: {asked[0]} gives a scale in metres only where {' and '.join(missing)} is known too."
        raise SettingsError(message, source=where)
