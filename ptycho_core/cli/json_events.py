"""``--json-events``: what a running job tells, a line of JSON for each event on stdout (``specs/events.md``)."""

from __future__ import annotations

import json
import math
import os
import sys
from contextlib import contextmanager, redirect_stdout, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from ptycho_core.contract import Event

__all__ = ["VERSION", "JsonEvents", "add_event_flag", "asks_for_events", "events_on_stdout"]

VERSION: Final = 1
"""Of the lines; a program must take no notice of kinds and keys that it does not know."""

_FLAG: Final = "--json-events"
_COMMANDS: Final = ("train", "infer", "reconstruct", "resolution")


def add_event_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--json-events``."""
    parser.add_argument(
        _FLAG, action="store_true", help="tell on stdout what happens, a line of JSON for each event, and nothing else"
    )


def asks_for_events(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for events; it is looked at before it is parsed, so that errors of parsing are events too."""
    command = next((item for item in arguments if not item.startswith("-")), None)
    return command in _COMMANDS and _FLAG in arguments


class JsonEvents:
    """An observer that writes each event as a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Write an event."""
        self._write(event.kind, event.stage, event.epoch, event.total, event.values, event.message, event.path)

    def failed(self, message: str, values: Mapping[str, Any]) -> None:
        """Write that the command failed, if anybody still listens."""
        with suppress(OSError):
            self._write("error", "", 0, 0, values, message, "")

    def _write(self, kind: str, stage: str, epoch: int, total: int, values: Mapping[str, Any], message: str, path: str) -> None:
        line = {
            "version": VERSION,
            "kind": kind,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "stage": stage,
            "epoch": epoch,
            "total": total,
            "values": {name: _plain(value) for name, value in values.items()},
            "message": message,
            "path": path,
        }
        print(json.dumps(line, allow_nan=False), file=self._stream, flush=True)


@contextmanager
def events_on_stdout(*, wanted: bool) -> Iterator[JsonEvents | None]:
    """Stdout for events alone: whatever else is printed there meanwhile, by Python or by a library, goes to stderr."""
    if not wanted:
        yield None
        return
    stdout: TextIO = getattr(sys.stdout, "stream", sys.stdout)
    if stdout is not sys.__stdout__:  # a user holds it in this process, or it is closed
        with redirect_stdout(sys.stderr):
            yield JsonEvents(stdout)
        return
    stdout.flush()
    descriptor = stdout.fileno()
    stream = os.fdopen(os.dup(descriptor), "w", encoding="utf-8")
    os.dup2(2, descriptor)
    try:
        with redirect_stdout(sys.stderr):
            yield JsonEvents(stream)
    finally:
        os.dup2(stream.fileno(), descriptor)
        with suppress(OSError):  # no one reads it any more
            stream.close()


def _plain(value: Any) -> Any:  # noqa: ANN401 - what JSON can hold
    """A value for JSON; a number that is not finite is null."""
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
