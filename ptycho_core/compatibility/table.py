"""The table of PtychoPINN's spellings, ``pinn.toml``: what each flag, and each key of a settings file, is here."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from ptycho_core.errors import SettingsError, did_you_mean
from ptycho_core.networks import NEAREST

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COMMANDS", "NONE", "Entry", "argument_defaults", "entries", "setting_defaults"]

COMMANDS: Final[Mapping[str, str]] = {"train": "train", "inference": "infer"}
"""The commands by their names in the table, and our verb that each runs."""

NONE: Final = "none"
"""How the table writes that there is no value; ``None`` on a command line and ``null`` in a file."""

_TRUTHS = {"true": "true", "1": "true", "false": "false", "0": "false"}


@dataclass(frozen=True)
class Entry:
    """One spelling of PtychoPINN; the fields are explained at the head of ``pinn.toml``."""

    name: str
    setting: str = ""
    argument: str = ""
    takes: Literal["value", "truth", "optional", "many"] = "value"
    negative: str = ""
    values: Mapping[str, str | Mapping[str, str]] = field(default_factory=dict)
    open: bool = False
    factor: float = 1
    same: tuple[str, ...] = ()
    refuses: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""
    needs: tuple[str, ...] = ()
    deprecated: str = ""
    field: str = ""
    default: str = ""
    note: str = ""

    @property
    def negatives(self) -> tuple[str, ...]:
        """Names that mean False, with underscores; none where no truth is taken."""
        if self.takes != "truth":
            return ()
        return (f"no_{self.name}", *([self.negative] if self.negative else []))

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of all our settings that it can speak of."""
        named = dict.fromkeys([self.setting] if self.setting else [])
        for meant in self.values.values():
            named |= dict.fromkeys(meant if not isinstance(meant, str) else ())
        return tuple(named)

    def word(self, text: str, where: str) -> str:
        """The value as the table writes it.

        Raises:
            SettingsError: a truth that is neither True nor False.
        """
        if text.lower() == NONE:
            return NONE
        if self.takes != "truth":
            return text
        if text.lower() not in _TRUTHS:
            raise SettingsError(f"{where}: {self.name} is True or False.", source=where)
        return _TRUTHS[text.lower()]

    def is_default(self, text: str, where: str) -> bool:
        """Whether a value is PtychoPINN's own default."""
        word, default = self.word(text, where), self.word(self.default, where) if self.default else ""
        return word == default or (bool(default) and _number(word) == _number(default) != word)

    def meaning(self, text: str, where: str) -> dict[str, str]:
        """What a value asks for: texts by the names of our settings. Nothing where it is what is done anyway.

        Raises:
            SettingsError: the value, or the whole spelling, is refused, or is none of its words.
        """
        word = self.word(text, where)
        if word in self.same:
            return {}
        if self.refused or word in self.refuses:
            hint = "" if word in self.refuses else did_you_mean(word, (*self.same, *self.refuses))
            raise SettingsError(f"{where} is refused: {self.refuses.get(word, self.refused)}.{hint}", source=where)
        if word in self.values:
            meant = self.values[word]
            return {self.setting: meant} if isinstance(meant, str) else dict(meant)
        if self.values and not self.open:
            words = [one.capitalize() if self.takes == "truth" else one for one in self.values]
            hint = did_you_mean(word, words) or f" There are {', '.join(words)}."
            raise SettingsError(f"{where}: there is no such value.{hint}", source=where)
        number = _number(word)
        return {self.setting: word if self.factor == 1 or isinstance(number, str) else f"{number * self.factor:.10g}"}


@cache
def entries(command: str) -> dict[str, Entry]:
    """The spellings of a command (``train``, ``inference``) by name, with underscores, in the order of the table."""
    table = _table()
    found = {}
    for section in ("both", "train", "inference"):
        for name, given in table[section].items() if section in ("both", command) else ():
            values: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in given.items()}
            if values.get("refuses") == "networks":
                values["refuses"] = {word: why for word, why in NEAREST.items() if word not in values.get("same", ())}
            found[name] = Entry(name=name, **values)
    return found


def setting_defaults(command: str, *, supervised: bool) -> dict[str, str]:
    """PtychoPINN's defaults that apply, as texts by the names of our settings."""
    defaults = _table()["defaults"]
    return dict(defaults[command]) | (dict(defaults["supervised"]) if supervised and command == "train" else {})


def argument_defaults(command: str) -> dict[str, str]:
    """Defaults of the command's arguments."""
    return dict(_table()["arguments"][command])


@cache
def _table() -> dict[str, dict[str, dict[str, Any]]]:
    return tomllib.loads(Path(__file__).with_name("pinn.toml").read_text("utf-8"))


def _number(text: str) -> float | str:
    """The number behind a text, or the text where it is none."""
    try:
        return float(text)
    except ValueError:
        return text
