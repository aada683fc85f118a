"""Flags of the *data* settings, for commands that open a scan and run no job."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptycho_core.settings.declare import Declaration

__all__ = ["add_data_flags", "given_data"]


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Add one flag for each; one that is not typed leaves no trace."""
    group = parser.add_argument_group("data: what the file does not say of itself")
    for one in _data_settings():
        common: dict[str, Any] = {"dest": f"setting_{one.name}", "default": argparse.SUPPRESS}
        text = (one.help + (f" ({one.unit})" if one.unit else "")).replace("%", "%%")
        if one.kind == "bool":
            group.add_argument(one.flag, *one.flags, action="store_const", const="true", help=text, **common)
            group.add_argument(one.negated, action="store_const", const="false", help=argparse.SUPPRESS, **common)
            continue
        metavar = "{" + ",".join(one.choices) + "}" if one.choices else one.kind.upper()
        group.add_argument(one.flag, *one.flags, metavar=metavar, help=text, **common)


def given_data(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that were typed, by name.

    Raises:
        SettingsError: one is of a wrong type or range.
    """
    return {
        one.name: one.parse(getattr(args, f"setting_{one.name}"), one.flag)
        for one in _data_settings()
        if f"setting_{one.name}" in args
    }


def _data_settings() -> list[Declaration]:
    from ptycho_core.settings.groups import declarations

    return [one for one in declarations("reconstruct").values() if one.group == "data"]
