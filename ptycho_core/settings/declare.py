"""What a declaration of a setting is: a dataclass field that knows its help, range and choices, and can check a value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Literal, TypeAlias

from ptycho_core.contract import OptionSpec, Value
from ptycho_core.errors import SettingsError, did_you_mean

__all__ = ["VERBS", "Declaration", "declarations_of", "option_declaration", "setting"]

VERBS = ("train", "infer", "reconstruct", "evaluate")

Kind: TypeAlias = Literal["bool", "int", "float", "str", "path"]

_NOUNS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text", "path": "a path"}
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


@dataclass(frozen=True)
class Declaration:
    """One setting.

    Attributes:
        name: as in Python and in files.
        group: the table it stands in.
        kind: type of its value.
        optional: whether None (in text: ``auto``) is a value.
        default: the core's default.
        help: what it does and when to change it.
        unit: of its value.
        minimum, above, maximum: smallest value, bound that it must exceed, largest value.
        choices: the words allowed.
        also: words allowed beside ``choices`` and what they mean.
        flags: further spellings on the command line.
        verbs: the jobs that take it.
    """

    name: str
    group: str
    kind: Kind
    optional: bool
    default: Value
    help: str
    unit: str = ""
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    also: tuple[tuple[str, str], ...] = ()
    flags: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS

    @property
    def flag(self) -> str:
        """Its spelling on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return "PTYCHO_" + self.name.upper()

    @property
    def allowed(self) -> str:
        """Range or choices, in words; empty for any value."""
        parts = [f"at least {self.minimum:g}"] if self.minimum is not None else []
        parts += [f"above {self.above:g}"] if self.above is not None else []
        parts += [f"at most {self.maximum:g}"] if self.maximum is not None else []
        parts += [f"one of {', '.join(self.choices)}"] if self.choices else []
        return " and ".join(parts)

    def check(self, value: object, where: str) -> Value:
        """A value of the right type within its range, or an error that names ``where`` it came from.

        Raises:
            SettingsError: wrong type, not finite, out of range, not among the choices.
        """
        if value is None and self.optional:
            return None
        checked = self._typed(value, where)
        if isinstance(checked, str) and self.choices:
            checked = dict(self.also).get(checked, checked)
            if checked not in self.choices:
                self._refuse(value, where, f"must be {self.allowed}.{did_you_mean(checked, self.choices)}")
        elif isinstance(checked, int | float) and not isinstance(checked, bool):
            low = self.minimum is not None and checked < self.minimum or self.above is not None and checked <= self.above
            if low or (self.maximum is not None and checked > self.maximum):
                self._refuse(value, where, f"must be {self.allowed}")
        return checked

    def parse(self, text: str, where: str) -> Value:
        """The value that a text on the command line or in the environment stands for.

        Raises:
            SettingsError: as `check`.
        """
        word = text.strip()
        if self.optional and word.lower() in ("auto", "none"):
            return None
        if self.kind == "bool":
            if word.lower() in _TRUE + _FALSE:
                return word.lower() in _TRUE
            self._refuse(text, where, "must be true or false")
        try:
            if self.kind == "int":
                return self.check(int(word), where)
            if self.kind == "float":
                return self.check(float(word), where)
        except ValueError:
            self._refuse(text, where, f"must be {_NOUNS[self.kind]}" + (" or auto" if self.optional else ""))
        return self.check(text, where)

    def _typed(self, value: object, where: str) -> Value:
        if self.kind == "float" and isinstance(value, int | float) and not isinstance(value, bool):
            if not math.isfinite(value):
                self._refuse(value, where, "must be finite")
            return float(value)
        if self.kind == "path" and hasattr(value, "__fspath__"):
            return str(value)
        python = {"bool": bool, "int": int, "float": float, "str": str, "path": str}[self.kind]
        if type(value) is not python:
            self._refuse(value, where, f"must be {_NOUNS[self.kind]}")
        if value == "":
            self._refuse(value, where, "must not be empty")
        return value  # type: ignore[return-value]

    def _refuse(self, value: object, where: str, why: str) -> Any:  # noqa: ANN401 - never returns
        ending = "" if why.endswith("?") else "."
        raise SettingsError(f"{where}: {self.name} = {value!r} {why}{ending}", source=where)


def setting(
    default: Value,
    *,
    help: str,  # noqa: A002 - what argparse calls it too
    unit: str = "",
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    also: tuple[tuple[str, str], ...] = (),
    flags: tuple[str, ...] = (),
    verbs: tuple[str, ...] = VERBS,
    path: bool = False,
) -> Any:  # noqa: ANN401 - a dataclass field has the type of its annotation
    """Declare a setting as a field of a group; the arguments are those of `Declaration`."""
    told = {
        "help": help, "unit": unit, "minimum": minimum, "above": above, "maximum": maximum,
        "choices": choices, "also": also, "flags": flags, "verbs": verbs,
    }
    return field(default=default, metadata={"told": told, "path": path})


@cache
def declarations_of(group: type) -> tuple[Declaration, ...]:
    """The declarations of a group, in order."""
    return tuple(_declaration(item, group.GROUP) for item in fields(group))  # type: ignore[attr-defined]


def _declaration(item: Any, group: str) -> Declaration:  # noqa: ANN401 - dataclasses.Field of any type
    words = [word.strip() for word in str(item.type).split("|")]
    kind = "path" if item.metadata["path"] else words[0]
    return Declaration(item.name, group, kind, "None" in words, item.default, **item.metadata["told"])  # type: ignore[arg-type]


def option_declaration(backend: str, option: OptionSpec) -> Declaration:
    """The declaration of a backend's own option, which is checked as every setting is."""
    return Declaration(
        f"{backend}.{option.name}", f"backend.{backend}", option.type, option.default is None, option.default, option.help,
        minimum=option.minimum, maximum=option.maximum, choices=option.choices,
    )  # fmt: skip
