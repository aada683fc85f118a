"""Which backends may be used at all: the allow list and the block list, of the environment and of a settings file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ptycho_core.backends.discovery import canonical
from ptycho_core.backends.known import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ALLOW", "BLOCK", "NO_LISTS", "AccessList", "AccessLists", "split_name"]

BLOCK: Final = "PTYCHO_BACKENDS_BLOCK"
ALLOW: Final = "PTYCHO_BACKENDS_ALLOW"


@dataclass(frozen=True)
class AccessList:
    """Backends by name, or by ``NAME@DISTRIBUTION``, and where the list was written, as messages tell it."""

    names: frozenset[tuple[str, str]]
    where: str

    @classmethod
    def of(cls, words: Iterable[str], where: str) -> AccessList:
        """A list of what a user wrote; empty words do not count."""
        return cls(frozenset(split_name(word) for word in words if word.strip()), where)

    def holds(self, name: str, distribution: str) -> bool:
        """Whether a backend of a distribution is in the list."""
        return (name, "") in self.names or (name, canonical(distribution)) in self.names


@dataclass(frozen=True)
class AccessLists:
    """The lists that hold for a choice; None is a list that was not given. Blocking goes before allowing."""

    allow: AccessList | None = None
    block: AccessList | None = None

    def refusal(self, name: str, distribution: str) -> str:
        """Which list keeps a backend out, as a reason; empty if none does."""
        if self.block is not None and self.block.holds(name, distribution):
            return f"it is blocked by {self.block.where}"
        if self.allow is not None and not self.allow.holds(name, distribution):
            return f"it is not among those allowed by {self.allow.where}"
        return ""

    def below_environment(self) -> AccessLists:
        """These lists, each replaced by that of the environment where it has one."""
        allow, block = _variable(ALLOW), _variable(BLOCK)
        return AccessLists(self.allow if allow is None else allow, self.block if block is None else block)


NO_LISTS: Final = AccessLists()


def split_name(written: str) -> tuple[str, str]:
    """Name and distribution (or nothing) of ``NAME`` or ``NAME@DISTRIBUTION``, both as they are compared."""
    name, _, distribution = written.partition("@")
    return normalise(name.strip().lower()), canonical(distribution.strip())


def _variable(name: str) -> AccessList | None:
    text = os.environ.get(name)
    return None if text is None else AccessList.of(text.split(","), f"{name}={text}")
