"""The pages of the formats, made from their classes: ``python -m ptycho_core.formats.document FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ptycho_core.files.markdown import markdown_table
from ptycho_core.formats.lost import PARTS
from ptycho_core.formats.registry import formats

if TYPE_CHECKING:
    from ptycho_core.formats.interface import ScanFormat

__all__ = ["format_page", "pages"]

_OURS = "ptycho-core"
_INDEX = """# Formats of scan files

Made from the classes of the formats by `make pages`; do not edit. `ptycho formats` prints the same for what is installed, and
`ptycho inspect FILE` says of a file which format reads it, why, and what was taken from where. [Your data](../your-data.md) leads
from a file to a reconstruction.

"""


def format_page(one: ScanFormat) -> str:
    """All about a format, as Markdown."""
    lines = [f"# {one.title}", "", f"`--format {one.name}`. {one.reads}", "", f"* Recognized by: {one.recognized_by}."]
    lines += [f"* Usually named: {', '.join(f'`{name}`' for name in one.extensions)}."] if one.extensions else []
    lines += [f"* Some files need `python -m pip install 'ptycho-core[{one.extra}]'`."] if one.extra else []
    lines += ["", "## Units, axes, signs", "", *(f"* {sentence}" for sentence in one.conventions)]
    if one.written_as:
        lost = "; ".join(text for part, text in PARTS.items() if part not in one.keeps)
        lines += ["", "## Writes", "", f"`ptycho convert SOURCE OUT --to {one.written_as}`. {one.writes}", ""]
        lines += [f"A file has no place for: {lost}."] if lost else []
    return "\n".join(lines) + "\n"


def _written(one: ScanFormat) -> str:
    return f"`--to {one.written_as}`" if one.written_as else ""


def pages() -> dict[str, str]:
    """The pages of ptycho's own formats by the names of their files, and a list of them."""
    ours = [row.found for row in formats() if row.found is not None and row.source.partition(" ")[0] == _OURS]
    rows = ([f"[`{one.name}`]({one.name}.md)", one.title, one.recognized_by, _written(one)] for one in ours)
    table = markdown_table(["name", "reads", "recognized by", "written"], rows)
    return {"README.md": _INDEX + table} | {f"{one.name}.md": format_page(one) for one in ours}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, "utf-8")
