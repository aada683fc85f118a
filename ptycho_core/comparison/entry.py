"""What a comparison finds: one entry for each backend or result."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["FAILED", "INTERRUPTED", "NOT_RUN", "OK", "Comparison", "Entry"]

OK: Final = "ok"
FAILED: Final = "failed"
INTERRUPTED: Final = "interrupted"
NOT_RUN: Final = "not run"


@dataclass(frozen=True)
class Entry:
    """One backend, or one result.

    Attributes:
        name: of the backend, or what tells the result from the others.
        state: ``ok``, ``failed``, ``interrupted`` or ``not run``.
        reason: why it is not ``ok``, or what is missing although it is; else empty.
        place: folder or file of the result.
        misfit: data misfit R.
        quality: against the reference, ``Score.as_dict`` without curves; empty without reference.
        agreement: the same against the first result; empty for that one.
        cpu_seconds: user and system time of the process, start and imports included.
        wall_seconds: from the start of the process to its answer.
        peak_mb: largest resident memory of the process, 10⁶ bytes.
        first_step_seconds: from the start of the process to the first step or epoch that it reported.
        facts: what the job itself measured (``metrics.json``), and what ran it.
    """

    name: str
    state: str = OK
    reason: str = ""
    place: Path | None = None
    misfit: float | None = None
    quality: Mapping[str, Any] = field(default_factory=dict)
    agreement: Mapping[str, Any] = field(default_factory=dict)
    cpu_seconds: float | None = None
    wall_seconds: float | None = None
    peak_mb: float | None = None
    first_step_seconds: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self) | {"place": None if self.place is None else str(self.place)}


@dataclass(frozen=True)
class Comparison:
    """All entries, in the order that was asked for.

    Attributes:
        entries: one for each backend or result.
        reference: what ``quality`` is against, in words; empty without one.
        first: name of the entry that ``agreement`` is against; empty if there is none.
        job: what was run, or nothing.
        folder: where everything was written.
        notes: what else is to be said: that the figure could not be drawn.
    """

    entries: tuple[Entry, ...]
    reference: str
    first: str
    job: Mapping[str, Any]
    folder: Path
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every entry is ``ok``."""
        return all(entry.state == OK for entry in self.entries)

    @property
    def interrupted(self) -> bool:
        """Whether it was interrupted before all had their turn."""
        return any(entry.state == INTERRUPTED for entry in self.entries)

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        entries = [entry.as_dict() for entry in self.entries]
        return {**self.job, "reference": self.reference or None, "first": self.first or None, "entries": entries}
