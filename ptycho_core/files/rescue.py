"""Results that their folder cannot take at the end: hours of work may be in them, so they go where there is room."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ptycho_core.errors import OutputError
from ptycho_core.files.whole import why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["write_or_rescue"]


def write_or_rescue(folder: Path, files: Sequence[tuple[str, Callable[[Path], object]]]) -> None:
    """Write files into a folder in this order; from the first on that cannot be, they go into a new folder elsewhere.

    That is made in ``TMPDIR`` or else in the home folder: a place that cannot hold the first of the files is passed over.

    Args:
        folder: for the files.
        files: name, and what writes the file to a path, whole or not at all.

    Raises:
        OutputError: the folder could not take all; the message says where the rest is, or that it is lost.
    """
    for number, (name, write) in enumerate(files):
        try:
            write(folder / name)
        except OutputError as error:
            done = f" {_listed([name for name, _ in files[:number]])} in {folder}." if number else ""
            raise OutputError(f"{error.message}{done} {_rescued(folder, files[number:])}") from error


def _rescued(folder: Path, files: Sequence[tuple[str, Callable[[Path], object]]]) -> str:
    """Write the files elsewhere; where they are now, in a sentence."""
    tried = []
    for place in _places():
        try:
            refuge = Path(tempfile.mkdtemp(prefix=f"ptycho-{folder.resolve().name}-", dir=place))
        except OSError as error:
            tried.append(f"{place} ({why(error)})")
            continue
        saved, reason = _saved(refuge, files)
        if saved:
            return f"{_listed(saved)} in {refuge} instead."
        shutil.rmtree(refuge, ignore_errors=True)
        tried.append(f"{place} ({reason})")
    return f"Nothing could be saved elsewhere either; tried: {', '.join(tried) or 'there is no other place'}."


def _saved(refuge: Path, files: Sequence[tuple[str, Callable[[Path], object]]]) -> tuple[list[str], str]:
    """Names of the files that a place took, and why it did not take more; none without the first."""
    saved: list[str] = []
    for name, write in files:
        try:
            write(refuge / name)
        except OutputError as error:
            return saved, error.message.removeprefix(f"Cannot write {refuge / name}: ").rstrip(".")
        saved.append(name)
    return saved, ""


def _places() -> Iterator[Path]:
    """Folders to try."""
    with suppress(OSError):  # there is none that can be written
        yield Path(tempfile.gettempdir())
    with suppress(RuntimeError):  # no one knows where it is
        yield Path.home()


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"
