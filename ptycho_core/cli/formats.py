"""``ptycho formats``: list the formats of scan files that are read and written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ptycho_core.cli.tables import print_table
from ptycho_core.spelling import shown

if TYPE_CHECKING:
    import argparse

    from ptycho_core.formats.registry import FormatRow

__all__ = ["add_parser"]


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "formats",
        help="list the formats of scan files that are read and written",
        description="List the formats of scan files that are read, with what each is recognized by, and those that 'ptycho "
        "convert' writes. Names go after --format.",
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="say all about one: what it reads, its units, axes and signs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=_list)


def _list(args: argparse.Namespace) -> int:
    from ptycho_core.formats.registry import format_named, formats

    if args.name is not None:
        from ptycho_core.formats.document import format_page

        print(shown_lines(format_page(format_named(args.name))))
    elif args.json:
        import json

        print(json.dumps([_data(row) for row in formats()], indent=2))
    else:
        print_table(("NAME", "READS", "WRITES", "RECOGNIZED BY", "COMES WITH", ""), [_cells(row) for row in formats()])
    return 0


def shown_lines(text: str) -> str:
    """A text of several lines, harmless to a terminal."""
    return "\n".join(shown(line) for line in text.splitlines())


def _cells(row: FormatRow) -> tuple[str, str, str, str, str, str]:
    one = row.found
    if one is None:
        return row.name, "", "", "", row.source, f"left out: {row.reason}"
    extra = f"some files need: pip install 'ptycho-core[{one.extra}]'" if one.extra else ""
    written = f"--to {one.written_as}" if one.written_as else ""
    return row.name, one.title, written, one.recognized_by.replace("`", ""), row.source, extra


def _data(row: FormatRow) -> dict[str, Any]:
    one = row.found
    facts = {} if one is None else {
        "title": one.title, "reads": one.reads, "recognized_by": one.recognized_by, "extensions": list(one.extensions),
        "conventions": list(one.conventions), "extra": one.extra, "written_as": one.written_as, "writes": one.writes,
    }  # fmt: skip
    return {"name": row.name, "provided_by": row.source, "left_out": row.reason, **facts}
