"""What a comparison leaves behind: ``comparison.json`` and ``comparison.png``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from ptycho_core.comparison.entry import Comparison
    from ptycho_core.comparison.judge import Judge

__all__ = ["FIGURE", "TABLE", "clear", "write_comparison"]

TABLE: Final = "comparison.json"
FIGURE: Final = "comparison.png"


def clear(folder: Path) -> None:
    """Take away what an earlier comparison left."""
    for name in (TABLE, FIGURE):
        (folder / name).unlink(missing_ok=True)


def write_comparison(found: Comparison, judge: Judge) -> None:
    """Write table and figure, each whole or not at all; no figure where there is no result.

    Raises:
        OutputError: a file cannot be written.
    """
    from ptycho_core.imaging.figures import draw_or_warn, figure_of_comparison
    from ptycho_core.imaging.report import write_json

    write_json(found.folder / TABLE, found.as_dict())
    if judge.pictures:
        pixel = judge.pixel_size_m
        draw_or_warn(lambda: figure_of_comparison(judge.pictures, pixel_size_m=pixel), found.folder / FIGURE)
