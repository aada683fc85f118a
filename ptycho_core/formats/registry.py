"""The scan formats that are installed, by entry points of the group ``ptycho.formats``; a broken one is a row with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from ptycho_core.backends.discovery import EntryPointClaim, scan
from ptycho_core.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from ptycho_core.formats.interface import ScanFormat

__all__ = ["GROUP", "FormatRow", "forget", "format_named", "formats", "usable_formats"]

GROUP: Final = "ptycho.formats"

_TEXTS: Final = ("name", "title", "reads", "extra", "written_as", "writes")


@dataclass(frozen=True)
class FormatRow:
    """A format that a distribution brings.

    Attributes:
        name: of its entry point; the word for ``--format``.
        source: distribution and version that bring it.
        found: the format; None where it is left out.
        reason: why it is left out, a clause without a full stop; empty where it is not.
    """

    name: str
    source: str
    found: ScanFormat | None = None
    reason: str = ""


@cache
def formats() -> tuple[FormatRow, ...]:
    """All formats by name, each imported once in a process; those that cannot be used with the reason."""
    claims = scan(GROUP)
    return tuple(_row(claim, [other.source for other in claims if other.name == claim.name]) for claim in claims)


def forget() -> None:
    """Look again at the next call. For tests, which install while the process runs."""
    formats.cache_clear()


def usable_formats() -> list[ScanFormat]:
    """The formats that can be used, by name."""
    return [row.found for row in formats() if row.found is not None]


def format_named(name: str) -> ScanFormat:
    """The format of a name.

    Raises:
        SettingsError: there is none, or it is left out; the reason is said.
    """
    row = next((row for row in formats() if row.name == name), None)
    if row is None:
        names = [row.name for row in formats()]
        raise SettingsError(f"There is no format '{name:.60}'.{did_you_mean(name, names)}", remedy="'ptycho formats' lists them.")
    if row.found is None:
        raise SettingsError(f"Format '{name}' ({row.source}) is left out: {row.reason}.")
    return row.found


def _row(claim: EntryPointClaim, sources: list[str]) -> FormatRow:
    from ptycho_core.backends.lists import NO_LISTS, AccessLists

    if len(sources) > 1:
        return FormatRow(claim.name, claim.source, reason=f"it is provided {len(sources)} times: {', '.join(sources)}")
    blocked = AccessLists(block=NO_LISTS.below_environment().block).refusal(claim.name, claim.distribution)
    if blocked:
        return FormatRow(claim.name, claim.source, reason=blocked)
    found, reason = _imported(claim)
    return FormatRow(claim.name, claim.source, found, reason)


def _imported(claim: EntryPointClaim) -> tuple[ScanFormat | None, str]:
    """The format that an entry point names, or why it cannot be used."""
    from inspect import isabstract

    from ptycho_core.failures import in_one_line
    from ptycho_core.formats.interface import ScanFormat

    try:
        kind = claim.imported()
        if not isinstance(kind, type) or not issubclass(kind, ScanFormat):
            return None, f"{claim.value} is no class derived from {ScanFormat.__module__}.ScanFormat"
        if isabstract(kind):
            return None, f"its class lacks {', '.join(sorted(getattr(kind, '__abstractmethods__', ())))}"
        if wrong := next((name for name in _TEXTS if not isinstance(getattr(kind, name, None), str)), None):
            return None, f"its class states no text '{wrong}'"
        if kind.written_as and kind.write is ScanFormat.write:
            return None, "its class states 'written_as' and has no method 'write'"
        if kind.name != claim.name:
            return None, f"its entry point is called '{claim.name}', and its class '{kind.name:.60}'"
        return kind(), ""
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin can raise anything
        return None, f"it cannot be loaded: {in_one_line(error, claim.module.partition('.')[0])}"
