"""Standard output and error of a command: whatever becomes of them, the command continues and keeps its exit status."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

from ptycho_core.spelling import LONGEST, harmless, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Stream", "say", "standard_streams", "terminal"]

_FAILURES = (OSError, ValueError)  # the second from a stream that was closed in this process


class Stream:
    r"""A standard stream that never raises: what cannot be written is lost, and the failure is kept.

    What would steer a terminal is spelled out, wherever it comes from (``ptycho_core.spelling``). What the encoding cannot spell
    is written as Python spells it (``backslashreplace``), so a byte of a file name that is no UTF-8 as ``\udcXX``.

    Args:
        stream: as the process has it; None where it was closed when the process began, which is no failure.
        steers: whether what is written may steer the terminal, as a bar of progress does.

    Attributes:
        stream: what is written to.
        failure: why it could not be written, the last time that it could not.
    """

    def __init__(self, stream: TextIO | None, *, steers: bool = False) -> None:
        self._steers = steers
        self._closed = stream is None
        self.stream = cast("TextIO", open(os.devnull, "w", encoding="utf-8")) if stream is None else stream  # noqa: PTH123, SIM115
        self.failure: Exception | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all else is the stream's
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write, or lose, a text."""
        cleaned = text if self._steers else harmless(text)
        with self._kept():
            try:
                self.stream.write(cleaned)
            except UnicodeEncodeError as error:  # nothing of it was written
                self.stream.write(cleaned.encode(error.encoding, "backslashreplace").decode(error.encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write, or lose, texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is held back."""
        with self._kept():
            self.stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal that is still there."""
        try:
            return self.stream.isatty()
        except _FAILURES:
            return False

    def settle(self) -> None:
        """Write what is held back or let go of it: Python would try once more when it ends, and change the exit status."""
        if self._closed:
            self.stream.close()
            return
        with suppress(*_FAILURES):
            try:
                self.stream.flush()
            except OSError:
                self._empty()

    def _empty(self) -> None:
        number = self.stream.fileno()
        kept, nowhere = os.dup(number), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, number)
            self.stream.flush()
        finally:
            os.dup2(kept, number)
            os.close(kept)
            os.close(nowhere)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except _FAILURES as error:
            self.failure = error


def say(text: object = "", *, error: bool = False, most: int = LONGEST) -> None:
    """Print one line, on stderr where it is about an ``error``; what is in it from outside can make no second one."""
    print(shown(text, most), file=sys.stderr if error else sys.stdout, flush=error)


def terminal() -> TextIO:
    """Standard error for what steers it, whose texts are `shown` before."""
    return cast("TextIO", Stream(sys.stderr.stream, steers=True)) if isinstance(sys.stderr, Stream) else sys.stderr


@contextmanager
def standard_streams() -> Iterator[Stream]:
    """``sys.stdout`` and ``sys.stderr`` as a `Stream` each while a command runs; gives the first."""
    _open_missing_descriptors()
    before = sys.stdout, sys.stderr
    out, err = Stream(sys.stdout), Stream(sys.stderr)
    sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)
    try:
        yield out
    finally:
        sys.stdout, sys.stderr = before
        out.settle()
        err.settle()


def _open_missing_descriptors() -> None:
    """Let 0, 1 and 2 lead nowhere where they are closed: the next file would get such a number, and what libraries print too."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened == number:
                os.set_inheritable(number, True)
                continue
            os.dup2(opened, number)
            os.close(opened)
