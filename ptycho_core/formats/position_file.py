"""Positions out of a file apart: a table with columns, an npy, or keys of an npz or HDF5 file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.files.plain import plain_file, why_not_plain
from ptycho_core.formats.column_names import numbers_column, position_columns, unit_of
from ptycho_core.formats.kinds import HDF5, NPY, ZIP, another_kind, kind_of
from ptycho_core.formats.npy import NpyFile
from ptycho_core.formats.table import is_table, read_table
from ptycho_core.units import length_m

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.interface import RawScan
    from ptycho_core.formats.source import Source
    from ptycho_core.formats.table import Table

__all__ = ["table_beside", "table_positions", "with_positions"]

_METRES: Final = 1e-2
"""Positions that state no unit and are all below it are metres: in pixels they would all be one."""

_SUFFIXES: Final = (".csv", ".tsv", ".txt", ".dat")
_PAIRS: Final = ("positions", "positions_px", "positions_m", "positions_um", "points", "probe_positions", "scan")
"""Keys of pairs (row, column) that are read without being named."""

_MOST_KEYS: Final = 256


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
        inside = (source.path / f"positions{suffix}" for suffix in _SUFFIXES)
        beside = (source.path.with_name(f"{source.path.name}_positions{suffix}") for suffix in _SUFFIXES)
        return next((place for place in (*inside, *beside) if not why_not_plain(place)), None)
    stem = source.path.stem.removesuffix("_master")
    names = (f"{stem}_positions", "positions", stem)
    return source.beside(*(f"{name}{suffix}" for name in names for suffix in _SUFFIXES))


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
        return _found(_pairs(file.array("positions"), str(path)), "", "the array")
    if kind in (ZIP, HDF5):
        return _of_keys(path, source, kind)
    if not is_table(path):
        raise another_kind(
            path, "holds no positions that can be read", "Give a table (csv, txt), an npy, or FILE:KEY of npz or HDF5."
        )
    return table_positions(read_table(path), source.columns)


def _of_keys(path: Path, source: Source, kind: str) -> _Found:
    """Positions of an archive: one key with pairs, or two with rows and columns."""
    if kind == ZIP:
        archive = source.file.open_npz(path)
        keys = source.columns or _obvious_keys(path, list(archive.headers))
        arrays = [archive.array(key) if key in archive else _missing(path, key, archive.names) for key in keys]
        units = [unit_of(key) for key in keys]
    else:
        file = source.companion(path)
        names = [name for name in file.names("/")[:_MOST_KEYS] if file.is_numbers(name)]
        keys = source.columns or _obvious_keys(path, names)
        arrays = [file.floats(key, [1, 2]) for key in keys]
        units = [file.unit(key, unit_of(key.rpartition("/")[2])) for key in keys]
    parts = [f"'{key}'" for key in keys]
    if len(arrays) == 1:
        return _found(_pairs(arrays[0], f"{path}: {parts[0]}"), units[0], parts[0])
    if len(arrays) != 2 or arrays[0].size != arrays[1].size:
        shapes = ", ".join(f"'{key}' {one.shape}" for key, one in zip(keys, arrays, strict=True))
        raise DataError(f"{path}: positions are one key with pairs, or two keys with rows and columns; found {shapes}.")
    columns = [np.asarray(one, dtype=np.float64).reshape(-1) for one in arrays]
    order = position_columns([key.rpartition("/")[2] for key in keys]) or (0, 1)
    values, unit = _in_one_unit([columns[place] for place in order], [units[place] for place in order])
    return _found(values, unit, f"{parts[order[0]]} (row) and {parts[order[1]]} (column)")


def _obvious_keys(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The keys of positions that need not be named: a row's and a column's by their names, else one of pairs.

    Raises:
        DataError: there are none.
    """
    if (order := position_columns(names)) is not None:
        return names[order[0]], names[order[1]]
    if (pairs := next((name for name in _PAIRS if name in names), None)) is not None:
        return (pairs,)
    held = ", ".join(f"'{name:.40}'" for name in names[:12]) or "no arrays of numbers"
    raise DataError(
        f"{path} is given for positions, and no key of it is named; it holds {held}.",
        remedy="Give --positions FILE:KEY for pairs (row, column), or FILE:ROWS,COLUMNS for two keys.",
    )


def _in_one_unit(columns: Sequence[NDArray[np.float64]], units: Sequence[str]) -> tuple[NDArray[np.float64], str]:
    """Two columns (n, 2), in the unit of the first that states one; a column without a unit is in that of the other."""
    unit = next((one for one in units if one), "")
    values = [np.asarray(column, dtype=np.float64) for column in columns]
    for place, own in enumerate(units):
        if own and own != unit:
            values[place] = values[place] * _ratio(own, unit)
    return np.ascontiguousarray(np.stack(values, axis=1)), unit


