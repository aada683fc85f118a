"""The logger ``csv``: ``log.csv`` with a row for each epoch, ``steps.csv`` with one for each reported step."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.imaging.report import write_log
from ptycho_core.loggers.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ptycho_core.contract import Event
    from ptycho_core.loggers.logger import LoggedRun

__all__ = ["Tables"]

LOG: Final = "log.csv"
STEPS: Final = "steps.csv"


class Tables(Logger):
    """Both tables; they begin with the rows of epochs finished before, and their steps."""

    name = "csv"

    def __init__(self, run: LoggedRun) -> None:
        self._epochs = _Table(run.folder / LOG, run.history)
        self._steps = _Table(run.folder / STEPS, _steps_before(run.folder / STEPS, len(run.history)))

    def __call__(self, event: Event) -> None:
        """Write the row of an epoch or of a step."""
        if event.kind == "epoch":
            self._epochs.add(event.values)
        elif event.kind == "step" and "step" in event.values:
            self._steps.add({"step": event.values["step"], "epoch": event.epoch, **event.values})

    @classmethod
    def writes(cls, *, steps: bool) -> Sequence[str]:
        """The names of the tables."""
        return [LOG, STEPS] if steps else [LOG]


class _Table:
    """One file, which grows by a line for each row. It is written anew, in one step, where a row brings a new column."""

    def __init__(self, path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        self._path, self._rows = path, [dict(row) for row in rows]
        self._names = _header(path) if self._rows else []  # rows of a checkpoint have lost the order of their columns
        if self._rows:
            self._rewrite()

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row."""
        self._rows.append(dict(row))
        if set(row) - set(self._names):
            self._rewrite()
            return
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._names).writerow(row)

    def _rewrite(self) -> None:
        write_log(self._path, self._rows, self._names)
        self._names = _header(self._path)


def _header(path: Path) -> list[str]:
    """The columns of a table; none where it is not there."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])


def _steps_before(path: Path, epochs: int) -> list[dict[str, Any]]:
    """The steps of finished epochs in a table of an earlier call; those of an epoch that was cut off will come again."""
    if not (epochs and path.is_file()):
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if (row.get("epoch") or "").isdigit() and int(row["epoch"]) <= epochs]
