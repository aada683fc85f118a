"""Child processes for backends: how they are started, how they are ended, and how their end is reported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["end_child", "end_own_session", "last_words", "start_child", "told_end"]

_TAIL = 2000  # characters of the child's standard error that are kept


def start_child(
    module: str, *arguments: str, errors: IO[bytes], environment: Mapping[str, str] | None = None, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[str]:
    """Start a module of this package with this Python, in a new session.

    Args:
        module: dotted name, run as with ``python -m``.
        arguments: its command line.
        errors: file that takes its standard error.
        environment: variables to set in addition to those of this process.
        stdin: as ``subprocess`` takes it.

    Returns:
        The child; its standard output is a pipe of text.
    """
    # The child sees the paths of this process, and -P keeps its own working directory from coming before them.
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, **(environment or {}), "PYTHONPATH": paths},
        encoding=sys.getfilesystemencoding(),  # for names of files; all else is ASCII
        errors="surrogateescape",
        start_new_session=True,  # so that all it starts can be ended with it
    )


def end_child(child: subprocess.Popen[str]) -> None:
    """End a child and all that it started, dead or alive; waiting for it is the caller's."""
    # The whole session: a grandchild that holds the pipe open would keep us waiting.
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):  # no one is left; macOS says so in the second way
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()


def end_own_session() -> NoReturn:
    """End this process, which `start_child` started, and all that it started, at once."""
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def told_end(status: int) -> str:
    """How a process ended, from its exit status: a clause without a full stop."""
    if status >= 0:
        return f"the process ended with exit status {status}"
    return f"the process died with signal {-status} ({_signal_name(-status)})"


def last_words(errors: IO[bytes]) -> str:
    """The end of what a child wrote to its standard error."""
    size = os.fstat(errors.fileno()).st_size
    errors.seek(max(0, size - 4 * _TAIL))
    return errors.read().decode(errors="replace")[-_TAIL:]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
