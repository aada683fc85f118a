"""What a running job shows: a bar on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import sys
import time
from typing import TYPE_CHECKING, Self, TypeVar

from ptycho_core.cli.streams import say, terminal
from ptycho_core.spelling import shown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from rich.progress import TaskID

    from ptycho_core.contract import Event, Value
    from ptycho_core.settings.payload import Payload

SECONDS_BETWEEN_LINES = 2.0
_Answer = TypeVar("_Answer")


class PlainProgress:
    """Each message, and a line every two seconds at most for epochs and for what happens inside one: for logs and pipes."""

    def __init__(self) -> None:
        self._epoch = self._line = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if event.kind == "checkpoint":
            return
        if event.kind in ("started", "message", "finished"):
            say(event.message, error=True)
            return
        now = time.monotonic()
        if now - (self._epoch if event.kind == "epoch" else self._line) >= SECONDS_BETWEEN_LINES:
            self._line = now
            self._epoch = now if event.kind == "epoch" else self._epoch
            say(_line(event), error=True)


class BarProgress:
    """A bar for the current stage, with loss, misfit and rate."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[values]}", markup=False),
            console=Console(file=terminal()),
        )
        self._stage = ""
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if event.kind == "checkpoint":
            return
        if event.kind in ("started", "message", "finished"):
            self._bars.console.print(shown(event.message), highlight=False, markup=False)
            return
        done, total = _count(event)
        if self._task is None or event.stage != self._stage:
            self._stage = event.stage
            self._task = self._bars.add_task(shown(event.stage, 40), total=total or None, values="")
        finished = None if event.kind == "step" and "frames" not in event.values else done
        self._bars.update(self._task, completed=finished, values=_values(event))


_jobs = itertools.count()


def progress_observer(*, shown: bool) -> PlainProgress | BarProgress | None:
    """The observer for this process's stderr, or None for none."""
    if not shown:
        return None
    return BarProgress() if sys.stderr.isatty() else PlainProgress()


def run_shown(run_payload: Callable[..., _Answer], payload: Payload, args: argparse.Namespace) -> _Answer:
    """Run a payload for a command: progress is shown unless settings turn it off, events go to who asked for them."""
    if next(_jobs):  # a host calls the command again: what the job before left in circles goes now
        gc.collect()
    else:
        gc.freeze()  # the framework, which stays: else each pass of the collector looks through all of it again
    progress = progress_observer(shown=bool(payload.groups["execution"]["progress"]))
    observers = [one for one in (progress, args.events) if one is not None]
    with progress or contextlib.nullcontext():
        return run_payload(payload, overwrite=args.overwrite, observers=observers)


def say_notes(notes: Iterable[str]) -> None:
    """Say what a user must know where no observer has said it: ``--quiet`` is no progress, not no warning."""
    for note in notes:
        say(note, error=True)


def _line(event: Event) -> str:
    done, total = _count(event)
    return f"{event.stage} {done}{f'/{total}' if total else ''}  {_values(event)}"


def _count(event: Event) -> tuple[int, int]:
    """What is counted, done and in all: epochs, or the frames of a single pass."""
    if "frames" in event.values:
        return int(event.values["frames"] or 0), int(event.values.get("frames_in_all") or 0)
    return event.epoch, event.total


def _values(event: Event) -> str:
    shown = {
        "loss": "loss", "validation_loss": "validation loss", "misfit": "R", "validation_misfit": "validation R",
        "held_out": "held-out R", "patterns_per_second": "patterns/s",
    }  # fmt: skip
    return "  ".join(f"{label} {_number(event.values[name])}" for name, label in shown.items() if _number(event.values.get(name)))


def _number(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) and math.isfinite(value) else ""
