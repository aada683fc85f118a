"""Where values come from: overrides, an execution object, the environment, a file, the data, the backend, the core."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

from ptycho_core.errors import SettingsError, did_you_mean
from ptycho_core.files.links import FOLLOW
from ptycho_core.settings.execution import ExecutionSettings
from ptycho_core.settings.groups import declarations, grouped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from ptycho_core.backends.lists import AccessLists
    from ptycho_core.contract import Value
    from ptycho_core.settings.declare import Declaration

__all__ = [
    "NOT_SETTINGS",
    "OPTION_VARIABLES",
    "ORIGINS",
    "Given",
    "SettingsFile",
    "SettingsSource",
    "Typed",
    "check_name",
    "from_environment",
    "from_execution",
    "from_overrides",
    "options_from_environment",
]

ORIGINS = (
    "override", "execution object", "environment", "file", "model", "data", "command default", "backend default", "core default",
)  # fmt: skip
"""The ranks, highest first."""

NOT_SETTINGS = ("PTYCHO_BACKENDS_ALLOW", "PTYCHO_BACKENDS_BLOCK", FOLLOW)
"""Variables that are no settings."""

OPTION_VARIABLES = "PTYCHO_OPT_"
"""What the variables of the options of backends begin with."""


@dataclass(frozen=True)
class Typed:
    """An override from the command line: its text, or the truth that a flag stands for, and the flag as it was typed."""

    value: str | bool
    where: str


@dataclass(frozen=True)
class Given:
    """One given value: its origin (one of ``ORIGINS``) and where exactly."""

    name: str
    value: Value
    origin: str
    where: str


class SettingsSource(Protocol):
    """What can take the place of a settings file: the words of another program."""

    def given(self, verb: str) -> list[Given]:
        """The values that it gives a verb, checked.

        Raises:
            SettingsError: an unknown name, a wrong type or range.
        """


def from_overrides(known: Mapping[str, Declaration], values: Mapping[str, object]) -> list[Given]:
    """Explicit overrides of settings or of options: what was typed, or keyword arguments."""
    found = []
    for name, value in values.items():
        where = value.where if isinstance(value, Typed) else f"override '{name}'"
        check_name(name, known, where)
        plain = value.value if isinstance(value, Typed) else value
        text = isinstance(value, Typed) and isinstance(plain, str)
        checked = known[name].parse(str(plain), where) if text else known[name].check(plain, where)
        found.append(Given(name, checked, "override", where))
    return found


def from_execution(verb: str, execution: ExecutionSettings | Mapping[str, object] | None) -> list[Given]:
    """An execution object passed in code.

    Of an ``ExecutionSettings`` a value equal to its default is no request (they look the same); a mapping can ask for a default.
    """
    if execution is None:
        return []
    if isinstance(execution, ExecutionSettings):
        pairs = {item.name: (getattr(execution, item.name), item.default) for item in fields(execution)}
        values: Mapping[str, object] = {name: value for name, (value, default) in pairs.items() if value != default}
    else:
        values = execution
    known = {name: one for name, one in declarations(verb).items() if one.group == "execution"}
    found = []
    for name, value in values.items():
        where = f"execution object '{name}'"
        check_name(name, known, where)
        found.append(Given(name, known[name].check(value, where), "execution object", where))
    return found


def from_environment(verb: str, environment: Mapping[str, str]) -> list[Given]:
    """``PTYCHO_NAME`` for a setting.

    A variable serves whichever verb runs. One of other verbs only is not used, but must be right for one of them.
    """
    everything: dict[str, list[Declaration]] = {}
    for one in (one for group in grouped().values() for one in group):
        everything.setdefault(one.variable, []).append(one)
    found = []
    for variable, text in sorted(environment.items()):
        if not variable.startswith("PTYCHO_") or variable in NOT_SETTINGS or variable.startswith(OPTION_VARIABLES):
            continue
        if variable not in everything:
            hint = _left_out(variable.removeprefix("PTYCHO_").lower()) or did_you_mean(variable, [*everything, *NOT_SETTINGS])
            raise SettingsError(f"{variable} is no setting of ptycho.{hint}", source=variable)
        own_setting = next((one for one in everything[variable] if verb in one.verbs), None)
        if own_setting is None:
            _check_for_others(everything[variable], text, variable)
        else:
            found.append(Given(own_setting.name, own_setting.parse(text, variable), "environment", variable))
    return found


def options_from_environment(environment: Mapping[str, str], backend: str, options: Mapping[str, Declaration]) -> list[Given]:
    """``PTYCHO_OPT_BACKEND_NAME`` for an option of the backend; those of other backends are left alone."""
    own = {OPTION_VARIABLES + name.replace(".", "_").upper(): one for name, one in options.items()}
    found = []
    for variable, text in sorted(environment.items()):
        if variable in own:
            found.append(Given(own[variable].name, own[variable].parse(text, variable), "environment", variable))
        elif variable.startswith(f"{OPTION_VARIABLES}{backend.upper()}_"):
            hint = did_you_mean(variable, own) or (f" There are: {', '.join(own)}." if own else " There is none.")
            raise SettingsError(f"{variable} is no option of backend '{backend}'.{hint}", source=variable)
    return found


def _check_for_others(declared: Sequence[Declaration], text: str, variable: str) -> None:
    """Refuse a text that is no value of any setting behind a variable."""
    for one in declared[:-1]:
        with suppress(SettingsError):
            one.parse(text, variable)
            return
    declared[-1].parse(text, variable)


class SettingsFile:
    """A settings file, read once: the tables ``[data]``, ``[training]`` and the other groups, ``[backend.NAME]``, ``[backends]``.

    Args:
        path: the file, in TOML.

    Raises:
        SettingsError: it cannot be read, is no TOML, or has a table that is none of settings.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text, self._tables = _read(path)
        known = [*grouped(), "backend", "backends"]
        for table, values in self._tables.items():
            if table in known and isinstance(values, dict):
                continue
            group = next((one.group for declared in grouped().values() for one in declared if one.name == table), None)
            if group is not None and not isinstance(values, dict):
                message = f"{path}: '{table}' is no table but a setting, and stands above all tables."
                raise SettingsError(message, remedy=f"Put it below [{group}].", source=f"{path}: {table}")
            message = f"{path}: '{table}' is no table of settings; there are {', '.join(known)}.{did_you_mean(table, known)}"
            raise SettingsError(message, source=f"{path}: [{table}]")

    def settings(self, verb: str) -> list[Given]:
        """The settings of a verb. Those of other verbs are checked and not used: one file serves many jobs.

        Raises:
            SettingsError: an unknown name, a wrong type or range, or a list of backends that is none.
        """
        found = []
        for table, values in self._tables.items():
            if table == "backends":
                self.lists()
            elif table == "backend":
                self._check_backends(values)
            else:
                declared = {one.name: one for one in grouped()[table]}
                for name, value in values.items():
                    where = self._where(table, name)
                    check_name(name, declared, where)
                    checked = declared[name].check(value, where)
                    if verb in declared[name].verbs:
                        found.append(Given(name, checked, "file", where))
        return found

    def options(self, backend: str, options: Mapping[str, Declaration]) -> list[Given]:
        """The options of a backend; tables of other backends are left alone.

        Raises:
            SettingsError: an unknown name, a wrong type or range, or an option under two spellings of the backend.
        """
        from ptycho_core.backends.known import normalise

        found: list[Given] = []
        for written, values in self._tables.get("backend", {}).items():
            for name, value in values.items() if normalise(written) == backend else ():
                full, where = f"{backend}.{name}", self._where(f"backend.{written}", name)
                check_name(full, options, where)
                if any(one.name == full for one in found):
                    raise SettingsError(f"{where}: '{full}' is given twice, under two spellings of the backend.", source=where)
                found.append(Given(full, options[full].check(value, where), "file", where))
        return found

    def lists(self) -> AccessLists:
        """The lists ``allow`` and ``block`` of the table ``[backends]``: which backends the jobs of this file may use.

        Raises:
            SettingsError: a list is none.
        """
        from ptycho_core.backends.lists import AccessList, AccessLists

        found: dict[str, AccessList] = {}
        for name, words in self._tables.get("backends", {}).items():
            where = self._where("backends", name)
            check_name(name, ("allow", "block"), where)
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                message = f'{where} must be a list of names of backends, such as ["NAME", "NAME@DISTRIBUTION"].'
                raise SettingsError(message, source=where)
            found[name] = AccessList.of(words, f"{where} = {words}")
        return AccessLists(**found)

    def _check_backends(self, tables: Mapping[str, Any]) -> None:
        for written, values in tables.items():
            if not isinstance(values, dict):
                where = self._where("backend", written)
                raise SettingsError(f"{where}: options of a backend stand in a table [backend.NAME].", source=where)

    def _where(self, table: str, name: str) -> str:
        return f"{self.path}{_line(self._text, table, name)}: [{table}] {name}"


