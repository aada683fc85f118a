"""The one family of exceptions that a user meets.

Each carries a stable ``code``, the exit status of the command line, and, as data, whatever is known of the backend, its
distribution, where the offending value came from and what to do about it. Only the command line turns them into text on
stderr and an exit status; from Python they are ordinary exceptions.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BackendError",
    "BackendUnusableError",
    "CapabilityError",
    "DataError",
    "HookError",
    "OutputError",
    "PtychoError",
    "SettingsError",
    "UnknownBackendError",
    "UsageError",
    "WorkerError",
    "did_you_mean",
]


class PtychoError(Exception):
    """Base of every error that ptycho raises on purpose.

    Args:
        message: one sentence: what was wrong and where.
        remedy: what to do, a sentence or a command line; empty where there is nothing to add.
        source: where the offending value came from (``--precision``, ``PTYCHO_SEED``, ``run.toml: [execution] seed``, a file).
        backend: name of the backend concerned.
        distribution: installed distribution (name and version) that provides it.
    """

    code = "error"
    exit_status = 1

    def __init__(self, message: str, *, remedy: str = "", source: str = "", backend: str = "", distribution: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.source = source
        self.backend = backend
        self.distribution = distribution

    def __str__(self) -> str:
        source = f" (from {self.source})" if self.source and self.source not in self.message else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{self.message}{source}{remedy}"


class UsageError(PtychoError):
    """The command line, or a call of the API, cannot be understood."""

    code = "usage"
    exit_status = 2


class SettingsError(UsageError):
    """A setting is unknown, of a wrong type, out of its range, or contradicts another."""

    code = "settings"


class UnknownBackendError(UsageError):
    """No backend of that name is installed, nor known, or none can be chosen without asking."""

    code = "backend.unknown"


class OutputError(UsageError):
    """The place for the results cannot be used: not empty, not writable."""

    code = "output"


class BackendError(PtychoError):
    """Base of what a backend plugin can do wrong."""

    code = "backend"
    exit_status = 3


class BackendUnusableError(BackendError):
    """The backend is in a state other than ``ok``; ``code`` ends with that state."""

    def __init__(
        self, message: str, *, state: str, remedy: str = "", source: str = "", backend: str = "", distribution: str = ""
    ) -> None:
        super().__init__(message, remedy=remedy, source=source, backend=backend, distribution=distribution)
        self.state = state
        self.code = f"backend.{state}"


class HookError(BackendError):
    """A backend breaks the contract: returns ``None`` or a wrong type, leaves an option unanswered, lacks a claimed hook."""

    code = "backend.hook"


class CapabilityError(BackendError):
    """The backend works but does not provide what was asked of it."""

    code = "backend.unsupported"
    exit_status = 4


class WorkerError(BackendError):
    """The process of a backend died or did not answer in time; the message names the signal, the exit status or the time."""

    code = "backend.worker"


class DataError(PtychoError):
    """A scan, object, probe, result or model file cannot be used; the message names file, key and shape."""

    code = "data"
    exit_status = 5


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence with the nearest of the ``known`` names, or an empty string if none is near."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
