"""Tables as the terminal shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptycho_core.spelling import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CELL", "print_table"]

CELL = 200
"""Characters of a cell of a table, and of a line of a trace."""


def print_table(head: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Print rows below a head, each column as wide as its widest cell."""
    rows = [head, *([*(shown(cell, CELL) for cell in row[:-1]), shown(row[-1])] for row in cells)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
