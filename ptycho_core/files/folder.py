"""The folder for results: refused before any work if it cannot be used, and one job's alone while that runs."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ptycho_core.errors import OutputError
from ptycho_core.files.lock import LOCK, FolderLock, check_unlocked
from ptycho_core.files.names import CHECKPOINTS, is_left_over
from ptycho_core.files.whole import why

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ptycho_core.files.old import OldFiles

__all__ = ["Claim", "check_folder", "claimed_folder"]


class Claim:
    """A folder that is a job's own for now.

    Args:
        folder: the folder.
        lock: on it.
    """

    def __init__(self, folder: Path, lock: FolderLock) -> None:
        self._folder, self._lock = folder, lock

    def replace(self, old: OldFiles) -> None:
        """Take away what is replaced, in the folder that was claimed: another one of that name may be another job's.

        Raises:
            OutputError: it was removed or moved away while the job ran, or a file in it cannot be deleted.
        """
        if not self._lock.held:
            raise OutputError(f"The output folder {self._folder} was removed or replaced while the job ran.")
        old.remove()


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that results would not be written to; makes and changes nothing.

    Raises:
        OutputError: it is a file, lies below one, another job is at work in it, or it is not empty and ``overwrite`` is False.
    """
    above = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, not a folder for results.")
    if above.exists() and not above.is_dir():
        raise OutputError(f"The output folder {folder} cannot be made: {above} is a file.")
    if folder.is_dir():
        check_unlocked(folder)
        _check_empty(folder, overwrite=overwrite)


@contextmanager
def claimed_folder(folder: Path, *, overwrite: bool) -> Iterator[Claim]:
    """Make sure that results can be written to a folder, before any work, and keep other jobs out of it in the ``with`` block.

    What a killed job left half written goes. If the work fails, folders that were made for it are taken away again.

    Raises:
        OutputError: it is a file, cannot be made or written, another job is at work in it, or it is not empty and ``overwrite``
            is False.
    """
    check_folder(folder, overwrite=overwrite)
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        _make(folder)
        with FolderLock(folder) as lock:
            _check_empty(folder, overwrite=overwrite)  # another job may have ended since
            _remove_left_overs(folder)
            yield Claim(folder, lock)
    except BaseException:
        with suppress(OSError):  # not empty: something is there that a user may want
            for place in missing:
                place.rmdir()
        raise


def _check_empty(folder: Path, *, overwrite: bool) -> None:
    try:
        there = [path for path in folder.iterdir() if path.name != LOCK and not is_left_over(path)]
    except OSError as error:
        raise OutputError(f"The output folder {folder} cannot be read: {why(error)}.") from error
    if there and not overwrite:
        raise OutputError(f"The output folder {folder} is not empty.", remedy="Use --overwrite to replace the results in it.")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The output folder {folder} cannot be made: {why(error)}.") from error


def _remove_left_overs(folder: Path) -> None:
    for place in (folder, folder / CHECKPOINTS):
        for path in place.glob(".*.*"):
            if is_left_over(path):
                with suppress(OSError):  # it does no harm but to take room
                    path.unlink()
