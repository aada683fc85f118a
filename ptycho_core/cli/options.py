"""Flags made from the declarations, and what a user gave of them."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ptycho_core.errors import SettingsError
from ptycho_core.settings.groups import declarations

if TYPE_CHECKING:
    from ptycho_core.settings.declare import Declaration

__all__ = ["GivenFlags", "add_setting_flags", "collect"]

_TITLES = {
    "data": "data: what the file does not say of itself",
    "reconstruction": "reconstruction: what is computed",
    "execution": "execution: how it is run",
}


@dataclass(frozen=True)
class GivenFlags:
    """The settings on a command line: values by name, the flag of each, and the settings file."""

    overrides: dict[str, object] = field(default_factory=dict)
    wheres: dict[str, str] = field(default_factory=dict)
    config: Path | None = None


def add_setting_flags(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add one flag for each setting of a verb, ``--config``, ``--opt``, and the options of the backend that is named."""
    groups = {name: parser.add_argument_group(title) for name, title in _TITLES.items()}
    for one in declarations(verb).values():
        _add(groups[one.group], one)
    sources = parser.add_argument_group("further sources")
    sources.add_argument("--config", metavar="FILE", help="settings in TOML; flags win over it")
    sources.add_argument("--opt", metavar="BACKEND.NAME=VALUE", action="append", default=[], help="an option of the backend itself")
    parser.epilog = _backend_options(sys.argv[1:])
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def collect(args: argparse.Namespace, verb: str) -> GivenFlags:
    """What was given; a default is not.

    Raises:
        SettingsError: a value of a wrong type or out of range, or a malformed ``--opt``.
    """
    given = GivenFlags(config=None if args.config is None else Path(args.config))
    for name, one in declarations(verb).items():
        if f"setting_{name}" in args:
            value = getattr(args, f"setting_{name}")
            given.overrides[name] = one.parse(value, one.flag) if isinstance(value, str) else value
            given.wheres[name] = one.flag
    for text in args.opt:
        name, equals, value = text.partition("=")
        if not equals or "." not in name:
            raise SettingsError(f"--opt {text}: write it as BACKEND.NAME=VALUE.", source=f"--opt {text}")
        given.overrides[name] = value
        given.wheres[name] = f"--opt {text}"
    return given


def _add(group: argparse._ArgumentGroup, one: Declaration) -> None:
    destination = f"setting_{one.name}"
    default = "auto" if one.default is None else one.default
    if one.kind == "path":
        default = "none" if one.default is None else one.default
    if one.kind == "bool":
        group.add_argument(
            one.flag, dest=destination, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS,
            help=f"{one.help} (default: {'yes' if default else 'no'})",
        )  # fmt: skip
        for flag in one.flags:
            group.add_argument(flag, dest=destination, action="store_false", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        return
    notes = [f"default: {default}"] + [note for note in (one.unit, one.allowed) if note]
    metavar = "FILE" if one.kind == "path" else "{" + ",".join(one.choices) + "}" if one.choices else one.kind.upper()
    group.add_argument(
        one.flag, *one.flags, dest=destination, metavar=metavar, default=argparse.SUPPRESS,
        help=f"{one.help} ({'; '.join(notes)})".replace("%", "%%"),
    )  # fmt: skip


def _backend_options(arguments: list[str]) -> str | None:
    """The options of the backend named on the command line, out of its manifest; nothing is imported."""
    name = ""
    for position, item in enumerate(arguments):
        if item.startswith("--backend="):
            name = item.partition("=")[2]
        elif item == "--backend" and position + 1 < len(arguments):
            name = arguments[position + 1]
    if not name or not {"-h", "--help"} & set(arguments):
        return None
    from ptycho_core.backends import choose

    spec = choose(name).spec
    if spec is None or not spec.options:
        return f"backend {name} has no options of its own"
    lines = [f"  {spec.name}.{one.name} ({one.type}, default {one.default}): {one.help}" for one in spec.options]
    return "\n".join([f"options of backend {spec.name}, given with --opt:", *lines])
