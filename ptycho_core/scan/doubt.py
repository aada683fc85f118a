"""What a doubt about a scan is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Doubt", "Severity"]

Severity: TypeAlias = Literal["doubtful", "unusable"]


@dataclass(frozen=True)
class Doubt:
    """Something implausible about a scan.

    Attributes:
        kind: a short word, such as ``saturated``; the same for doubts of one cause.
        severity: ``doubtful`` where a result may be wrong, ``unusable`` where it means nothing.
        sentence: what, where, and what to do, for the user.
        level: the counts that it is about; 0 where it is about none.
    """

    kind: str
    severity: Severity
    sentence: str
    level: float = 0.0
