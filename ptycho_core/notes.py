"""What a user must know of a result, in words: it is shown while the job runs, and stands in ``metrics.json``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ptycho_core.contract import Event

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ptycho_core.contract import EventSink, Snapshot
    from ptycho_core.events import EventHub

__all__ = ["NotedEvents", "QuietEvents", "tell"]


def tell(hub: EventHub, note: str) -> None:
    """Tell the observers of a job a sentence for the user."""
    hub.emit(Event("message", message=note))


class NotedEvents:
    """The events of a backend, on their way to the observers: each sentence that it tells the user is kept.

    How far a job is, a backend tells by ``epoch`` and ``step``; a ``message`` is what went otherwise than a user would expect.

    Args:
        hub: of the job.
        origin, frames: of its snapshots, where it has any.

    Attributes:
        notes: the sentences, each once.
    """

    def __init__(self, hub: EventHub, origin: NDArray[np.float64] | None = None, frames: NDArray[np.int64] | None = None) -> None:
        self._hub, self._origin, self._frames = hub, origin, frames
        self.notes: list[str] = []

    def emit(self, event: Event) -> None:
        """Pass an event on."""
        if event.kind == "message" and event.message not in self.notes:
            self.notes.append(event.message)
        self._hub.emit(event)

    @property
    def stop_requested(self) -> bool:
        """As of the hub."""
        return self._hub.stop_requested

    @property
    def snapshot_due(self) -> bool:
        """As of the hub."""
        return self._hub.snapshot_due

    def show(self, snapshot: Snapshot) -> None:
        """Pass a snapshot on, with its place in the scan."""
        self._hub.show(replace(snapshot, origin=self._origin, frames=self._frames))


class QuietEvents:
    """The events of a short fit that another job needs first: its observers hear nothing of it, and their wish to stop holds.

    Args:
        events: of the job.
    """

    snapshot_due = False

    def __init__(self, events: EventSink) -> None:
        self._events = events

    def emit(self, event: Event) -> None:
        """Take an event."""

    @property
    def stop_requested(self) -> bool:
        """As of the job."""
        return self._events.stop_requested

    def show(self, snapshot: Snapshot) -> None:
        """Take a snapshot."""
