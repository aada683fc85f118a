"""Events of a running job: passing them to observers, and asking the job to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ptycho_core.contract import Event, Observer

__all__ = ["EventHub", "installed_observers", "stop_on_interrupt"]


class EventHub:
    """Passes events to observers, each guarded on its own; the ``EventSink`` that a backend is given.

    Args:
        observers: called with each event in this order.
        warn: told once for each observer that fails; by default a ``RuntimeWarning``. The observer then gets no more events.
    """

    def __init__(self, observers: Iterable[Observer] = (), warn: Callable[[str], None] | None = None) -> None:
        self._observers = list(observers)
        self._warn = warn
        self._stop = False  # a plain flag: a signal handler must not wait for a lock

    def add(self, observer: Observer) -> None:
        """One more observer, after the others."""
        self._observers.append(observer)

    def emit(self, event: Event) -> None:
        """Pass an event on. A failing observer is a warning, never a lost run."""
        for observer in tuple(self._observers):
            self.guard(observer, lambda observer=observer: observer(event))  # type: ignore[misc]

    def guard(self, observer: Observer, act: Callable[[], None]) -> None:
        """Do something with an observer; if that fails it is told, and the observer gets nothing any more."""
        if observer not in self._observers:
            return
        try:
            act()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a stranger's observer does, the run goes on
            self._observers.remove(observer)
            name = getattr(observer, "__qualname__", type(observer).__name__)
            self._tell(f"the observer {name} failed and is left out from now on: {type(error).__name__}: {error}")

    @property
    def stop_requested(self) -> bool:
        """True once somebody asked to stop."""
        return self._stop

    def request_stop(self) -> None:
        """Ask the job to end when it has finished and saved what it is at."""
        self._stop = True

    def _tell(self, message: str) -> None:
        if self._warn is not None:
            self._warn(message)
            return
        try:
            warnings.warn(message, RuntimeWarning, stacklevel=3)
        except RuntimeWarning:  # warnings turned into errors must not end the run either
            print(f"ptycho: warning: {message}", file=sys.stderr)


def installed_observers(warn: Callable[[str], None] | None = None) -> tuple[Observer, ...]:
    """Observers of the entry-point group ``ptycho.observers``: each entry names a callable without arguments that makes one.

    An entry that cannot be loaded is told to ``warn`` (by default a ``RuntimeWarning``) and left out.
    """
    from ptycho_core.backends.discovery import OBSERVERS, scan

    observers: list[Observer] = []
    for claim in scan(OBSERVERS):
        try:
            factory: Any = import_module(claim.module)
            for name in filter(None, claim.attribute.split(".")):
                factory = getattr(factory, name)
            observers.append(factory())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
            message = f"the observer '{claim.name}' ({claim.source}) cannot be loaded: {type(error).__name__}: {error}"
            if warn is not None:
                warn(message)
            else:
                warnings.warn(message, RuntimeWarning, stacklevel=2)
    return tuple(observers)


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

    told = f"\nptycho: {first}; press Ctrl-C again to stop at once\n".encode()

    def handle(_number: int, _frame: object) -> None:
        if hub.stop_requested:
            raise KeyboardInterrupt
        hub.request_stop()
        # Past sys.stderr, whose buffer may be in use by the very code that was interrupted.
        os.write(2, told)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
