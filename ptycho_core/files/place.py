"""Whether a file can be written where a user wants it: found before any work, by writing, and never over an input."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from ptycho_core.errors import OutputError
from ptycho_core.files.whole import why

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["check_apart", "check_file", "check_free"]

_READ = ("reconstruction.h5", "best.ptycho")  # of a folder


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that is there and may not be replaced.

    Raises:
        OutputError: it exists and ``overwrite`` is False, or it is no plain file.
    """
    if not os.path.lexists(path):
        return
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} exists already and is no plain file.", remedy="Choose another name.")
    if not overwrite:
        raise OutputError(f"{path} exists already.", remedy="Choose another name, or give --overwrite.")


def check_file(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written; makes a file next to it and takes it away again.

    Raises:
        OutputError: as `check_free`, or there is no such folder, or nothing can be written there.
    """
    check_free(path, overwrite=overwrite)
    if not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written: there is no folder {path.parent}.", remedy="Make it first.")
    trial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")  # named as that which is renamed in the end
    try:
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {why(error)}.", remedy="Choose another place.") from error


def check_apart(outputs: Iterable[Path | None], inputs: Iterable[str | Path | None]) -> None:
    """Refuse an output that is an input or another output, however the paths are spelt and whatever links lead there.

    Args:
        outputs: files that will be written; None is no file.
        inputs: files that are read, or folders of a result or a training; None is no file.

    Raises:
        OutputError: the message names both.
    """
    writes = [path for path in outputs if path is not None]
    reads = [Path(path) for path in inputs if path is not None]
    reads = [file for path in reads for file in ([path / name for name in _READ] if path.is_dir() else [path])]
    for number, path in enumerate(writes):
        for other in writes[:number]:
            if _same(path, other):
                raise OutputError(f"{path} and {other} would be the same file.", remedy="Choose another name for one of them.")
        for read in reads:
            if _same(path, read):
                message = f"{path} would be written, but it is read" + ("." if path == read else f": it is {read}.")
                raise OutputError(message, remedy="Choose another place for the output.")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)  # follows links, and sees hard ones
    except OSError:  # one of them is not there yet
        return os.path.realpath(one) == os.path.realpath(other)
