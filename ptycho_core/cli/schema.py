"""The schema of the command line: of every command each argument, its default, type, validation and what it excludes.

``python -m ptycho_core.cli.schema > docs/cli/argparse-schema.md`` brings the page up to date.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ptycho_core.cli.flags import kind_of
from ptycho_core.settings.document import markdown_table
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.rules import acts_only

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ptycho_core.settings.declare import Declaration

__all__ = ["schema"]

_HEAD = """# Schema of the command line

Made from the parsers and declarations by `make pages`; do not edit.

* Spellings are exact: no abbreviations, `--flag VALUE` and `--flag=VALUE` alike, flags and positional arguments in
  any order. An unknown flag is refused with the nearest one (status 2).
* A setting has no default in the parser: what is not typed leaves no trace, and the default below is that of the
  declaration. Types and ranges are checked where all sources are resolved, so that the same text serves flag,
  variable and file; the message names the flag as it was typed.
* A flag that is given several times must be given the same value each time; `--x` and `--no-x` contradict each other.
  Both are status 2.
* Anywhere on the line: `--traceback` shows where an error arose; `--version` prints the version; `--follow-links` reads what
  an HDF5 file keeps in other files, which is refused else. The variable `PTYCHO_FOLLOW_LINKS=1` does the same.

## Settings, by verb

`train`, `infer` and `reconstruct` take those of their row, and so does `ptycho config explain VERB`; `ptycho compare`
takes those of the job it runs, but `--backend`. Each also takes `--config FILE` (settings in TOML) and `--opt
BACKEND.NAME=VALUE` (an option of the backend; several times). With `infer` the flags of the group *model* are known
but not shown: the model file fixes them.
"""


def schema() -> str:
    """The page, as Markdown."""
    head = ["option strings", "metavar", "default", "validation", "acts", "help"]
    parts = [_HEAD]
    for verb in ("train", "infer", "reconstruct"):
        rows = [_setting(one) for one in declarations(verb).values() if verb != "infer" or one.group != "model"]
        parts.append(f"### Settings of {verb}\n\n{markdown_table(head, rows)}")
    parts.append("## Commands\n")
    parts += [_command(parser) for parser in _parsers()]
    return "\n".join(parts)


def _setting(one: Declaration) -> list[str]:
    metavar = "" if one.kind == "bool" else "FILE" if one.kind == "path" else one.kind.upper()
    metavar = f"[={metavar}]" if one.switch_words else metavar
    value = kind_of(one) + (f" ({one.unit})" if one.unit else "")
    strings = ", ".join(f"`{flag}`" for flag in one.every_flag)
    return [strings, metavar, f"`{one.show(one.default)}`", value, acts_only(one.name) or "always", one.help]


def _parsers() -> Iterator[argparse.ArgumentParser]:
    """The parser of every command and of every command below it, as they are made when they run."""
    from ptycho_core.cli.main import COMMANDS, add_command

    root = argparse.ArgumentParser(prog="ptycho")
    commands = root.add_subparsers()
    for name in COMMANDS:
        add_command(name, commands)
        yield from _with_subcommands(commands.choices[name])


def _with_subcommands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
    if not below:
        yield parser
    for action in below:
        for one in action.choices.values():
            yield from _with_subcommands(one)


def _command(parser: argparse.ArgumentParser) -> str:
    excluded = _exclusions(parser)
    own = [
        action
        for action in parser._actions  # noqa: SLF001 - there is no public list of arguments
        if not action.dest.startswith("setting_") and action.dest not in ("help", "config", "opt")
    ]
    settings = any(action.dest.startswith("setting_") for action in parser._actions)  # noqa: SLF001
    rows = [_argument(action, excluded.get(action.dest, "")) for action in own]
    told = "\nAnd settings, `--config` and `--opt`, as above.\n" if settings else ""
    return f"### {parser.prog}\n\n{markdown_table(['argument', 'default', 'type', 'required', 'excludes', 'help'], rows)}{told}"


def _exclusions(parser: argparse.ArgumentParser) -> dict[str, str]:
    """For each argument of a group of exclusive ones the others."""
    found = {}
    for group in parser._mutually_exclusive_groups:  # noqa: SLF001
        members = group._group_actions  # noqa: SLF001
        for one in members:
            found[one.dest] = ", ".join(f"`{other.option_strings[-1]}`" for other in members if other is not one)
    return found


def _argument(action: argparse.Action, excluded: str) -> list[str]:
    strings = ", ".join(f"`{item}`" for item in action.option_strings) or f"`{action.metavar or action.dest}`"
    flag = action.nargs == 0
    if action.choices:
        kind = f"one of {', '.join(map(str, action.choices))}"
    else:
        kind = "" if flag else getattr(action.type, "__name__", "text").replace("str", "text")
    several = " several" if action.nargs in ("*", "+") or isinstance(action, argparse._AppendAction) else ""  # noqa: SLF001
    default = "off" if flag else "–" if action.default in (None, [], argparse.SUPPRESS) else f"`{action.default}`"
    required = action.required if action.option_strings else action.nargs not in ("*", "?")
    return [strings, default, kind + several, "yes" if required else "", excluded, action.help or ""]


if __name__ == "__main__":
    sys.stdout.write(schema())
