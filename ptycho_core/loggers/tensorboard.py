"""The logger ``tensorboard``: an event file, written by the package ``tensorboard`` without any framework."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ptycho_core.loggers.figures import figures_of
from ptycho_core.loggers.logger import Left, Logger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ptycho_core.contract import Event
    from ptycho_core.loggers.logger import LoggedRun

__all__ = ["EventFile"]

_EVENTS: Final = "tensorboard"
"""Folder of the event files."""


class EventFile(Logger):
    """One file, opened with the first figures and complete after each event.

    A resumed training adds another, which TensorBoard shows as one run.
    """

    name = "tensorboard"
    requires: ClassVar = {"tensorboard": "tensorboard"}

    def __init__(self, run: LoggedRun) -> None:
        # Not its EventFileWriter: that one imports TensorFlow wherever it is installed.
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary, self._record_writer = event_pb2.Event, summary_pb2.Summary, RecordWriter
        self._folder = run.folder / _EVENTS
        self._writer: Any = None

    def __call__(self, event: Event) -> None:
        """Write the figures of an epoch or step."""
        figures = figures_of(event)
        if figures is None:
            return
        if self._writer is None:
            self._writer = self._opened()
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in figures.values.items()]
        self._write(self._event(wall_time=time.time(), step=figures.step, summary=self._summary(value=values)))

    def close(self, state: str) -> None:  # noqa: ARG002 - an event file has no end
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    @classmethod
    def writes(cls, *, steps: bool) -> Sequence[str]:  # noqa: ARG003 - both are in one file
        """The folder of the event files."""
        return [f"{_EVENTS}/"]

    @classmethod
    def left(cls, folder: Path) -> Left:
        """The event files."""
        return Left([*(folder / _EVENTS).glob("events.out.tfevents.*")], [folder / _EVENTS])

    def _opened(self) -> Any:  # noqa: ANN401 - the package has no types
        self._folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._writer = self._record_writer((self._folder / name).open("wb"))
        self._write(self._event(wall_time=time.time(), file_version="brain.Event:2"))
        return self._writer

    def _write(self, record: Any) -> None:  # noqa: ANN401
        self._writer.write(record.SerializeToString())
        self._writer.flush()
