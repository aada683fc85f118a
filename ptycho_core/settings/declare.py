"""What a declaration of a setting is: a dataclass field that knows its help, range and choices, and can check a value."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field, fields, replace
from functools import cache
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias, get_args

from ptycho_core.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from ptycho_core.contract import BackendSpec, OptionSpec, Value

__all__ = ["KINDS", "VERBS", "Declaration", "declaration_of", "declarations_of", "declared_by", "option_declaration", "setting"]

VERBS = ("train", "infer", "reconstruct", "evaluate")

Kind: TypeAlias = Literal["bool", "int", "float", "str", "path"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_NOUNS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text", "path": "a path"}
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_NUMBERS = {"int": re.compile(r"[+-]?[0-9]{1,18}"), "float": re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")}
_UNSET = ("auto", "none")


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
        minimum, above, maximum, below: smallest value, bound that it must exceed, largest value, bound that it must not reach.
        multiple: whole number that a value must be a multiple of, or None.
        choices: the words allowed.
        also: words allowed in addition to ``choices`` and what they mean.
        unusable: words that would be among ``choices`` if what brings them worked, and why it does not.
        truths: the two of ``choices`` that true and false mean, which a flag alone and its ``--no-`` form stand for; or none.
        words: for a path, words that name no file and are values: ``auto`` then does not mean that there is none.
        number: for a path, whether a number may stand in its place.
        foreign: whether a model file may state a word that is no choice here, because it holds what the word stood for.
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
    below: float | None = None
    multiple: int | None = None
    choices: tuple[str, ...] = ()
    also: tuple[tuple[str, str], ...] = ()
    unusable: tuple[tuple[str, str], ...] = ()
    switch_words: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    number: bool = False
    foreign: bool = False
    flags: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS

    @property
    def flag(self) -> str:
        """Its spelling on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def of_model(self) -> Declaration:
        """The declaration that a model file's statement is held against."""
        return replace(self, choices=()) if self.foreign else self

    @property
    def switches(self) -> bool:
        """Whether its flag may stand alone, and has a ``--no-`` form."""
        return self.kind == "bool" or bool(self.switch_words)

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return "PTYCHO_" + self.name.upper()

    def of_backend(self, spec: BackendSpec) -> Value:
        """The default that only a backend has: its first precision, where it does not offer ours; None if it has none."""
        own = self.name == "precision" and spec.precisions and self.default not in spec.precisions
        return spec.precisions[0] if own else None

    @property
    def negated(self) -> str:
        """The flag that says no."""
        return f"--no-{self.flag.removeprefix('--')}"

    @property
    def every_flag(self) -> tuple[str, ...]:
        """All that it is written as on the command line."""
        return (self.flag, *([self.negated] if self.switches else []), *self.flags)

    @property
    def spellings(self) -> tuple[str, ...]:
        """Everything that it is written as: key, flags and variable."""
        return (self.name, *self.every_flag, self.variable)

    @property
    def allowed(self) -> str:
        """Range or choices, in words; empty for any value."""
        parts = [f"at least {self.minimum:.10g}"] if self.minimum is not None else []
        parts += [f"above {self.above:.10g}"] if self.above is not None else []
        parts += [f"at most {self.maximum:.10g}"] if self.maximum is not None else []
        parts += [f"below {self.below:.10g}"] if self.below is not None else []
        parts += [f"a multiple of {self.multiple}"] if self.multiple is not None else []
        parts += [f"one of {', '.join(self.choices)}"] if self.choices else []
        parts += [f"or the word {' or '.join(self.words)}"] if self.words else []
        parts += ["or a number"] if self.number else []
        return " and ".join(parts)

    def show(self, value: Value) -> str:
        """A value as it is written on the command line and in a file; None is ``none`` for a path, else ``auto``."""
        if value is None:
            return "none" if self.kind == "path" else "auto"
        return str(value).lower() if isinstance(value, bool) else str(value)

    def check(self, value: object, where: str) -> Value:
        """A value of the right type within its range, or an error that names ``where`` it came from.

        Where None is a value, the words ``auto`` and ``none`` mean it too: files have no other way to write it.

        Raises:
            SettingsError: wrong type, not finite, out of range, not among the choices.
        """
        if self.optional and (value is None or (isinstance(value, str) and value in self._unset)):
            return None
        checked = self._typed(self._word(value), where)
        if isinstance(checked, str) and self.choices:
            checked = dict(self.also).get(checked, checked)
            if checked not in self.choices and checked in dict(self.unusable):
                self._refuse(value, where, f"cannot be used: {dict(self.unusable)[checked].rstrip('.')}")
            if checked not in self.choices:
                self._refuse(value, where, f"must be {self.allowed}", did_you_mean(checked, self.choices))
        elif isinstance(checked, int | float) and not isinstance(checked, bool):
            low = (self.minimum is not None and checked < self.minimum) or (self.above is not None and checked <= self.above)
            high = (self.maximum is not None and checked > self.maximum) or (self.below is not None and checked >= self.below)
            if low or high or (self.multiple is not None and checked % self.multiple):
                self._refuse(value, where, f"must be {self.allowed}")
        return checked

    def parse(self, text: str, where: str) -> Value:
        """The value that a text on the command line or in the environment stands for.

        Strictly: a truth is ``true``, ``false``, ``1`` or ``0``, a number is plain decimal, and blanks are not removed.

        Raises:
            SettingsError: as `check`.
        """
        if self.kind in ("str", "path") or (self.optional and text in self._unset):
            return self.check(text, where)
        if self.kind == "bool" and text.lower() in _TRUTHS:
            return _TRUTHS[text.lower()]
        if self.kind in _NUMBERS and _NUMBERS[self.kind].fullmatch(text):
            return self.check(int(text) if self.kind == "int" else float(text), where)
        return self._refuse(text, where, f"must be {_NOUNS[self.kind]}" + (f" or {self.show(None)}" if self.optional else ""))

    @property
    def _unset(self) -> tuple[str, ...]:
        return tuple(word for word in _UNSET if word not in self.words)

    def _word(self, value: object) -> object:
        """The word that a truth, or a text that means one, stands for, where there is such a word."""
        truth = _TRUTHS.get(value.lower()) if isinstance(value, str) else value
        if not self.switch_words or not isinstance(truth, bool | int) or truth not in (0, 1):
            return value
        return self.switch_words[0] if truth else self.switch_words[1]

    def _typed(self, value: object, where: str) -> Value:
        if self.kind == "float" and not isinstance(value, bool) and isinstance(value, Real):
            try:
                number = float(value)
            except OverflowError:  # a whole number beyond all floats
                number = math.inf
            if not math.isfinite(number):
                self._refuse(value, where, "must be finite")
            return number
        if self.kind == "int" and not isinstance(value, bool) and isinstance(value, Integral):
            return int(value)  # NumPy's whole numbers too
        if self.kind == "path" and hasattr(value, "__fspath__"):
            return str(value)
        if self.number and not isinstance(value, bool) and isinstance(value, Real):
            if not math.isfinite(value):
                self._refuse(value, where, "must be finite")
            return str(value)
        python = {"bool": bool, "int": int, "float": float, "str": str, "path": str}[self.kind]
        if type(value) is not python:
            self._refuse(value, where, f"must be {_NOUNS[self.kind]}" + (f" or {self.show(None)}" if self.optional else ""))
        if value == "":
            self._refuse(value, where, "must not be empty")
        if self.kind == "path" and not _names_a_file(str(value)):
            self._refuse(value, where, "must be a name that a file can have here")
        return value  # type: ignore[return-value]

    def _refuse(self, value: object, where: str, why: str, guess: str = "") -> NoReturn:
        raise SettingsError(f"{where}: {self.name} = {value!r} {why}.{guess}", source=where)


