"""The result folder: what a run leaves behind. ``specs/result-folder.md`` binds."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.errors import PtychoError
from ptycho_core.files.rescue import write_or_rescue
from ptycho_core.files.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.figure import Figure

    from ptycho_core.formats.product import Reconstruction

__all__ = [
    "FRAMES",
    "HALVES",
    "HISTORY",
    "LOSSES",
    "RECORDS",
    "RESULTS",
    "SEAL",
    "draw_all",
    "write_json",
    "write_log",
    "write_results",
]

RESULTS = ("reconstruction.h5", "settings.json", "metrics.json", "object.png", "probe.png")
LOSSES = "losses.png"
FRAMES = ("frames.csv", "frames.png")
HISTORY = (LOSSES, *FRAMES)
"""Files of a result folder: those of every result, and those of one that was fitted to its frames."""
HALVES = ("resolution.json", "resolution.png")
"""Files of the comparison of two halves of a scan."""
SEAL = "metrics.json"
"""The file that is written last and goes first: a folder that has it is complete."""
RECORDS = ("settings.json", LOSSES, SEAL)
"""What the folder of a training holds next to models and logs, in the order of writing."""


def write_results(
    output_dir: str | Path,
    reconstruction: Reconstruction,
    *,
    settings: Mapping[str, Any],
    metrics: dict[str, Any],
    frames: Sequence[Mapping[str, Any]] = (),
    figures: bool = True,
    ready: Callable[[], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> tuple[Path, ...]:
    """Write the result folder of a reconstruction; each file appears whole or not at all, the arrays first.

    A figure that cannot be drawn or written is left out, as a note says. ``metrics.json`` comes last: with it the folder is
    complete.

    Args:
        output_dir: folder, which exists; the caller has decided that what is in it may be replaced.
        reconstruction: what was found.
        settings: every setting with its source, for ``settings.json``; anything JSON can hold.
        metrics: misfit and what else was measured, for ``metrics.json``; what is to be said of the figures is added to ``notes``.
        frames: a row for each frame, for ``frames.csv``; without rows there is no such file.
        figures: whether figures are drawn; the folder is complete without them.
        ready: called when the new arrays are on the disk, just before they take the place of those before them.
        tell: called with each note that is added.

    Returns:
        The files written: those of ``RESULTS``, and those of ``HISTORY`` where there is one. The log is the logger's.

    Raises:
        OutputError: a file cannot be written; the message says where it is instead, or that it is lost.
    """
    folder, one = Path(output_dir), reconstruction
    metrics.setdefault("notes", [])
    drawings = _drawings(one, frames) if figures else {}

    def save(path: Path) -> None:
        one.save(path, ready=ready if path.parent == folder else None)

    def finish(path: Path) -> None:
        if path.parent == folder:
            metrics["notes"] += draw_all(folder, drawings, tell)
        write_json(path, metrics)

    table = [(FRAMES[0], lambda path: write_log(path, frames))] if frames else []
    write_or_rescue(
        folder,
        [("reconstruction.h5", save), ("settings.json", lambda path: write_json(path, settings)), *table, (SEAL, finish)],
    )
    files = [folder / name for name in (*RESULTS, *HISTORY)]
    made = {"reconstruction.h5", "settings.json", SEAL, *(name for name, _ in table), *drawings}
    return tuple(path for path in files if path.name in made and path.exists())


def _drawings(one: Reconstruction, frames: Sequence[Mapping[str, Any]]) -> dict[str, Callable[[], Figure]]:
    """What draws each figure of a result, by name of the file."""
    from ptycho_core.imaging.figures import figure_of_frames, figure_of_losses, figure_of_object, figure_of_probe

    drawings: dict[str, Callable[[], Figure]] = {
        "object.png": lambda: figure_of_object(one.object, positions=one.positions, window=one.N, pixel_size_m=one.pixel_size_m),
        "probe.png": lambda: figure_of_probe(one.probe, pixel_size_m=one.pixel_size_m),
    }
    if one.history:
        drawings[LOSSES] = lambda: figure_of_losses(one.history)
    if frames:
        drawings[FRAMES[1]] = lambda: figure_of_frames(frames)
    return drawings


def draw_all(folder: Path, drawings: Mapping[str, Callable[[], Figure]], tell: Callable[[str], None] | None = None) -> list[str]:
    """Draw figures into a folder. One that fails must not end a job: it is left out, and the old one of its name goes.

    Args:
        folder: for the figures.
        drawings: what makes each, by name of the file.
        tell: called with each note.

    Returns:
        A note for each that failed.
    """
    from ptycho_core.imaging.figures import draw

    notes = []
    for name, make in drawings.items():
        try:
            draw(make, folder / name)
        except PtychoError as error:
            with suppress(OSError):
                (folder / name).unlink(missing_ok=True)
            notes.append(error.message.replace(str(folder / name), name))
            if tell is not None:
                tell(notes[-1])
    return notes


def write_json(path: Path, values: Mapping[str, Any], ready: Callable[[], None] | None = None) -> Path:
    """Write a mapping as indented JSON, numbers that are not finite as null, in one step; ``ready`` as of ``replace_file``."""
    text = json.dumps(_plain(values), indent=2, allow_nan=False) + "\n"
    write_whole(path, text.encode(), ready)
    return path


def write_log(path: Path, history: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> Path:
    """Write history rows as CSV with a header of every column that occurs, those in ``names`` first; what is missing is empty."""
    every = {name for row in history for name in row}
    names = list(dict.fromkeys([*(name for name in names if name in every), *(name for row in history for name in row)]))
    text = StringIO(newline="")
    table = csv.DictWriter(text, names or ["epoch"])
    table.writeheader()
    table.writerows(history)
    write_whole(path, text.getvalue().encode())
    return path


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON in, JSON out
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool) or value is None else str(value)
