"""What may be opened to be read: a plain file, never a folder, a pipe or a device."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from ptycho_core.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["plain_file", "why_not_plain"]


def why_not_plain(path: str | os.PathLike[str]) -> str:
    """Why a path cannot be opened as a plain file, to follow its name; empty where it can.

    To open a pipe would wait for its other end, and a device may never end.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - any kind of path
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    except ValueError as error:  # a character that names of files lack here, or that ends them
        return f"cannot be the name of a file: {error}"
    if stat.S_ISDIR(mode):
        return "is a folder"
    return "" if stat.S_ISREG(mode) else "is no plain file"


def plain_file(path: Path) -> None:
    """Refuse what is no plain file.

    Raises:
        DataError: it does not exist, is a folder, a pipe or a device.
    """
    if why := why_not_plain(path):
        raise DataError(f"{path} {why}.")
