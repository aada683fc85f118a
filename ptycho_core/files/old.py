"""What an earlier job left in a folder: it stays until the files of the new one are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from ptycho_core.files.whole import cannot_write

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["OldFiles"]

_Identity: TypeAlias = tuple[int, int, int, int]


class OldFiles:
    """The files among ``paths`` that are there now.

    Args:
        paths: files that a job of this kind writes, and no other, in the order in which they are to go.
        within: our folders that are to go with them once nothing is left inside, the innermost first.
        renamed: a file whose place the new one takes by being renamed, so that there is always one.

    Attributes:
        gone: whether they were removed, or there were none.
    """

    def __init__(self, paths: Iterable[Path], within: Iterable[Path] = (), renamed: Path | None = None) -> None:
        self._there = {path: found for path in paths if (found := _identity(path)) is not None}
        self._within = tuple(within)
        self.gone = not self._there and (renamed is None or not renamed.exists())

    def remove(self) -> None:
        """Delete them, but for those whose place a new file has taken.

        Raises:
            OutputError: one cannot be deleted.
        """
        if self.gone:
            return
        for path, before in self._there.items():
            if _identity(path) == before:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise cannot_write(path, error) from error
        for folder in self._within:
            try:
                folder.rmdir()
            except OSError:  # there is none, or something else is in it
                continue
        self.gone = True


def _identity(path: Path) -> _Identity | None:
    """What a file has in common with no other, also not with one that is written in its place later."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns
