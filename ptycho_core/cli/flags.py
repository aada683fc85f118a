"""The inventory of all flags of settings: default, type, destination, and what each backend does with them.

``python -m ptycho_core.cli.flags docs/cli/equivalents.toml > docs/cli/flag-inventory.md`` brings the page up to date.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from ptycho_core.settings.declare import declarations_of
from ptycho_core.settings.document import markdown_table
from ptycho_core.settings.groups import GROUPS
from ptycho_core.settings.rules import acts_only

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_core.settings.declare import Declaration

__all__ = ["flag_inventory", "kind_of"]

_KINDS = {"bool": "truth", "int": "whole number", "float": "number", "str": "text", "path": "path"}

_HEAD = """# Flags of settings

Made from the declarations and `docs/cli/equivalents.toml` by `make pages`; do not edit. A flag that is not typed leaves no
trace. The destination is the field of the group in the payload (`payload.groups["execution"]["seed"]`), and the table and key
of a settings file. What each backend makes of a setting: *the same* means that the text in
[settings](../reference/settings.md) says all, and no backend differs. That a flag acts is
[proved for each](../options-by-backend.md); flags of the commands themselves are in the [schema](argparse-schema.md), names of
other programs in [flag naming](flag-naming.md).
"""


def flag_inventory(equivalents: Mapping[str, Mapping[str, str]]) -> str:
    """The page, as Markdown.

    Args:
        equivalents: by setting and backend, what the backend does with it; a setting without an entry is the same for all.
    """
    backends = list(dict.fromkeys(name for told in equivalents.values() for name in told))
    head = ["flag", "default", "type", "destination", *backends, "taken by", "notes"]
    parts = [_HEAD]
    for group in GROUPS:
        rows = [_row(one, backends, equivalents.get(one.name, {})) for one in declarations_of(group)]
        parts.append(f"## {group.GROUP}\n\n{markdown_table(head, rows)}")  # type: ignore[attr-defined]
    return "\n".join(parts)


def kind_of(one: Declaration) -> str:
    """Type and range of a setting, in words."""
    kind = one.allowed if one.choices else ", ".join(filter(None, [_KINDS[one.kind], one.allowed]))
    return kind + (f", or `{one.show(None)}`" if one.optional else "")


def _row(one: Declaration, backends: list[str], told: Mapping[str, str]) -> list[str]:
    notes = [f"in {one.unit}" if one.unit else "", acts_only(one.name)]
    notes += [f"`{other}` means `{word}`" for other, word in one.also]
    return [
        ", ".join(f"`{flag}`" for flag in one.every_flag),
        f"`{one.show(one.default)}`",
        kind_of(one),
        f"`{one.group}.{one.name}`",
        *(told.get(backend, "the same") for backend in backends),
        ", ".join(verb for verb in one.verbs if verb != "evaluate"),
        "; ".join(filter(None, notes)),
    ]


if __name__ == "__main__":
    sys.stdout.write(flag_inventory(tomllib.loads(Path(sys.argv[1]).read_text("utf-8"))))
