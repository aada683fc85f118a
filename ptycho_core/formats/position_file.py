"""Positions out of a file apart: a table with columns, an npy, or keys of an npz or HDF5 file."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.files.plain import plain_file, why_not_plain
from ptycho_core.formats.guard import guarded
from ptycho_core.formats.kinds import HDF5, NPY, ZIP, another_kind, kind_of
from ptycho_core.formats.npy import NpyFile
from ptycho_core.units import length_m, unit_word

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.interface import RawScan
    from ptycho_core.formats.source import Source

__all__ = ["Table", "read_table", "table_beside", "table_positions", "with_positions"]

_LARGEST: Final = 2**28
"""Bytes of the largest table that is read."""

_METRES: Final = 1e-2
"""Positions that state no unit and are all below it are metres: in pixels they would all be one."""

_SUFFIXES: Final = (".csv", ".txt")
_MARKS: Final = (",", ";", "\t")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eEdD][+-]?[0-9]+)?|[+-]?(?:nan|inf)", re.IGNORECASE)
_ROWS: Final = ("y", "row", "rows")
_COLUMNS: Final = ("x", "column", "columns", "col", "cols")
_INDEX: Final = ("index", "indexes", "indices", "frame", "frames", "frame_number", "number", "id", "n")


class Table(NamedTuple):
    """Columns of numbers, with their names where the file has a header: ``values`` is (row, column), float64.

    ``blanks``: the columns are apart by blanks, not by a mark such as a comma.
    """

    path: Path
    names: tuple[str, ...]
    values: NDArray[np.float64]
    blanks: bool = False


class _Found(NamedTuple):
    """Positions (n, 2), (row, column), in a unit; where they are; the numbers of their frames; whether corners of windows."""

    values: NDArray[np.float64]
    unit: str
    key: str
    numbers: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()


def table_beside(source: Source) -> Path | None:
    """A table of positions next to the main file, named after it or just ``positions``; None if there is none."""
    if source.kind == "folder":
        places = (source.path / f"positions{suffix}" for suffix in _SUFFIXES)
        return next((place for place in places if not why_not_plain(place)), None)
    stem = source.path.stem.removesuffix("_master")
    return source.beside(*(f"{name}{suffix}" for name in (f"{stem}_positions", "positions") for suffix in _SUFFIXES))


def with_positions(raw: RawScan, source: Source, place: Path, why: str) -> RawScan:
    """What a file holds, with the positions of another file in place of its positions.

    Args:
        raw: what the file holds.
        source: where it lies.
        place: the file with the positions.
        why: what makes it the one, for notes.

    Raises:
        DataError: the file cannot be used; the message names it, and the columns that it has.
    """
    path = source.take(place)
    found = _read(path, source)
    frames = raw.frame_numbers
    if frames is None and found.numbers is not None and len(found.numbers) != raw.frames.shape[0] and len(found.numbers):
        first = int(found.numbers.min() >= 1 and found.numbers.max() == raw.frames.shape[0])  # counted from 1, or from 0
        frames = np.arange(first, first + raw.frames.shape[0])
    note = f"Positions: those of {path} ({why}), {found.key}, in {found.unit}."
    return replace(
        raw, frame_numbers=frames, positions=found.values, position_key=f"{found.key} of {path}", unit=found.unit,
        position_numbers=found.numbers,
        window="corner", object_guess=None, object_center=None, notes=(*raw.notes, note, *found.notes),
    )  # fmt: skip


def _read(path: Path, source: Source) -> _Found:
    plain_file(path)
    kind = kind_of(path)
    if kind == NPY:
        file = NpyFile(path, "positions")
        return _found(_pairs(file.array("positions"), str(path)), set(), "the array")
    if kind in (ZIP, HDF5):
        return _of_keys(path, source, kind)
    if kind != "text":
        raise another_kind(
            path, "holds no positions that can be read", "Give a table (csv, txt), an npy, or FILE:KEY of npz or HDF5."
        )
    return table_positions(read_table(path), source.columns)


def _of_keys(path: Path, source: Source, kind: str) -> _Found:
    """Positions of an archive: one key with pairs, or two with rows and columns."""
    if not source.columns:
        raise DataError(
            f"{path} is given for positions, and no key of it is named.",
            remedy="Give --positions FILE:KEY for pairs (row, column), or FILE:ROWS,COLUMNS for two keys.",
        )
    keys, units = source.columns, set[str]()
    if kind == ZIP:
        archive = source.file.open_npz(path)
        arrays = [archive.array(key) if key in archive else _missing(path, key, archive.names) for key in keys]
    else:
        file = source.companion(path)
        arrays = [file.floats(key, [1, 2]) for key in keys]
        units = {file.unit(key, "") for key in keys} - {""}
    if len(units) > 1:
        raise DataError(f"{path}: '{keys[0]}' and '{keys[1]}' are in different units, {' and '.join(sorted(units))}.")
    if len(arrays) == 1:
        values = _pairs(arrays[0], f"{path}: '{keys[0]}'")
    elif len(arrays) == 2 and arrays[0].size == arrays[1].size:
        values = np.stack([np.asarray(one, dtype=np.float64).reshape(-1) for one in arrays], axis=1)
    else:
        shapes = ", ".join(f"'{key}' {one.shape}" for key, one in zip(keys, arrays, strict=True))
        raise DataError(f"{path}: positions are one key with pairs, or two keys with rows and columns; found {shapes}.")
    return _found(values, units, " and ".join(f"'{key}'" for key in keys))


def _found(values: NDArray[np.float64], units: set[str], key: str, numbers: NDArray[np.int64] | None = None) -> _Found:
    """Positions (n, 2) in the unit that is stated, or that they must be in."""
    unit, notes = _unit_of(units, values)
    return _Found(values, unit, key, numbers, notes)


def _missing(path: Path, key: str, names: str) -> Any:  # noqa: ANN401 - it never returns
    raise DataError(f"{path} has no key '{key:.60}'; it holds {names}.")


def _pairs(values: NDArray[Any], where: str) -> NDArray[np.float64]:
    if values.ndim == 2 and values.shape[0] == 2 and values.shape[1] != 2:
        values = values.T
    if values.ndim != 2 or values.shape[1] != 2 or values.dtype.kind not in "iuf":
        raise DataError(f"{where} has shape {values.shape} and type {values.dtype}; positions are (frame, 2): row, column.")
    with np.errstate(over="ignore"):
        return values.astype(np.float64)


def read_table(path: Path) -> Table:
    """A table of numbers, one row a line: columns apart by commas, semicolons, tabs or blanks; lines before it are its header.

    The last line before the first row of numbers names the columns, if it has as many words; a ``#`` before it does not count.

    Raises:
        DataError: there is no such table, or a line of it has another number of columns, or something that is no number.
    """
    plain_file(path)
    if (size := path.stat().st_size) > _LARGEST:
        raise DataError(f"{path} has {size} bytes; a table of positions has at most {_LARGEST}.")
    with guarded(f"{path}"):
        lines = path.read_text("utf-8-sig").splitlines()
    header, rows, blanks = list[str](), list[list[float]](), False
    for number, line in enumerate(lines, 1):
        words = _words(line)
        if not words or (rows and line.lstrip().startswith(("#", "%", ";"))):
            continue
        if not all(_NUMBER.fullmatch(word) for word in words):
            if rows:
                raise DataError(f"{path}: line {number}, '{line.strip():.60}', is no row of numbers.")
            header = _words(line.lstrip("#%; \t"))
            continue
        if rows and len(words) != len(rows[0]):
            raise DataError(f"{path}: line {number} has {len(words)} columns, the first row of numbers {len(rows[0])}.")
        blanks = not any(mark in line.strip() for mark in _MARKS)
        rows.append([float(re.sub("[dD]", "e", word)) if "n" not in word.lower() else float(word) for word in words])
    if not rows:
        raise DataError(f"{path} holds no row of numbers.")
    names = tuple(header) if len(header) == len(rows[0]) else ()
    return Table(path, names, np.array(rows, dtype=np.float64), blanks)


def _words(line: str) -> list[str]:
    for mark in _MARKS:
        if mark in line.strip():
            return [word.strip().strip('"') for word in line.strip().split(mark)]
    return line.split()


def table_positions(table: Table, columns: tuple[str, ...] = ()) -> _Found:
    """Positions of a table.

    Args:
        table: as `read_table` reads it.
        columns: the two columns by name or number from 0. Names that begin with ``x`` or ``col`` are columns, those with ``y`` or
            ``row`` rows, in any order; of others, and of numbers, the first is the row. None takes the columns so named; of two
            columns without names the first is the row where commas part them, and the column where blanks do, as ptychodus
            writes both.

    Raises:
        DataError: there are no such columns.
    """
    chosen = _named(table, columns) if columns else _obvious(table)
    axes = [_axis(name) for _, name in chosen]
    if axes == ["column", "row"]:
        chosen = chosen[::-1]
    (row, row_name), (column, column_name) = chosen
    values = np.ascontiguousarray(table.values[:, [row, column]])
    units = {_unit(name) for name in (row_name, column_name)} - {""}
    if len(units) > 1:
        raise DataError(f"{table.path}: '{row_name}' and '{column_name}' are in different units, {' and '.join(sorted(units))}.")
    told = f"columns '{row_name}' (row) and '{column_name}' (column)"
    return _found(values, units, told, _numbers(table))


def _unit_of(stated: set[str], values: NDArray[np.float64]) -> tuple[str, tuple[str, ...]]:
    """The unit that is stated; without one it is metres where all values are as small as only metres are, else pixels."""
    if stated:
        return next(iter(stated)), ()
    largest = float(np.nanmax(np.abs(values), initial=0.0))
    unit = "m" if 0 < largest < _METRES else "px"
    return unit, (f"Positions: the file states no unit; with values up to {largest:.3g} it is read in {unit} (--position-unit).",)


def _named(table: Table, columns: tuple[str, ...]) -> list[tuple[int, str]]:
    found, width = [], table.values.shape[1]
    for one in columns:
        if one in table.names:
            found.append((table.names.index(one), one))
        elif one.isdigit() and int(one) < width:
            found.append((int(one), table.names[int(one)] if table.names else one))
        else:
            has = ", ".join(table.names) if table.names else f"{width} columns without names, 0 to {width - 1}"
            raise DataError(
                f"{table.path} has no column '{one:.60}'; it has {has}.", remedy="Name two with --positions FILE:ROW,COLUMN."
            )
    if len(found) != 2:
        raise DataError(
            f"{table.path}: {len(found)} columns are named; positions are two.", remedy="Give --positions FILE:ROW,COLUMN."
        )
    return found


def _obvious(table: Table) -> list[tuple[int, str]]:
    """The columns that are named so, or the two that a table without names has."""
    rows = [(place, name) for place, name in enumerate(table.names) if _axis(name) == "row"]
    columns = [(place, name) for place, name in enumerate(table.names) if _axis(name) == "column"]
    if len(rows) == len(columns) == 1:
        return [*rows, *columns]
    if table.values.shape[1] == 2 and not rows and not columns:
        return [(1, "1"), (0, "0")] if table.blanks else [(0, "0"), (1, "1")]
    has = ", ".join(table.names) or f"{table.values.shape[1]} columns without names"
    raise DataError(
        f"{table.path} does not say which of its columns are positions: it has {has}.",
        remedy="Name two with --positions FILE:ROW,COLUMN.",
    )


def _axis(name: str) -> str:
    first = re.split(r"[_\s\[(/]", name.lower())[0]
    return "row" if first in _ROWS else "column" if first in _COLUMNS else ""


def _unit(name: str) -> str:
    """The unit at the end of a column's name, such as ``x_um`` or ``x [um]``; empty where there is none."""
    words = [unit_word(word) for word in re.split(r"[_\s\[\]()/]+", name) if word]
    last = words[-1] if len(words) > 1 else ""
    return last if last == "px" or length_m(last) is not None else ""


def _numbers(table: Table) -> NDArray[np.int64] | None:
    """The numbers of the frames, where a column is named so."""
    place = next((place for place, name in enumerate(table.names) if name.lower() in _INDEX), None)
    if place is None:
        return None
    values = table.values[:, place]
    whole = np.isfinite(values).all() and bool((values == np.rint(values)).all()) and bool((np.abs(values) < 2**53).all())
    return values.astype(np.int64) if whole else None
