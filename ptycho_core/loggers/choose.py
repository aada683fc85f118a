"""The logger that a job asks for: refused before the job starts if it cannot be had, and harmless while the job runs."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Protocol

from ptycho_core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ptycho_core.contract import Event
    from ptycho_core.events import EventHub
    from ptycho_core.files.old import OldFiles
    from ptycho_core.settings.payload import Payload
    from ptycho_core.settings.resolution import Resolved

__all__ = ["Logger", "check_logger", "logging_to"]

_NEEDED: Final = {"tensorboard": ("tensorboard", "tensorboard"), "mlflow": ("mlflow", "mlflow-skinny")}
"""Package that a logger needs, and the distribution that holds it."""


class Logger(Protocol):
    """An observer with an end."""

    def __call__(self, event: Event) -> None:
        """Take an event."""

    def close(self, state: str) -> None:
        """The job has ended: ``finished``, ``interrupted`` or ``failed``."""


def check_logger(resolved: Resolved) -> None:
    """Refuse a logger whose package is not installed; imports nothing.

    Raises:
        SettingsError: the message names the package, the remedy is the line that installs it.
    """
    logger = resolved.values.get("logger")
    if logger is None or logger.value not in _NEEDED:
        return
    package, distribution = _NEEDED[str(logger.value)]
    found = find_spec(package)
    if found is None or found.origin is None:  # a folder of that name in the working directory is no package
        raise _missing(str(logger.value), f"{distribution} is not installed", logger.where)


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
        SettingsError: the logger's package cannot be imported.
    """
    logger = _make(payload, folder, history)
    if logger is None:
        yield
        return
    if old is not None and not old.gone:
        logger = _Waiting(logger, old)
    hub.add(logger)
    state = "failed"
    try:
        yield
        state = "interrupted" if hub.stop_requested else "finished"
    except KeyboardInterrupt:
        state = "interrupted"
        raise
    finally:
        hub.guard(logger, lambda: logger.close(state))


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


def _make(payload: Payload, folder: Path, history: Sequence[Mapping[str, Any]]) -> Logger | None:
    one = payload.resolved.values["logger"]
    name = str(one.value)
    if name == "none":
        return None
    module = {"csv": "table", "tensorboard": "tensorboard", "mlflow": "mlflow"}[name]
    try:
        logger: Logger = import_module(f"ptycho_core.loggers.{module}").open_log(folder, payload, history)
    except ImportError as error:
        raise _missing(name, f"{_NEEDED[name][1]} cannot be imported ({error})", one.where) from error
    return logger


def _missing(logger: str, why: str, where: str) -> SettingsError:
    line = f"pip install {_NEEDED[logger][1]}"
    return SettingsError(f"logger {logger}: {why}.", remedy=f"Install it with '{line}', or use --logger csv.", source=where)
