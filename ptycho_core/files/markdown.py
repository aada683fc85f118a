"""Tables in Markdown, and pages whose tables are made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["markdown_table", "with_tables"]


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; bars inside cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def with_tables(page: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """The page with each table, which stands between ``<!-- NAME -->`` and ``<!-- end -->``, made anew.

    Raises:
        ValueError: the page has no place for one of them.
    """
    for name, made in tables.items():
        before, mark, after = page.partition(f"<!-- {name} -->\n")
        if not mark:
            raise ValueError(f"the page has no mark '<!-- {name} -->'")
        page = f"{before}{mark}{made().rstrip()}\n<!-- end -->{after.partition('<!-- end -->')[2]}"
    return page
