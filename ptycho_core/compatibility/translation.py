"""From what was written in PtychoPINN's words to our settings and arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ptycho_core.compatibility.table import COMMANDS, NONE, argument_defaults, setting_defaults
from ptycho_core.errors import SettingsError
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.sources import Given, Typed, check_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ptycho_core.compatibility.parsing import ParsedFlag

__all__ = ["FileAndDefaults", "Translation", "translate"]


@dataclass(frozen=True)
class FileAndDefaults:
    """PtychoPINN's settings file and defaults, in the place of our settings file.

    Attributes:
        file: settings by name, which rank as those of a settings file.
        defaults: settings that were not asked for, which rank above the defaults of backend and core.
    """

    file: Mapping[str, Typed]
    defaults: Mapping[str, Typed]

    def given(self, verb: str) -> list[Given]:
        """The values of both, checked; see `SettingsSource`."""
        known = declarations(verb)
        found = []
        for origin, values in (("file", self.file), ("command default", self.defaults)):
            for name, item in values.items():
                check_name(name, known, item.where)
                found.append(Given(name, known[name].parse(str(item.value), item.where), origin, item.where))
        return found


@dataclass(frozen=True)
class Translation:
    """A command of PtychoPINN in our terms.

    Attributes:
        typed: settings that flags ask for, by name.
        lower: settings of its file, and PtychoPINN's defaults.
        arguments: of the command, by the names in the table.
        deprecated: a sentence for each deprecated spelling that was used.
    """

    typed: Mapping[str, Typed]
    lower: FileAndDefaults
    arguments: Mapping[str, Typed]
    deprecated: tuple[str, ...]


def translate(command: str, flags: Sequence[ParsedFlag], file: Sequence[ParsedFlag] = ()) -> Translation:
    """Translate; flags go before the file, and PtychoPINN's defaults come after both.

    The file of a training serves an inference too: what only a training takes, its paths included, is checked and not used.

    Raises:
        SettingsError: something is refused, is no value of the setting that it goes to, or contradicts another spelling in the
            same place.
    """
    typed, typed_arguments = _meant(command, flags)
    filed, filed_arguments = _meant(command, file)
    asked = {**filed, **typed}
    _check_needs([*flags, *file], asked)
    supervised = "model_type" in asked and asked["model_type"].value == "supervised"
    place = f"ptycho_{command}"
    defaults = {name: Typed(text, place) for name, text in setting_defaults(command, supervised=supervised).items()}
    places = {name: Typed(text, place) for name, text in argument_defaults(command).items()}
    arguments = {**places, **(filed_arguments if command == "train" else {}), **typed_arguments}
    old = dict.fromkeys(
        f"{one.spelling} is deprecated; use {one.entry.deprecated}." for one in [*flags, *file] if one.entry.deprecated
    )
    return Translation(typed, FileAndDefaults(filed, defaults), arguments, tuple(old))


def _meant(command: str, parsed: Sequence[ParsedFlag]) -> tuple[dict[str, Typed], dict[str, Typed]]:
    """Settings and arguments that one source asks for."""
    known = declarations(COMMANDS[command])
    settings: dict[str, Typed] = {}
    arguments: dict[str, Typed] = {}
    for one in parsed:
        if one.entry.argument:
            if one.text.lower() == NONE:
                continue
            item = Typed(one.text, one.where)
            before = arguments.setdefault(one.entry.argument, item)
            if before.value != item.value:
                raise _contradiction(before, item)
            continue
        for name, text in one.entry.meaning(one.text, one.where).items():
            declared = known.get(name) or declarations("train").get(name)
            if declared is None:
                raise SettingsError(f"{one.where} is refused: this version has no setting '{name}'.", source=one.where)
            item = Typed(text, one.where)
            before = settings.setdefault(name, item)
            if declared.parse(str(before.value), before.where) != declared.parse(text, one.where):
                raise _contradiction(before, item)
    return {name: item for name, item in settings.items() if name in known}, arguments


def _contradiction(one: Typed, other: Typed) -> SettingsError:
    return SettingsError(f"{one.where} and {other.where} contradict each other; give one of them.", source=other.where)


def _check_needs(parsed: Sequence[ParsedFlag], asked: Mapping[str, Typed]) -> None:
    for one in parsed:
        missing = [name for name in one.entry.needs if name not in asked]
        if missing and one.entry.word(one.text, one.where) == "true":
            flags = ", ".join(f"--{name}" for name in missing)
            raise SettingsError(f"{one.where} says too little.", remedy=f"Give {flags} too.", source=one.where)
