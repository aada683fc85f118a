"""The reference of all settings, made from their declarations: ``python -m ptycho_core.settings.document > docs/reference/settings.md``."""

from __future__ import annotations

import sys

from ptycho_core.settings.declare import Declaration, declarations
from ptycho_core.settings.table import GROUPS

__all__ = ["reference"]

_HEAD = """# Settings

Made from the declarations by `python -m ptycho_core.settings.document`; do not edit. What takes precedence, and how settings are
written in a file, is in [`specs/settings.md`](../../specs/settings.md).
"""


def reference() -> str:
    """The whole page, as Markdown."""
    parts = [_HEAD]
    for cls in GROUPS:
        parts.append(f"## {cls.group_title[0].upper()}{cls.group_title[1:]}\n\nTable `[{cls.group_name}]` of a settings file.\n")
        parts += [_section(one) for one in declarations(cls)]
    return "\n".join(parts)


def _section(one: Declaration) -> str:
    facts = [
        ("value", one.expected()),
        ("default", f"`{one.show(one.default)}`"),
        ("flag", _flags(one)),
        ("variable", f"`{one.variable}`"),
        ("also called", ", ".join(f"`{name}`" for name in one.aliases)),
        ("also written", ", ".join(f"`{other}` for `{word}`" for other, word in one.respelled.items())),
        ("taken by", ", ".join(f"`{verb}`" for verb in one.verbs)),
        ("backend must offer", f"`{one.capability}`" if one.capability else ""),
    ]
    lines = [f"### `{one.name}`\n", f"{one.help}\n", *(f"- {label}: {text}" for label, text in facts if text)]
    return "\n".join(lines) + "\n"


def _flags(one: Declaration) -> str:
    if one.kind is not bool:
        return f"`{one.flag} {one.name.upper()}`"
    flags = [one.flag, one.flag.replace("--", "--no-", 1), *(f"--{word}" for word in one.off)]
    return ", ".join(f"`{flag}`" for flag in flags)


if __name__ == "__main__":
    sys.stdout.write(reference())
