"""Tables of numbers as people write them: columns apart by marks or blanks, with or without a header, in any encoding."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.files.plain import plain_file
from ptycho_core.formats.column_names import only_units, unit_in_words, unit_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Table", "is_table", "read_table"]

_LARGEST: Final = 2**28
"""Bytes of the largest table that is read."""

_MARKS: Final = (";", "\t", ",")
_COMMENTS: Final = ("#", "%", ";", "!")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eEdD][+-]?[0-9]+)?|[+-]?(?:nan|inf)", re.IGNORECASE)
_DECIMAL_COMMA: Final = re.compile(r"[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?")
_NOTHING: Final = frozenset({"", "na", "n/a", "none", "null", "-", "--"})
"""What stands for no number, besides nan."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


class Table(NamedTuple):
    """Columns of numbers, (row, column), float64, not finite where there is none.

    Attributes:
        path: the file.
        names: of the columns; empty where the file has no header.
        values: the numbers.
        units: the unit of each column; empty texts where the file does not state it.
        blanks: whether blanks part the columns, and no mark such as a comma.
    """

    path: Path
    names: tuple[str, ...]
    values: NDArray[np.float64]
    units: tuple[str, ...]
    blanks: bool = False


def is_table(path: Path) -> bool:
    """Whether a file is text, in an encoding that tables are written in."""
    with path.open("rb") as file:
        start = file.read(4096)
    return bool(start) and _CONTROL.search(_decoded(start[: len(start) // 2 * 2], cut=True) or "\x00") is None


def read_table(path: Path) -> Table:
    """A table of numbers, one row a line: columns apart by semicolons, tabs, commas or blanks; lines before it are its header.

    The last line before the first row of numbers that has a word for each column names them; a ``#`` before it does not count.
    Units are those of the names, else those of a line of units, else the one that a comment states. A cell that is empty or
    says that there is no number is not finite.

    Raises:
        DataError: there is no such table, or a line of it has another number of columns, or something that is no number.
    """
    plain_file(path)
    if (size := path.stat().st_size) > _LARGEST:
        raise DataError(f"{path} has {size} bytes; a table of positions has at most {_LARGEST}.")
    text = _decoded(path.read_bytes())
    if text is None:
        raise DataError(f"{path} cannot be read: it is no text.", remedy="Store the table as csv in UTF-8.")
    header, rows, blanks = list[str](), list[list[float]](), False
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip(" \r\n")
        if not bare.strip() or (rows and bare.startswith(_COMMENTS)):
            continue
        words = _fitting(_words(bare), len(rows[0]) if rows else 0)
        found = _numbers(words, started=bool(rows))
        if found is None:
            if rows:
                raise DataError(f"{path}: line {number}, '{bare:.60}', is no row of numbers.")
            header.append(bare.lstrip("#%;! \t"))
            continue
        if rows and len(found) != len(rows[0]):
            raise DataError(f"{path}: line {number} has {len(found)} columns, the first row of numbers {len(rows[0])}.")
        blanks = not any(mark in bare for mark in _MARKS)
        rows.append(found)
    if not rows:
        raise DataError(f"{path} holds no row of numbers.")
    names, units = _header(header, len(rows[0]))
    return Table(path, names, np.array(rows, dtype=np.float64), units, blanks)


def _decoded(data: bytes, *, cut: bool = False) -> str | None:
    """Text in UTF-8, in UTF-16 with its mark, or else in Latin-1; None where it holds what no text does."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = data[: error.start].decode("utf-8-sig") if cut and error.start > len(data) - 4 else data.decode("latin-1")
    return None if _CONTROL.search(text) else text


def _words(line: str) -> list[str]:
    """The cells of a line."""
    for mark in _MARKS:
        if mark in line:
            return [cell.strip().strip('"').strip() for cell in line.split(mark)]
    return [word.strip('"') for word in line.split()]


def _fitting(words: list[str], width: int) -> list[str]:
    """The cells of a line without the empty one behind a mark at its end, where there are more than so many."""
    return words[:-1] if len(words) > max(width, 1) and not words[-1] else words


def _numbers(words: Sequence[str], *, started: bool) -> list[float] | None:
    """The numbers of a row; None where it is none. A row without any number is one only within a table."""
    found, known = list[float](), 0
    for word in words:
        one = word.replace(",", ".") if _DECIMAL_COMMA.fullmatch(word) else word
        if _NUMBER.fullmatch(one):
            found.append(float(re.sub("[dD]", "e", one)) if "n" not in one.lower() else float(one))
            known += 1
        elif word.lower() in _NOTHING:
            found.append(np.nan)
        else:
            return None
    return found if known or started else None


def _names(line: str, width: int) -> list[str]:
    """The cells of a line of a header: apart by any blanks, by those before no unit, or by several, as the width wants it."""
    found = _fitting(_words(line), width)
    if len(found) == width or any(mark in line for mark in _MARKS):
        return found
    others = (re.sub(r"\s+(?=[\[(])", "", line).split(), re.split(r"\s{2,}", line.strip()))
    return next((words for words in others if len(words) == width), found)


def _header(lines: Sequence[str], width: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the columns and their units, out of the lines before the first row."""
    split = [_names(line, width) for line in lines]
    rows = [words for words in split if len(words) == width]
    stated = next((words for words in reversed(rows) if only_units(words)), None)
    names = next((words for words in reversed(rows) if not only_units(words)), None)
    units = [unit_of(name) for name in names or [""] * width]
    if stated is not None:
        units = [unit or unit_of(f"unit [{word.strip('[]() ')}]") for unit, word in zip(units, stated, strict=True)]
    if not any(units) and (said := unit_in_words([line for line, words in zip(lines, split, strict=True) if words is not names])):
        units = [said] * width
    return tuple(names or ()), tuple(units)
