"""The folder for results: refused before any work if it cannot be used."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ptycho_core.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["check_folder", "claimed_folder"]


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that results would not be written to; makes and changes nothing.

    Raises:
        OutputError: it is a file, lies below one, or is not empty and ``overwrite`` is False.
    """
    above = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, not a folder for results.")
    if above.exists() and not above.is_dir():
        raise OutputError(f"The output folder {folder} cannot be made: {above} is a file.")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise OutputError(f"The output folder {folder} is not empty.", remedy="Use --overwrite to replace the results in it.")


@contextmanager
def claimed_folder(folder: Path, *, overwrite: bool) -> Iterator[None]:
    """Make sure that results can be written to a folder, before any work; if the work fails, what was made is taken away.

    Raises:
        OutputError: it is a file, cannot be made or written, or is not empty and ``overwrite`` is False.
    """
    check_folder(folder, overwrite=overwrite)
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The output folder {folder} cannot be made: {error.strerror}.") from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"The output folder {folder} is not writable.")
    try:
        yield
    except BaseException:
        with suppress(OSError):  # not empty: something is there that a user may want
            for place in missing:
                place.rmdir()
        raise
