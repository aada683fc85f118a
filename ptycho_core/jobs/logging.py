"""The logger that a job asks for: refused before the job starts if it cannot be made, and harmless while the job runs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ptycho_core.errors import PtychoError, SettingsError
from ptycho_core.failures import in_one_line
from ptycho_core.loggers.logger import LoggedRun, Logger
from ptycho_core.settings.files import chosen_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ptycho_core.contract import Event
    from ptycho_core.events import EventHub
    from ptycho_core.files.old import OldFiles
    from ptycho_core.settings.payload import Payload

__all__ = ["logging_to"]


@contextmanager
def logging_to(
    hub: EventHub, payload: Payload, folder: Path, history: Sequence[Mapping[str, Any]] = (), *, old: OldFiles | None = None
) -> Iterator[None]:
    """While a job runs, its logger takes what the job reports.

    Args:
        hub: of the job.
        payload: of the job, with the setting ``logger``.
        folder: for the logs.
        history: rows of epochs that were finished before.
        old: what is replaced; nothing is written while it is there.

    Raises:
        SettingsError: the logger cannot be made; the message says why.
    """
    kind = chosen_logger(payload)
    if kind is None:
        yield
        return
    logger = _made(kind, payload, folder, history)
    taking = logger if old is None or old.gone else _Waiting(logger, old)
    hub.add(taking)
    state = "failed"
    try:
        yield
        state = "interrupted" if hub.stop_requested else "finished"
    except KeyboardInterrupt:
        state = "interrupted"
        raise
    finally:
        hub.guard(taking, lambda: taking.close(state))


class _Waiting:
    """A logger that waits for the log before it to go, and then catches up."""

    def __init__(self, logger: Logger, old: OldFiles) -> None:
        self._logger, self._old = logger, old
        self._events: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if event.kind in ("epoch", "step"):  # what a log is made of
            self._events.append(event)
        self._catch_up()

    def close(self, state: str) -> None:
        """Close the log, if it was begun."""
        self._catch_up()
        if self._old.gone:
            self._logger.close(state)

    def _catch_up(self) -> None:
        if self._old.gone:
            events, self._events = self._events, []
            for event in events:
                self._logger(event)


def _made(kind: type[Logger], payload: Payload, folder: Path, history: Sequence[Mapping[str, Any]]) -> Logger:
    resolved = payload.resolved
    settings = {name: one.value for name, one in {**resolved.values, **resolved.options}.items()}
    where = resolved.values["logger"].where
    try:
        return kind(LoggedRun(folder, resolved.verb, settings, history))
    except (PtychoError, KeyboardInterrupt):
        raise
    except BaseException as error:
        why = f"{error}" if isinstance(error, ImportError) else in_one_line(error, "")
        remedy = "Use --logger csv."
        if isinstance(error, ImportError) and kind.requires:
            remedy = f"Install it with 'pip install {' '.join(kind.requires.values())}', or use --logger csv."
        raise SettingsError(f"logger {kind.name} cannot be made: {why}.", remedy=remedy, source=where) from error
