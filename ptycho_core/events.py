"""Events of a running job: passing them to observers, and asking the job to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ptycho_core.failures import in_one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from ptycho_core.contract import Event, Observer, Snapshot

__all__ = ["EventHub", "stop_on_interrupt", "warn"]


class EventHub:
    """Passes events to observers, each guarded on its own; the ``EventSink`` that a backend is given.

    Args:
        observers: called with each event in this order; one that fails is a ``RuntimeWarning``, and gets no more events.
    """

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = list(observers)
        self._began, self._shown = time.monotonic(), dict[int, float]()
        self._stop = False  # a plain flag: a signal handler must not wait for a lock

    def add(self, observer: Observer) -> None:
        """One more observer, after the others."""
        self._observers.append(observer)

    def emit(self, event: Event) -> None:
        """Pass an event on. A failing observer is a warning, never a lost run."""
        for observer in tuple(self._observers):
            self.guard(observer, lambda observer=observer: observer(event))  # type: ignore[misc]

    def guard(self, observer: Observer, act: Callable[[], None]) -> None:
        """Do something with an observer; if that fails it is reported, and the observer gets nothing any more."""
        if observer not in self._observers:
            return
        try:
            act()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a stranger's observer does, the run continues
            self._observers.remove(observer)
            name = getattr(observer, "__qualname__", type(observer).__name__)
            warn(f"the observer {name} failed and is left out from now on: {in_one_line(error, '')}")

    @property
    def snapshot_due(self) -> bool:
        """True when an observer with ``snapshot_seconds`` has seen no `Snapshot` for so long."""
        return bool(self._waiting())

    def show(self, snapshot: Snapshot) -> None:
        """Hand a snapshot out to the observers that wait for one, by their method ``snapshot``."""
        for observer in self._waiting():
            self._shown[id(observer)] = time.monotonic()
            self.guard(observer, lambda observer=observer: observer.snapshot(snapshot))  # type: ignore[misc]

    def _waiting(self) -> list[Any]:
        now, found = time.monotonic(), list[Any]()

        def ask(observer: Any) -> None:  # noqa: ANN401 - an observer that may take snapshots
            every = getattr(observer, "snapshot_seconds", None)
            if every is not None and now - self._shown.get(id(observer), self._began) >= every:
                found.append(observer)

        for observer in tuple(self._observers):
            self.guard(observer, partial(ask, observer))
        return found

    @property
    def stop_requested(self) -> bool:
        """True once a stop was asked for."""
        return self._stop

    def request_stop(self) -> None:
        """Ask the job to end when it has finished and saved what it is at."""
        self._stop = True


def warn(message: str) -> None:
    """A ``RuntimeWarning``, which ends no run: not where warnings are errors, and not without a standard error."""
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    except RuntimeWarning:
        if sys.stderr is not None:
            with suppress(OSError, ValueError):
                print(f"ptycho: warning: {message}", file=sys.stderr)


@contextmanager
def stop_on_interrupt(hub: EventHub, first: str) -> Iterator[None]:
    """While a job runs, Ctrl-C (or SIGTERM) asks it to stop; the second one raises ``KeyboardInterrupt`` at once.

    Args:
        hub: is asked.
        first: what happens after the first one, in a few words.

    Signals can be handled in the main thread only; in another one this changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    text = f"\nptycho: {first}; press Ctrl-C again to stop at once\n".encode()
    stderr = _another_stderr()
    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in found.items() if handler is not None}  # None: a host's, which stays

    def handle(number: int, frame: FrameType | None) -> None:
        if hub.stop_requested:
            earlier = before[signal.Signals(number)]
            if callable(earlier):  # the command line remembers that there was a signal
                earlier(number, frame)
            raise KeyboardInterrupt
        hub.request_stop()
        if stderr is not None:
            # Past sys.stderr, whose buffer may be in use by the very code that was interrupted.
            with suppress(OSError):  # no one reads it any more, or its disk is full
                os.write(stderr, text)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if stderr is not None:
            os.close(stderr)


def _another_stderr() -> int | None:
    """Another descriptor of standard error, as 2 may be closed and given to a file meanwhile; None if the process has none."""
    if sys.stderr is None or sys.__stderr__ is None:
        return None
    try:
        return os.dup(sys.__stderr__.fileno())
    except (OSError, ValueError):
        return None
