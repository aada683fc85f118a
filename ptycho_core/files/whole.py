"""A file that appears whole or not at all: written under a temporary name next to its own, synced, renamed."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ptycho_core.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["TEMPORARY", "cannot_write", "replace_file", "why", "write_whole"]

TEMPORARY: Final = re.compile(r"\.(?P<stem>.+)\.[0-9a-f]{8}(?P<suffix>\.[^.]*)?")
"""What a temporary name is made of: that of ``log.csv`` is ``.log.`` + 8 hexadecimal digits + ``.csv``."""


def write_whole(path: Path, data: bytes | memoryview, ready: Callable[[], None] | None = None) -> None:
    """Write a file of these bytes; arguments and errors are those of `replace_file`."""
    replace_file(path, lambda temporary: temporary.write_bytes(data), ready)


def replace_file(path: Path, write: Callable[[Path], object], ready: Callable[[], None] | None = None) -> None:
    """Call ``write(temporary path)`` in the folder of ``path``, bring the file to the disk and give it its name.

    Args:
        path: file to make; an existing one is replaced.
        write: writes the whole file to the path that it is given.
        ready: called when the new file is on the disk, just before it takes its name.

    Raises:
        OutputError: the file cannot be written; what was there before is untouched.
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        write(temporary)
        _sync(temporary, os.O_RDWR)
        if ready is not None:
            ready()
        os.replace(temporary, path)  # noqa: PTH105 - the one atomic spelling
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # it must not hide why the file could not be written
            temporary.unlink(missing_ok=True)
    with suppress(OSError):  # not every file system can: the file itself is whole either way
        _sync(path.parent, os.O_RDONLY)


def cannot_write(path: Path, error: OSError) -> OutputError:
    """That a file cannot be written, in one sentence."""
    return OutputError(f"Cannot write {path}: {why(error)}.")


def why(error: OSError) -> str:
    """The reason in the system's words; HDF5 puts its own lines into ``strerror``."""
    return os.strerror(error.errno) if error.errno else str(error)


def _sync(path: Path, how: int) -> None:
    descriptor = os.open(path, how)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
