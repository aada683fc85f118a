"""Logs that are in the folder of an earlier job, and that are no one else's: a user may keep things beside and between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptycho_core.files.old import OldFiles
from ptycho_core.loggers.names import EVENTS, LOG, STEPS, STORE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["old_files"]


def old_files(folder: Path, others: Iterable[Path] = (), within: Iterable[Path] = (), renamed: Path | None = None) -> OldFiles:
    """What an earlier job left: its logs, and the ``others`` of its files; see `OldFiles`."""
    store = folder / STORE
    inside = sorted((path for path in store.rglob("*") if path.is_dir() and not path.is_symlink()), reverse=True)
    events = (folder / EVENTS).glob("events.out.tfevents.*")
    logs = [folder / LOG, folder / STEPS, *events, *_stored(store)]
    return OldFiles([*others, *logs], [*within, folder / EVENTS, *inside, store], renamed)


def _stored(store: Path) -> Iterator[Path]:
    """MLflow's files of our runs, and of experiments that hold nothing else; not what a user has added to a run."""
    for experiment in _folders(store):
        runs = [path for path in _folders(experiment) if (path / "tags" / "ptycho.verb").is_file()]
        for run in runs:
            yield run / "meta.yaml"
            for part in ("metrics", "params", "tags"):
                yield from (path for path in (run / part).rglob("*") if path.is_file())
        if {path.name for path in experiment.iterdir()} == {"meta.yaml", *(path.name for path in runs)}:
            yield experiment / "meta.yaml"


def _folders(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if path.is_dir()] if place.is_dir() else []
