"""The scan of installed entry points: who claims to be a backend. Nothing is imported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import Distribution

__all__ = ["GROUP", "LOGGER", "OBSERVERS", "EntryPointClaim", "canonical", "forget", "installed_version", "scan"]

GROUP = "ptycho.backends"
OBSERVERS = "ptycho.observers"
LOGGER = "logger."
"""How the name of an entry point of the group of observers begins where it is a logger."""


@dataclass(frozen=True, order=True)
class EntryPointClaim:
    """One entry point: ``name = value`` in the metadata of an installed distribution."""

    name: str
    distribution: str
    version: str
    value: str

    @property
    def module(self) -> str:
        """Dotted name of the module that the entry point names."""
        return self.value.partition("[")[0].partition(":")[0].strip()

    @property
    def attribute(self) -> str:
        """What follows the colon, or nothing: the module itself is the plugin."""
        return self.value.partition("[")[0].partition(":")[2].strip()

    def imported(self) -> Any:  # noqa: ANN401 - a module or whatever is in it
        """What the entry point names; raises whatever its code does."""
        found: Any = import_module(self.module)
        for name in filter(None, self.attribute.split(".")):
            found = getattr(found, name)
        return found

    @property
    def source(self) -> str:
        """Distribution and version, as messages name them."""
        return f"{self.distribution} {self.version}".strip()


@cache
def scan(group: str = GROUP) -> tuple[EntryPointClaim, ...]:
    """All claims of a group, by name, then distribution; read once in a process.

    A distribution found twice (an editable installation next to its own build metadata) counts once: the first on ``sys.path``
    is the one that an import would find.
    """
    from importlib import metadata

    found: dict[str, list[EntryPointClaim]] = {}
    for distribution in metadata.distributions():
        text = _text(distribution, "entry_points.txt")
        if group not in text:  # the cheap test first: reading every distribution's name is what makes scans slow
            continue
        pairs = list(_section(text, group))
        if pairs:
            name, version = _header(distribution, "Name") or "unnamed", _header(distribution, "Version")
            found.setdefault(canonical(name), [EntryPointClaim(key, name, version, value) for key, value in pairs])
    return tuple(sorted({claim for claims in found.values() for claim in claims}))


def forget() -> None:
    """Scan again at the next call. For tests, which install while the process runs."""
    scan.cache_clear()


def canonical(distribution: str) -> str:
    """A distribution's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution, empty if its metadata states none; None if it is not installed."""
    from importlib import metadata

    try:
        return _header(metadata.distribution(distribution), "Version")
    except metadata.PackageNotFoundError:
        return None


def _text(distribution: Distribution, name: str) -> str:
    """A file of a distribution's metadata; bytes that are no UTF-8 become separate signs, and hide nothing else."""
    try:
        return distribution.read_text(name) or ""
    except UnicodeDecodeError as error:
        return error.object.decode("utf-8", "replace")
    except OSError:  # such as a folder of that name, or a link in a circle
        return ""


def _header(distribution: Distribution, key: str) -> str:
    """A line of a distribution's metadata; the standard parser reads the whole description for it."""
    text = _text(distribution, "METADATA") or _text(distribution, "PKG-INFO")
    head = text.partition("\n\n")[0]
    found = re.search(rf"^{key}:[ \t]*(.*?)[ \t\r]*$", head, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else ""


def _section(text: str, group: str) -> Iterator[tuple[str, str]]:
    # The standard parser raises on one malformed line, and one bad distribution must not hide all others.
    inside = False
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            inside = line == f"[{group}]"
        elif inside and line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()
