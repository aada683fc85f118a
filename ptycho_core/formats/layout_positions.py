"""Positions as a layout says where they lie: in the main file, in another HDF5 file, or in a table."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.hdf5_positions import on_grid
from ptycho_core.formats.layout_keys import companion, first_key, required_key
from ptycho_core.units import unit_word

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.layout_file import PositionsPlace
    from ptycho_core.formats.source import Source
    from ptycho_core.formats.table import Table

__all__ = ["FoundPositions", "positions_of", "unit_of_layout"]


class FoundPositions(NamedTuple):
    """Positions (n, 2), (row, column), with their key, unit and numbers; and the keys that were used."""

    values: NDArray[np.float64] | None
    key: str
    unit: str
    numbers: NDArray[np.int64] | None = None
    first: int = 0
    used: tuple[str, ...] = ()


def positions_of(place: PositionsPlace, source: Source, lengths: Sequence[int], notes: list[str]) -> FoundPositions | None:
    """Positions of the main file or of another; None where the user gives them in a file that is not the layout's."""
    path = None
    if place.files:
        path = companion(source, place.files) if source.positions is None else source.positions
        if path is None:
            raise DataError(
                f"{source.path}: its positions lie in {' or '.join(place.files)}, and there is no such file.",
                remedy="Give it with --positions FILE.",
            )
    if source.positions is not None and (path is None or source.columns):
        return None
    given = _Held(source.hdf5) if path is None else _opened(source, path)
    if path is not None and path == source.positions:
        if any(given.find(one) is None for one in (place.x, place.y, place.pairs) if one):
            return None  # another table, which is read as the user says
        source.take(path)
    return _paired(place, given, lengths, notes)


def _opened(source: Source, path: Path) -> _Held | _Columns:
    from ptycho_core.formats.kinds import is_hdf5
    from ptycho_core.formats.table import read_table

    if is_hdf5(path):
        return _Held(source.companion(path))
    table = read_table(path)
    if path != source.positions:
        source.take(path)
    return _Columns(table)


@dataclass(frozen=True)
class _Held:
    """Positions in an HDF5 file."""

    file: Hdf5Source

    def find(self, patterns: tuple[str, ...]) -> str | None:
        return first_key(self.file, patterns)

    def require(self, patterns: tuple[str, ...]) -> str:
        return required_key(self.file, patterns, "positions")

    def values(self, key: str) -> NDArray[np.float64]:
        return self.file.floats(key, [1, 2, 3, 4])

    def unit(self, key: str) -> str:
        return self.file.unit(key, "")

    @property
    def path(self) -> Path:
        return self.file.path


@dataclass(frozen=True)
class _Columns:
    """Positions in a table."""

    table: Table

    def find(self, patterns: tuple[str, ...]) -> str | None:
        for pattern in patterns:
            found = [name for name in self.table.names if fnmatchcase(name.lower(), pattern.lower())]
            if len(found) > 1 and pattern not in found:
                raise DataError(f"{self.path} has several columns '{pattern}': {', '.join(found)}.")
            if found:
                return pattern if pattern in found else found[0]
        return None

    def require(self, patterns: tuple[str, ...]) -> str:
        if (found := self.find(patterns)) is None:
            listed = " nor ".join(f"'{one}'" for one in patterns)
            held = ", ".join(self.table.names) or f"{self.table.values.shape[1]} columns without names"
            raise DataError(
                f"{self.path} has no column {listed}, where the layout says that positions lie; it has {held}.",
                remedy="Name two columns with --positions FILE:ROW,COLUMN.",
            )
        return found

    def values(self, key: str) -> NDArray[np.float64]:
        return self.table.values[:, self.table.names.index(key)]

    def unit(self, key: str) -> str:
        del key
        return ""

    @property
    def path(self) -> Path:
        return self.table.path


def _paired(place: PositionsPlace, given: _Held | _Columns, lengths: Sequence[int], notes: list[str]) -> FoundPositions:
    """(position, 2), (row, column), with their signs."""
    if place.pairs:
        keys: tuple[str, ...] = (given.require(place.pairs),)
        columns = _of_pairs(given.values(keys[0]), place.order, f"{given.path}: '{keys[0]}'")
    else:
        keys = (given.require(place.y), given.require(place.x))
        rows, across = (given.values(key) for key in keys)
        columns = on_grid(rows.reshape(-1), across.reshape(-1), lengths)
        if len(columns[0]) != len(columns[1]):
            raise DataError(
                f"{given.path}: '{keys[0]}' has shape {rows.shape} and '{keys[1]}' {across.shape}; both must be of one length."
            )
    values = np.stack(columns, axis=1) * np.array(place.signs)
    text = " and ".join(f"'{key}'" for key in keys)
    if not place.unit and not place.default_unit and not any(given.unit(key) for key in keys):
        notes.append("Positions: neither layout nor file states a unit; they are pixels of the object (--position-unit).")
    stated = {given.unit(key) for key in keys} - {""}
    unit = unit_of_layout(place.unit, place.default_unit, stated, f"{given.path}: {text}", notes)
    numbers, number = None, given.find(place.numbers)
    if number is not None and len(values) != int(np.prod(lengths, dtype=np.int64)):
        numbers = _whole(given.values(number).reshape(-1), f"{given.path}: '{number}'")
    where = text if isinstance(given, _Held) else f"columns {text} of {given.path}"
    first = place.first.get(number or "", place.first.get("", 0))
    return FoundPositions(values, where, unit, numbers, first, keys if isinstance(given, _Held) else ())


def _of_pairs(values: NDArray[np.float64], order: str, where: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    shape = values.shape
    if values.ndim == 2 and shape[1] not in (2, 3) and shape[0] in (2, 3):
        values = values.T
    if values.ndim != 2 or values.shape[1] not in (2, 3):
        raise DataError(f"{where} has shape {shape}; pairs are (position, 2).")
    first, second = values[:, 0], values[:, 1]
    return (second, first) if order == "xy" else (first, second)


def _whole(values: NDArray[np.float64], where: str) -> NDArray[np.int64]:
    if not (np.isfinite(values).all() and (values == np.rint(values)).all() and (np.abs(values) < 2**53).all()):
        raise DataError(f"{where} must hold the number of a frame for each position, whole numbers.")
    return values.astype(np.int64)


def unit_of_layout(sure: str, default: str, stated: set[str], where: str, notes: list[str]) -> str:
    """The unit that the layout states, else that of the file, else the one that the layout takes for granted, else pixels."""
    if len(stated) > 1 and not sure:
        raise DataError(
            f"{where} are in different units, {' and '.join(sorted(stated))}.", remedy='State one in the layout: unit = "um".'
        )
    found = next(iter(stated), "")
    if sure and found and unit_word(sure) != found:
        notes.append(f"Units: {where} states '{found:.40}', and the layout {sure}, which counts.")
    return unit_word(sure or found or default or "px")