def _ratio(own: str, unit: str) -> float:
    """How many of a unit one of another is.

    Raises:
        DataError: one is pixels, the other a length.
    """
    mine, theirs = length_m(own), length_m(unit)
    if mine is None or theirs is None:
        raise DataError(
            f"Of the positions one column is in {unit} and the other in {own}.", remedy="Give two of one kind with --positions."
        )
    return mine / theirs


def _found(values: NDArray[np.float64], unit: str, key: str, numbers: NDArray[np.int64] | None = None) -> _Found:
    """Positions (n, 2) in the unit that is stated; else in metres where all are as small as only metres are, else in pixels."""
    if unit:
        return _Found(values, unit, key, numbers)
    largest = float(np.nanmax(np.abs(values), initial=0.0))
    unit = "m" if 0 < largest < _METRES else "px"
    note = f"Positions: the file states no unit; with values up to {largest:.3g} they are read in {unit} (--position-unit)."
    return _Found(values, unit, key, numbers, (note,))


def _missing(path: Path, key: str, names: str) -> Any:  # noqa: ANN401 - it never returns
    raise DataError(f"{path} has no key '{key:.60}'; it holds {names}.")


def _pairs(values: NDArray[Any], where: str) -> NDArray[np.float64]:
    if values.ndim == 2 and values.shape[0] == 2 and values.shape[1] != 2:
        values = values.T
    if values.ndim != 2 or values.shape[1] != 2 or values.dtype.kind not in "iuf":
        raise DataError(f"{where} has shape {values.shape} and type {values.dtype}; positions are (frame, 2): row, column.")
    with np.errstate(over="ignore"):
        return values.astype(np.float64)


def table_positions(table: Table, columns: tuple[str, ...] = ()) -> _Found:
    """Positions of a table.

    Args:
        table: as `read_table` reads it.
        columns: the two columns by name or number from 0. Which is the row their names say, as `position_columns` reads them, in
            any order; of others, and of numbers, the first is the row. None takes the columns so named; of two columns without
            names the first is the row where commas part them, and the column where blanks do, as ptychodus writes both.

    Raises:
        DataError: there are no such columns.
    """
    row, column = _named(table, columns) if columns else _obvious(table)
    parts = [table.names[place] if table.names else str(place) for place in (row, column)]
    values, unit = _in_one_unit([table.values[:, row], table.values[:, column]], [table.units[row], table.units[column]])
    return _found(values, unit, f"columns '{parts[0]}' (row) and '{parts[1]}' (column)", _frame_numbers(table))


def _named(table: Table, columns: tuple[str, ...]) -> tuple[int, int]:
    found, width = list[int](), table.values.shape[1]
    for one in columns:
        if one in table.names:
            found.append(table.names.index(one))
        elif one.isdigit() and int(one) < width:
            found.append(int(one))
        else:
            raise DataError(f"{table.path} has no column '{one:.60}'; it has {_held(table)}.", remedy=_NAME_TWO)
    if len(found) != 2:
        raise DataError(f"{table.path}: {len(found)} columns are named; positions are two.", remedy=_NAME_TWO)
    order = position_columns([table.names[place] for place in found]) if table.names else None
    first, second = order or (0, 1)
    return found[first], found[second]


_NAME_TWO: Final = "Name two with --positions FILE:ROW,COLUMN."


def _obvious(table: Table) -> tuple[int, int]:
    """The columns (row, column) that are named so, or the two that a table without names has."""
    if (found := position_columns(table.names)) is not None:
        return found
    if table.values.shape[1] == 2 and not table.names:
        return (1, 0) if table.blanks else (0, 1)
    raise DataError(f"{table.path} does not say which of its columns are positions: it has {_held(table)}.", remedy=_NAME_TWO)


def _held(table: Table) -> str:
    width = table.values.shape[1]
    return ", ".join(table.names) or f"{width} columns without names, 0 to {width - 1}"


def _frame_numbers(table: Table) -> NDArray[np.int64] | None:
    """The numbers of the frames, where a column is named so."""
    if (place := numbers_column(table.names)) is None:
        return None
    values = table.values[:, place]
    whole = np.isfinite(values).all() and bool((values == np.rint(values)).all()) and bool((np.abs(values) < 2**53).all())
    return values.astype(np.int64) if whole else None
