"""The help of the two commands, and the tables of the page for users of PtychoPINN, made from the table of its spellings."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from ptycho_core.compatibility.table import COMMANDS, NONE, Entry, argument_defaults, entries, setting_defaults
from ptycho_core.settings.groups import declarations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["TABLES", "defaults_table", "flag_table", "help_page"]

_USAGE = {
    "train": "ptycho_train --train_data_file SCAN [--test_data_file SCAN] [--output_dir RUN] [flags]",
    "inference": "ptycho_inference --model_path RUN --test_data SCAN [--output_dir OUT] [flags]",
}
_ARGUMENTS = {
    "scan": "the scan",
    "validation": "`ptycho train --validation`",
    "output_dir": "`--output-dir`",
    "model": "`ptycho infer --model`",
    "config": "settings in YAML, read by this table",
    "phase_vmin": "the darkest phase",
    "phase_vmax": "the brightest phase",
}


def help_page(command: str) -> str:
    """What ``--help`` prints."""
    ours = f"ptycho {COMMANDS[command]}"
    parts = [f"usage: {_USAGE[command]}", ""]
    words = (
        f"{ours} in the words of PtychoPINN, {'training' if command == 'train' else 'inference'}. Flags are written with hyphens"
    )
    words += f" or underscores, values after a blank or '='. Every further flag of '{ours}' is taken too, such as --overwrite."
    parts += [*textwrap.wrap(words, 79), ""]
    for one in entries(command).values():
        parts += textwrap.wrap(_becomes(one).replace("`", ""), 79, initial_indent=f"  {_shown(one)}  ", subsequent_indent=" " * 6)
    applied = {**argument_defaults(command), **setting_defaults(command, supervised=False)}
    defaults = ", ".join(f"{name} {text}" for name, text in applied.items())
    return "\n".join([*parts, "", *textwrap.wrap(f"defaults of this command: {defaults}", 79)])


def flag_table() -> str:
    """Every flag, PtychoPINN's default, and what it is here."""
    rows = ["| flag | default there | here |", "|---|---|---|"]
    for command in COMMANDS:
        for one in entries(command).values():
            if command == "train" or one.name not in entries("train") or entries("train")[one.name] != one:
                only = "" if entries("train").get(one.name) == entries("inference").get(one.name) else f" ({command})"
                default = f"`{one.default.replace(NONE, 'None')}`" if one.default else ""
                rows.append(f"| `{_shown(one)}`{only} | {default} | {_becomes(one)} |")
    return "\n".join(rows)


def defaults_table() -> str:
    """PtychoPINN's defaults next to ours, where they differ or apply."""
    rows = ["| our setting | default there | `ptycho train` | `ptycho_train` |", "|---|---|---|---|"]
    applied, known, seen = setting_defaults("train", supervised=False), declarations("train"), set[str]()
    for one in entries("train").values():
        for name in [one.setting] if one.setting in known else []:
            theirs = _default(one)
            ours = known[name].show(known[name].default)
            takes = applied.get(name, ours)
            if name not in seen and (theirs != ours or takes != ours):
                rows.append(f"| `{name}` | {_written(theirs)} | {_written(ours)} | {_written(takes)} |")
            seen.add(name)
    rows += [
        f"| `{name}` |  | {_written(known[name].show(known[name].default))} | {_written(text)} |"
        for name, text in applied.items()
        if name not in seen and name in known
    ]
    return "\n".join(rows)


TABLES: Mapping[str, Callable[[], str]] = {"flags": flag_table, "defaults": defaults_table}
"""The tables of the page by the name in their marks."""


def _default(one: Entry) -> str:
    """Their default in our words."""
    if not one.default or one.default == NONE:
        return "auto"
    if one.refused:
        return one.default
    return one.meaning(one.default, "").get(one.setting, one.default)


def _written(text: str) -> str:
    return f"`{text}`"


def _shown(one: Entry) -> str:
    negative = f", --{one.negative}" if one.negative else ""
    return f"--{one.name}" + negative


def _becomes(one: Entry) -> str:
    """What a flag is here, in Markdown."""
    parts = []
    if one.refused:
        accepted = [_word(one, word) for word in one.same]
        parts.append(f"{' and '.join(accepted)}: what is done anyway; else refused" if accepted else "refused")
        parts[-1] += f": {one.refused}"
    elif one.argument:
        parts.append(_ARGUMENTS[one.argument])
    elif one.values and not all(meant == word for word, meant in one.values.items()):
        parts.append("; ".join(f"{_word(one, word)}: {_means(one, meant)}" for word, meant in one.values.items()))
        parts[-1] += "; any other word as it is" if one.open else ""
    else:
        parts.append(f"`{_flag(one.setting)}`")
    for why in dict.fromkeys(one.refuses.values()):
        words = [_word(one, word) for word, its in one.refuses.items() if its == why]
        parts.append(f"{', '.join(words)} {'is' if len(words) == 1 else 'are'} refused: {why}")
    parts += [one.note] if one.note else []
    parts += [f"deprecated for `{one.deprecated}`"] if one.deprecated else []
    return ". ".join(part[0].upper() + part[1:] if number else part for number, part in enumerate(parts))


def _word(one: Entry, word: str) -> str:
    return f"`{word.capitalize() if one.takes == 'truth' or (word == NONE and not one.values) else word}`"


def _means(one: Entry, meant: str | Mapping[str, str]) -> str:
    pairs = {one.setting: meant} if isinstance(meant, str) else meant
    return ", ".join(f"`{_shown_flag(name, text)}`" for name, text in pairs.items()) or "as without it"


def _shown_flag(name: str, text: str) -> str:
    """One of our flags with its value; a truth has none."""
    if text == "true":
        return _flag(name)
    return f"--no-{name.replace('_', '-')}" if text == "false" else f"{_flag(name)} {text}"


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
