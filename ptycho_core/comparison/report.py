"""What a comparison leaves behind: ``comparison.json`` and ``comparison.png``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ptycho_core.comparison.entry import Comparison
    from ptycho_core.comparison.scoring import Scoring

__all__ = ["FIGURE", "TABLE", "write_comparison"]

TABLE: Final = "comparison.json"
FIGURE: Final = "comparison.png"


def write_comparison(found: Comparison, scoring: Scoring, ready: Callable[[], None], *, figures: bool = True) -> list[str]:
    """Write table and figure, each whole or not at all; no figure where there is no result, or none is wanted.

    Args:
        found: for the table.
        scoring: with the pictures.
        ready: called when the new table is on the disk, just before it takes its name: what is replaced goes then.
        figures: whether the figure is drawn.

    Returns:
        A note if the figure could not be drawn.

    Raises:
        OutputError: the table cannot be written; the message says where it is instead, or that it is lost.
    """
    from ptycho_core.files.rescue import write_or_rescue
    from ptycho_core.imaging.report import draw_all, write_json

    def write(path: Path) -> None:
        write_json(path, found.as_dict(), ready=ready if path.parent == found.folder else None)

    write_or_rescue(found.folder, [(TABLE, write)])
    if not figures or not scoring.pictures:
        return []
    from ptycho_core.imaging.figures import figure_of_comparison

    return draw_all(found.folder, {FIGURE: lambda: figure_of_comparison(scoring.pictures, pixel_size_m=scoring.pixel_size_m)})
