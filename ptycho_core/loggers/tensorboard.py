"""The logger ``tensorboard``: an event file, written by the package ``tensorboard`` without any framework."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Any

# Not its EventFileWriter: that one imports TensorFlow wherever it is installed.
from tensorboard.compat.proto.event_pb2 import Event as Record
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from ptycho_core.loggers.names import EVENTS, figures_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ptycho_core.contract import Event
    from ptycho_core.settings.payload import Payload

__all__ = ["open_log"]


def open_log(folder: Path, payload: Payload, history: Sequence[Mapping[str, Any]]) -> _EventFile:  # noqa: ARG001 - as the other loggers
    """An event file in ``tensorboard/`` of a folder; a call that goes on adds another, which TensorBoard shows as one run."""
    return _EventFile(folder / EVENTS)


class _EventFile:
    """One file, opened with the first figures and complete after each event."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def __call__(self, event: Event) -> None:
        """Write the figures of an epoch or step."""
        figures = figures_of(event)
        if figures is None:
            return
        if self._writer is None:
            self._writer = self._opened()
        values = [Summary.Value(tag=name, simple_value=value) for name, value in figures.values.items()]
        self._write(Record(wall_time=time.time(), step=figures.step, summary=Summary(value=values)))

    def close(self, state: str) -> None:  # noqa: ARG002 - an event file has no end
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    def _opened(self) -> Any:  # noqa: ANN401 - the package has no types
        self._folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._writer = RecordWriter((self._folder / name).open("wb"))
        self._write(Record(wall_time=time.time(), file_version="brain.Event:2"))
        return self._writer

    def _write(self, record: Any) -> None:  # noqa: ANN401
        self._writer.write(record.SerializeToString())
        self._writer.flush()
