"""Progress of a loop over patterns, on stderr: nothing for the first two seconds, then a bar, or plain lines in a pipe."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ptycho_core.cli.streams import say, terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["progress_of_steps"]

_QUIET_SECONDS = 2.0


@contextmanager
def progress_of_steps(title: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that takes how many of how many steps are done, and shows it."""
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    from rich.console import Console
    from rich.progress import Progress

    bars = Progress(console=Console(file=terminal()), transient=True)
    task = bars.add_task(title, total=None)
    began = time.monotonic()

    def show(done: int, total: int) -> None:
        if not bars.live.is_started and time.monotonic() - began > _QUIET_SECONDS:
            bars.start()
        bars.update(task, completed=done, total=total)

    try:
        yield show
    finally:
        bars.stop()


def _lines(title: str) -> Callable[[int, int], None]:
    last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > _QUIET_SECONDS:
            last = time.monotonic()
            say(f"{title}: {done} of {total}", error=True)

    return show
