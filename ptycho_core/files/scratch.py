"""Files that a job needs only while it runs, in the folder for temporary files that the system or ``TMPDIR`` names."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ptycho_core.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["scratch_folder", "using_scratch"]

_REMEDY: Final = "Set TMPDIR to a folder that can be written and has room."


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that goes with the ``with`` block.

    Raises:
        OutputError: none can be made.
    """
    with using_scratch():
        folder = tempfile.TemporaryDirectory(prefix="ptycho-", ignore_cleanup_errors=True)
    with folder as path:
        yield Path(path)


@contextmanager
def using_scratch() -> Iterator[None]:
    """What is made or written in the block is temporary: where that fails, ``TMPDIR`` is what a user can change.

    Raises:
        OutputError: in place of an ``OSError`` or of an ``OutputError`` without a remedy.
    """
    try:
        yield
    except OSError as error:
        place = f" in {tempfile.tempdir}" if tempfile.tempdir else ""
        raise OutputError(f"Temporary files cannot be written{place}: {error.strerror or error}.", remedy=_REMEDY) from error
    except OutputError as error:
        if error.remedy:
            raise
        raise OutputError(error.message, remedy=_REMEDY) from error
