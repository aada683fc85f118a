"""All groups, and looking a setting up by any of its names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ptycho_core.contract import VERBS
from ptycho_core.errors import SettingsError, UsageError, did_you_mean
from ptycho_core.settings.data import DataSettings
from ptycho_core.settings.declare import Declaration, declarations
from ptycho_core.settings.execution import ExecutionSettings
from ptycho_core.settings.reconstruction import ReconstructionSettings

__all__ = ["GROUPS", "find_setting", "group_names", "groups_of", "settings_of"]

GROUPS: Final[tuple[type[Any], ...]] = (DataSettings, ReconstructionSettings, ExecutionSettings)


def group_names() -> tuple[str, ...]:
    """The names of all groups, which are the tables of a settings file."""
    return tuple(cls.group_name for cls in GROUPS)


def settings_of(verb: str = "") -> tuple[Declaration, ...]:
    """The declarations that a verb takes, by group; of all verbs without one."""
    if verb and verb not in VERBS:
        raise UsageError(f"There is no verb '{verb}'.{did_you_mean(verb, VERBS)}", remedy=f"There are {', '.join(VERBS)}.")
    return tuple(one for cls in GROUPS for one in declarations(cls) if not verb or verb in one.verbs)


def groups_of(verb: str) -> tuple[type[Any], ...]:
    """The groups of which a verb takes a setting."""
    return tuple(cls for cls in GROUPS if any(verb in one.verbs for one in declarations(cls)))


def find_setting(name: str, among: Iterable[Declaration], source: str, where: str = "setting") -> Declaration:
    """The setting of that name or alias.

    Args:
        name: what somebody wrote.
        among: where to look.
        source: where it was written, for the error.
        where: what was looked through, for the error: ``setting of reconstruct``.

    Raises:
        SettingsError: there is none; gives the nearest name and the list.
    """
    known = tuple(among)
    for one in known:
        if name == one.name or name in one.aliases:
            return one
    spellings = [spelling for one in known for spelling in (one.name, *one.aliases)]
    listing = f"There are {', '.join(one.name for one in known)}." if known else "There are none."
    raise SettingsError(f"There is no {where} '{name}'.{did_you_mean(name, spellings)}", remedy=listing, source=source)
