"""What a running job shows: a bar on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import TaskID

    from ptycho_core.contract import Event, Value

SECONDS_BETWEEN_LINES = 2.0


class PlainProgress:
    """One line every two seconds at most, and each message: for logs and pipes."""

    def __init__(self) -> None:
        self._last = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if event.kind in ("started", "message", "finished"):
            _say(event.message)
        elif event.kind == "epoch" and time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            _say(_line(event))


class BarProgress:
    """A bar for the current stage, with loss, misfit and rate."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[values]}"),
            console=Console(stderr=True),
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
        if event.kind in ("started", "message", "finished"):
            self._bars.console.print(event.message, highlight=False)
            return
        if self._task is None or event.stage != self._stage:
            self._stage = event.stage
            self._task = self._bars.add_task(event.stage, total=event.total or None, values="")
        done = event.epoch if event.kind == "epoch" else None
        self._bars.update(self._task, completed=done, values=_values(event))


def progress_observer(*, shown: bool) -> PlainProgress | BarProgress | None:
    """The observer for this process's stderr, or None for none."""
    if not shown:
        return None
    return BarProgress() if sys.stderr.isatty() else PlainProgress()


def _line(event: Event) -> str:
    of = f"/{event.total}" if event.total else ""
    return f"{event.stage} {event.epoch}{of}  {_values(event)}"


def _values(event: Event) -> str:
    shown = {"loss": "loss", "misfit": "R", "held_out": "held-out R", "patterns_per_second": "patterns/s"}
    return "  ".join(f"{label} {_number(event.values[name])}" for name, label in shown.items() if _number(event.values.get(name)))


def _number(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) and math.isfinite(value) else ""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