def check_name(name: str, known: Iterable[str], where: str) -> None:
    """Refuse an unknown name with the nearest known one, or the list of them.

    Raises:
        SettingsError: the name is not known.
    """
    names = list(known)
    if name in names:
        return
    hint = _left_out(name) or did_you_mean(name, names)
    hint = hint or (f" There are: {', '.join(names)}." if names else " There is none.")
    raise SettingsError(f"{where}: '{name}' is not a setting here.{hint}", source=where)


def _left_out(name: str) -> str:
    """A sentence, after a blank, where a name is that of a loss that is left out; else nothing."""
    from ptycho_core.settings.components import why_left_out

    why = why_left_out(name)
    return f" {why}" if why else ""


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    from ptycho_core.files.texts import MOST_OF_SETTINGS, TextError, parse_toml, read_text

    try:
        text = read_text(path, MOST_OF_SETTINGS, "is not TOML")
        return text, parse_toml(text)
    except TextError as error:
        raise SettingsError(f"The settings file {path} {error}.", source=str(path)) from error


def _line(text: str, table: str, name: str) -> str:
    """The line of a key, as ``, line 3``; nothing where it is not found, or where a text over several lines could mislead."""
    inside = False
    if '"""' in text or "'''" in text:
        return ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[([^\]]+)\]", line)
        if header:
            inside = header.group(1).strip().replace('"', "").replace(" ", "") == table
        elif inside and re.match(rf"\s*\"?{re.escape(name)}\"?\s*=", line):
            return f", line {number}"
    return ""
