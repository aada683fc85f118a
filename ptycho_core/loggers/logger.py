"""What a logger is: an observer that `--logger` names, with a folder, the facts of a job, and an end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ptycho_core.contract import Event, Value

__all__ = ["Left", "LoggedRun", "Logger"]


@dataclass(frozen=True)
class LoggedRun:
    """What a logger knows of the job.

    Attributes:
        folder: of the run, which exists; a log goes there, or to wherever the logger writes.
        verb: ``train`` or ``reconstruct``.
        settings: every setting by name, options of the backend as ``BACKEND.NAME``.
        history: rows of the epochs finished before, of a resumed training; else empty.
    """

    folder: Path
    verb: str
    settings: Mapping[str, Value]
    history: Sequence[Mapping[str, Value]] = ()


class Left(NamedTuple):
    """What an earlier job left: files, and folders that go where they are empty then, the innermost first."""

    files: Sequence[Path]
    folders: Sequence[Path] = ()


class Logger(ABC):
    """Takes the events of one job (``specs/events.md``), one after the other; derive it and name it by an entry point.

    A logger that raises is a warning, and is left out from then on; the job continues.

    Args:
        run: the job. A ``PtychoError`` or ``ImportError`` that is raised for it refuses the job before it starts.

    Attributes:
        name: its word in ``--logger``.
        requires: distribution by package, of each package that the logger imports when it is made, and not before.
    """

    name: ClassVar[str]
    requires: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def __init__(self, run: LoggedRun) -> None: ...

    @abstractmethod
    def __call__(self, event: Event) -> None:
        """Take an event."""

    def close(self, state: str) -> None:  # noqa: B027 - most logs have no end
        """The job has ended: ``finished``, ``interrupted`` or ``failed``."""

    @classmethod
    def writes(cls, *, steps: bool) -> Sequence[str]:  # noqa: ARG003
        """Names in the folder of the run, of a folder with a slash at its end; ``steps``: whether steps are logged too."""
        return ()

    @classmethod
    def left(cls, folder: Path) -> Left:
        """What an earlier job left in its folder, which ``--overwrite`` removes."""
        return Left([folder / name for name in cls.writes(steps=True) if not name.endswith("/")])
