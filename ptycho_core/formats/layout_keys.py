"""What a layout's patterns fit: keys of a file, and files next to it."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from itertools import product
from typing import TYPE_CHECKING, Final

from ptycho_core.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source

__all__ = ["NUMBER_MARK", "chosen_key", "companion", "first_key", "matching", "required_key"]

NUMBER_MARK: Final = "#"
"""In a key of frames: a number; the datasets whose keys differ in it are joined, in its order."""

_LONG: Final = 3
"""Digits of a number that names a scan."""

_MOST: Final = 4096
"""Names of a group, or files of a folder, that a pattern is compared with."""


def matching(file: Hdf5Source, pattern: str) -> list[str]:
    """Keys of a file that fit a pattern, ``*`` being any part of a name; capitals do not count there."""
    places = [""]
    for part in pattern.strip("/").split("/"):
        exact = not any(mark in part for mark in "*?[#")
        found = []
        for place in places:
            names = [part] if exact else file.members(place or "/", _MOST)
            found += [f"{place}/{name}" for name in names if exact or _fits(name, part)]
        places = [one for one in found if not exact or file.has(one.strip("/"))]
    return [one.strip("/") for one in places]


def _fits(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern, in which ``#`` is a number."""
    if NUMBER_MARK not in pattern:
        return fnmatchcase(name.lower(), pattern.lower())
    before, _, after = pattern.lower().partition(NUMBER_MARK)
    number = name.lower().removeprefix(before).removesuffix(after)
    return name.lower() == f"{before}{number}{after}" and number.isdecimal()


def first_key(file: Hdf5Source, patterns: tuple[str, ...]) -> str | None:
    """The one key that the first pattern fits that fits any.

    Raises:
        DataError: it fits several.
    """
    for pattern in patterns:
        found = matching(file, pattern)
        if len(found) > 1:
            listed = ", ".join(f"'{key}'" for key in found[:8])
            raise DataError(
                f"{file.path} has several keys '{pattern}': {listed}.",
                remedy="Choose frames with --dataset KEY, all else in a layout that you give with --format FILE.toml.",
            )
        if found:
            return found[0]
    return None


def chosen_key(file: Hdf5Source, patterns: tuple[str, ...], named: str) -> str | None:
    """The key that the user names, if it fits a pattern."""
    found = [key for pattern in patterns if named for key in matching(file, pattern)]
    return next((key for key in found if named in (key, key.rpartition("/")[0])), None)


def required_key(file: Hdf5Source, patterns: tuple[str, ...], what: str) -> str:
    """The key of `first_key`.

    Raises:
        DataError: there is none; the patterns, ``what`` they are for, and what the file holds are named.
    """
    if (key := first_key(file, patterns)) is None:
        listed = " nor ".join(f"'{one}'" for one in patterns)
        held = ", ".join(f"'{name:.40}'" for name in file.members("/", 12))
        raise DataError(f"{file.path} has no {listed}, where the layout says that {what} lie; it holds {held or 'nothing'}.")
    return key


def companion(source: Source, patterns: tuple[str, ...]) -> Path | None:
    """The file next to the main one, or at a path from there, whose name fits a pattern; None where there is none.

    ``{number}`` is a number in the name of the main file, with any zeros before it: the first of three digits or more for which
    there is a file, or the first of all where none is so long; ``{stem}`` that name without its
    ending, ``*`` anything.

    Raises:
        DataError: several fit.
    """
    numbers = re.findall(r"[0-9]+", source.path.name)
    long = [number for number in numbers if len(number) >= _LONG]
    for pattern, number in product(patterns, long or numbers[:1] or [""]):
        folder, _, name = pattern.rpartition("/")
        words = {
            r"\{number\}": f"0*{int(number)}" if number else "(?!)", r"\{stem\}": re.escape(source.path.stem), r"\*": ".*"
        }  # fmt: skip
        wanted = re.escape(name)
        for word, meaning in words.items():
            wanted = wanted.replace(word, meaning)
        found = [path for path in _files(source.path.parent / folder) if re.fullmatch(wanted, path.name) and path != source.path]
        if len(found) > 1:
            listed = ", ".join(path.name for path in found[:8])
            raise DataError(
                f"{source.path}: several files could belong to it by their names, {listed}.",
                remedy="Move the others away, or name one with --positions FILE.",
            )
        if found:
            return found[0]
    return None


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())[: _MOST * 16]
    except OSError:
        return []
