"""Logs that are in the folder of an earlier job, and that nothing else owns: a user may keep things next to and between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptycho_core.events import warn
from ptycho_core.files.old import OldFiles
from ptycho_core.loggers.logger import Left

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ptycho_core.loggers.logger import Logger

__all__ = ["old_files"]


def old_files(folder: Path, others: Iterable[Path] = (), within: Iterable[Path] = (), renamed: Path | None = None) -> OldFiles:
    """What an earlier job left: its logs, whichever logger wrote them, and the ``others`` of its files; see `OldFiles`."""
    from ptycho_core.settings.components import loggers

    is_new = next(folder.glob("[!.]*"), None) is None  # so no logger need be imported to ask it
    left = [] if is_new else [_left(kind, folder) for kind in loggers().values()]
    files, folders = ([path for one in left for path in one[part]] for part in (0, 1))
    return OldFiles([*others, *files], [*within, *folders], renamed)


def _left(kind: type[Logger], folder: Path) -> Left:
    try:
        return kind.left(folder)
    except Exception as error:  # noqa: BLE001 - whatever the logger of another distribution does, the run continues
        warn(f"the logger {kind.name} cannot say what it left in {folder}: {type(error).__name__}: {error}")
        return Left(())
