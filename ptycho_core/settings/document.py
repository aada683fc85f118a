"""The reference of all settings, made from their declarations.

``python -m ptycho_core.settings.document > docs/reference/settings.md`` brings the page up to date.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ptycho_core.settings.declare import declarations_of
from ptycho_core.settings.groups import GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ptycho_core.settings.declare import Declaration

__all__ = ["markdown_table", "reference"]

_HEAD = """# Settings

Made from the declarations by `python -m ptycho_core.settings.document`; do not edit. Which source goes before which,
and how settings are written in a file, is in [`specs/options.md`](../../specs/options.md). `ptycho backends show NAME`
shows the options of a backend.
"""


def reference() -> str:
    """The whole page, as Markdown."""
    parts = [_HEAD]
    for group in GROUPS:
        name = str(group.GROUP)  # type: ignore[attr-defined]
        parts.append(f"## {name}\n\nTable `[{name}]` of a settings file.\n")
        parts += [_section(one) for one in declarations_of(group)]
    return "\n".join(parts)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; bars inside cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _section(one: Declaration) -> str:
    kind = {"bool": "true or false", "int": "whole number", "float": "number", "str": "text", "path": "path of a file"}[one.kind]
    unit = f" ({one.unit})" if one.unit else ""
    value = one.allowed if one.choices else ", ".join(filter(None, [kind, one.allowed])) + unit
    flags = [one.flag, *([one.negated] if one.switches else [])]
    flags += [f"{one.flag}={word}" for word in one.choices if one.switch_words and word not in one.switch_words]
    meaning = (("true", "1"), ("false", "0"))
    also = [*one.also, *((text, word) for texts, word in zip(meaning, one.switch_words, strict=False) for text in texts)]
    facts = [
        ("value", value + (f"; or `{one.show(None)}`" if one.optional else "")),
        ("default", f"`{one.show(one.default)}`"),
        ("flag", ", ".join(f"`{flag}`" for flag in (*flags, *one.flags))),
        ("variable", f"`{one.variable}`"),
        ("also written", ", ".join(f"`{other}` for `{word}`" for other, word in also)),
        ("taken by", ", ".join(f"`{verb}`" for verb in one.verbs)),
    ]
    lines = [f"- {label}: {text}" for label, text in facts if text]
    return "\n".join([f"### `{one.name}`\n", f"{one.help[0].upper()}{one.help[1:]}\n", *lines]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
