"""Names, aliases, titles and pip lines of the backends that the project knows, from ``known.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = ["Known", "how_to_install", "known_backends", "normalise"]


@dataclass(frozen=True)
class Known:
    """One backend that the project knows by name; the fields are explained in ``known.toml``."""

    name: str
    title: str
    aliases: tuple[str, ...]
    module: str
    plugin: str
    install_framework: str
    install_plugin: str

    def remedy(self, *, framework: bool) -> str:
        """How to install the plugin, and the framework before it if ``framework`` is true."""
        lines = [self.install_framework] if framework else []
        lines.append(self.install_plugin)
        if not all(lines):
            return f"This version of ptycho comes without a {self.title} backend."
        return f"In a checkout of ptycho: {' && '.join(lines)}"


@lru_cache(maxsize=1)
def known_backends() -> dict[str, Known]:
    """All known backends by name."""
    table = tomllib.loads(Path(__file__).with_name("known.toml").read_text(encoding="utf-8"))
    return {name: Known(name=name, **{**entry, "aliases": tuple(entry["aliases"])}) for name, entry in table.items()}


def normalise(name: str) -> str:
    """The backend's name behind an alias; any other name unchanged."""
    for known in known_backends().values():
        if name in known.aliases:
            return known.name
    return name


def how_to_install() -> str:
    """A sentence with a pip line for each known backend that can be installed."""
    lines = [f"{known.title}: {known.remedy(framework=True)}" for known in known_backends().values() if known.install_plugin]
    return "; ".join(lines)