def _names_a_file(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # the encoding of this system's names lacks a character
        return False


def setting(
    default: Value,
    *,
    help: str,  # noqa: A002 - what argparse calls it too
    unit: str = "",
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    multiple: int | None = None,
    choices: tuple[str, ...] = (),
    also: tuple[tuple[str, str], ...] = (),
    switch_words: tuple[str, ...] = (),
    words: tuple[str, ...] = (),
    number: bool = False,
    foreign: bool = False,
    flags: tuple[str, ...] = (),
    verbs: tuple[str, ...] = VERBS,
    path: bool = False,
) -> Any:  # noqa: ANN401 - a dataclass field has the type of its annotation
    """Declare a setting as a field of a group; the arguments are those of `Declaration`."""
    told = {
        "help": help,
        "unit": unit,
        "minimum": minimum,
        "above": above,
        "maximum": maximum,
        "below": below,
        "multiple": multiple,
        "choices": choices,
        "also": also,
        "switch_words": switch_words,
        "words": words,
        "number": number,
        "foreign": foreign,
        "flags": flags,
        "verbs": verbs,
    }
    return field(default=default, metadata={"told": told, "path": path})


@cache
def declarations_of(group: type) -> tuple[Declaration, ...]:
    """The declarations of a group, in order."""
    return tuple(declaration_of(item, item.name, group.GROUP) for item in fields(group))  # type: ignore[attr-defined]


def declaration_of(item: Any, name: str, group: str) -> Declaration:  # noqa: ANN401 - dataclasses.Field of any type
    """The declaration that a field made with `setting` is, under a name and in a group."""
    annotation = item.type.__name__ if isinstance(item.type, type) else str(item.type)
    words = [word.strip() for word in annotation.split("|")]
    kind = "path" if item.metadata["path"] else words[0]
    return Declaration(name, group, kind, "None" in words, item.default, **item.metadata["told"])  # type: ignore[arg-type]


def declared_by(owner: type, name: str, verbs: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 - as `setting`
    """The setting that another class declares as its field ``name``, as a field of a group too; its annotation is repeated.

    ``verbs`` are those of the group, where they are others.
    """
    item = next(item for item in fields(owner) if item.name == name)
    told = item.metadata["told"]
    return field(default=item.default, metadata={**item.metadata, "told": {**told, "verbs": verbs or told["verbs"]}})


def option_declaration(backend: str, option: OptionSpec) -> Declaration:
    """The declaration of a backend's own option, which is checked as every setting is."""
    return Declaration(
        f"{backend}.{option.name}", f"backend.{backend}", option.type, option.default is None, option.default, option.help,
        minimum=option.minimum, maximum=option.maximum, choices=option.choices, verbs=option.verbs or VERBS,
    )  # fmt: skip
