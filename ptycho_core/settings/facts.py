"""What a scan file states about settings: scalars beside the patterns, which are not read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["scan_facts"]


def scan_facts(scan: str | Path) -> dict[str, tuple[float, str]]:
    """Energy, distance and pixel size, where a scan file states them, each with its place; reads headers and scalars only.

    A value that is not positive is left to the reader of the scan, which refuses it unless a setting overrules it.

    Raises:
        DataError: the file does not exist or is damaged.
    """
    from ptycho_core.formats.checks import GEOMETRY_KEYS
    from ptycho_core.formats.npz import NpzFile, is_zip
    from ptycho_core.scan.opening import scan_path

    place = scan_path(scan)
    found: dict[str, tuple[float, str]] = {}
    if not is_zip(place):  # what it is then, and what is wrong with it, its reader says
        return found
    file = NpzFile(place)
    for name, keys in GEOMETRY_KEYS.items():
        for key in keys:
            value = file.number(key)
            if value is not None and 0 < value < float("inf"):
                found.setdefault(name, (float(value), f"{place}: '{key}'"))
    return found
