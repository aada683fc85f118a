"""Layouts that come with ptycho: one TOML file each. An entry point names one as ``ptycho_core.formats.layouts:NAME``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptycho_core.formats.interface import ScanFormat


def __getattr__(name: str) -> type[ScanFormat]:
    """The format that ``NAME.toml`` describes."""
    path = Path(__file__).with_name(f"{name}.toml")
    if name.startswith("_") or not path.is_file():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ptycho_core.formats.layout import described

    return described(path, name)
