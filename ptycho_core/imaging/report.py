"""The result folder: what a run leaves behind. ``specs/result-folder.md`` binds."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.errors import OutputError
from ptycho_core.formats.product_hdf5 import replace_file

if TYPE_CHECKING:
    from ptycho_core.formats.product import Reconstruction

__all__ = ["HISTORY", "RESULTS", "write_json", "write_log", "write_results"]

RESULTS = ("reconstruction.h5", "settings.json", "metrics.json", "object.png", "probe.png")
HISTORY = ("losses.png",)
"""Files of a result folder: those of every result, and those of one that has a history."""


def write_results(
    output_dir: str | Path, reconstruction: Reconstruction, *, settings: Mapping[str, Any], metrics: Mapping[str, Any]
) -> tuple[Path, ...]:
    """Write the result folder of a reconstruction; each file appears whole or not at all, the arrays first.

    Args:
        output_dir: folder, made if it does not exist; the caller has decided that what is in it may be replaced.
        reconstruction: what was found.
        settings: every setting with its source, for ``settings.json``; anything JSON can hold.
        metrics: misfit and what else was measured, for ``metrics.json``.

    Returns:
        The files written: those of ``RESULTS``, and those of ``HISTORY`` where there is one. The log is the logger's.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    from ptycho_core.imaging.figures import figure_of_losses, figure_of_object, figure_of_probe, save_figure

    folder = Path(output_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot make the folder {folder}: {error.strerror}.") from error
    one = reconstruction
    pixel = one.pixel_size_m
    written = [
        one.save(folder / "reconstruction.h5"),
        write_json(folder / "settings.json", settings),
        write_json(folder / "metrics.json", metrics),
        save_figure(
            figure_of_object(one.object, positions=one.positions, window=one.N, pixel_size_m=pixel), folder / "object.png"
        ),
        save_figure(figure_of_probe(one.probe, pixel_size_m=pixel), folder / "probe.png"),
    ]
    if one.history:
        written.append(save_figure(figure_of_losses(one.history), folder / "losses.png"))
    else:  # that of results that are replaced would pass for this one
        for name in HISTORY:
            (folder / name).unlink(missing_ok=True)
    return tuple(written)


def write_json(path: Path, values: Mapping[str, Any]) -> Path:
    """Write a mapping as indented JSON, numbers that are not finite as null, in one step."""
    text = json.dumps(_plain(values), indent=2, allow_nan=False) + "\n"
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path


def write_log(path: Path, history: Sequence[Mapping[str, Any]]) -> Path:
    """Write history rows as CSV with a header of every column that occurs; what is missing is empty."""
    names = list(dict.fromkeys(name for row in history for name in row))

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, names or ["epoch"])
            table.writeheader()
            table.writerows(history)

    replace_file(path, write)
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
