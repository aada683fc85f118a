"""What a user of PtychoPINN wrote, on the command line or in a settings file, each with its entry in the table."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from ptycho_core.compatibility.table import COMMANDS, Entry, entries
from ptycho_core.errors import UsageError
from ptycho_core.settings.groups import declarations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ParsedFlag", "read_words"]

_NEAR = 0.85
"""How like a known spelling an unknown flag must be to be taken for a mistake; below, it goes to our command."""


@dataclass(frozen=True)
class ParsedFlag:
    """One value: its entry, its text, its spelling, and where exactly it stands."""

    entry: Entry
    text: str
    spelling: str
    where: str


def read_words(command: str, words: Sequence[str]) -> tuple[list[ParsedFlag], list[str]]:
    """Read a command line by the table.

    Args:
        command: ``train`` or ``inference``.
        words: the command line without the command.

    Returns:
        What the table knows, and what is left for our command: its own flags, with hyphens, and their values.

    Raises:
        UsageError: a flag without its value, a value that no flag takes, or a flag that looks like a misspelt one.
    """
    found: list[ParsedFlag] = []
    rest: list[str] = []
    ahead, passing = list(words), False
    while ahead:
        word = ahead.pop(0)
        if not word.startswith("--"):
            if not passing:
                raise UsageError(f"'{word}' belongs to no flag.", remedy=f"See 'ptycho_{command} --help'.")
            rest.append(word)
            continue
        flag, equals, value = word.partition("=")
        name = flag[2:].replace("-", "_")
        entry, negated = _known(command, name)
        passing = entry is None
        if entry is None:
            _check_unknown(command, flag, name)
            rest.append(f"--{name.replace('_', '-')}{equals}{value}")
            continue
        text = _value(entry, flag, value if equals else None, ahead, negated=negated)
        shown = f"{flag} {text}" if equals or not (entry.takes == "truth" and text in ("true", "false")) else flag
        found.append(ParsedFlag(entry, text, flag, shown.rstrip()))
    return found, rest


def _known(command: str, name: str) -> tuple[Entry | None, bool]:
    table: Mapping[str, Entry] = entries(command)
    if name in table:
        return table[name], False
    return next((one for one in table.values() if name in one.negatives), None), True


def _value(entry: Entry, flag: str, given: str | None, ahead: list[str], *, negated: bool) -> str:
    """The text of a value; words that belong to the flag are taken off ``ahead``."""
    if negated:
        if given is not None:
            raise UsageError(f"{flag}={given}: {flag} takes no value.")
        return "false"
    if given is not None:
        return given
    follows = ahead[0] if ahead and not ahead[0].startswith("--") else None
    if entry.takes == "truth":
        written = follows is not None and (entry.field or follows.lower() in ("true", "false", "0", "1"))
        return ahead.pop(0) if written else "true"
    if entry.takes == "many":
        several = []
        while ahead and not ahead[0].startswith("--"):
            several.append(ahead.pop(0))
        return " ".join(several)
    if follows is None:
        if entry.takes == "optional":
            return ""
        raise UsageError(f"{flag} needs a value.")
    return ahead.pop(0)


def _check_unknown(command: str, flag: str, name: str) -> None:
    """Refuse a flag that is neither ours nor theirs but near one of theirs; our command knows its own."""
    if name.removeprefix("no_") in declarations(COMMANDS[command]):
        return
    near = get_close_matches(name, entries(command), n=1, cutoff=_NEAR)
    if near:
        raise UsageError(f"There is no flag {flag}. Did you mean '--{near[0]}'?")
