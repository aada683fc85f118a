"""Scans whose layout a TOML file describes; ``layout_file`` says what such a file holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.checks import detector_flags
from ptycho_core.formats.guard import guarded
from ptycho_core.formats.hdf5_masks import good_pixels, zero_is_good
from ptycho_core.formats.hdf5_positions import on_grid
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Stated, Strength
from ptycho_core.formats.layout_file import LARGEST, Layout, Number, PositionsPlace, read_layout
from ptycho_core.formats.plausible import plausible
from ptycho_core.orientation import ORIENTATIONS
from ptycho_core.physics.geometry import photon_energy
from ptycho_core.units import energy_ev, length_m, unit_word

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source
    from ptycho_core.formats.table import Table
    from ptycho_core.scan.frames import Frames

__all__ = ["Described", "described"]

_LONG: Final = 3
"""Digits of a number that names a scan."""

_MOST: Final = 4096
"""Names of a group, or files of a folder, that a pattern is compared with."""


class Described(ScanFormat):
    """Reads scans as a layout says; a class derived from it has the layout's path."""

    layout_path: ClassVar[Path]

    def __init__(self) -> None:
        self.layout = read_layout(self.layout_path)

    def recognize(self, source: Source) -> Evidence | None:
        """By the keys that the layout names, if it names any."""
        keys = self.layout.keys
        if not keys or not source.has() or not all(_matching(source.hdf5, key) for key in keys):
            return None
        return Evidence(Strength.LAYOUT, f"has {', '.join(keys)}")

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        layout, notes = self.layout, [f"Layout: {self.layout.path}."] if self.name == _NAME else list[str]()
        frames, key, file = _frames(layout, source)
        files = [source.hdf5] if file is source.hdf5 else [source.hdf5, file]
        found = None if layout.positions is None else _positions(layout.positions, source, frames, notes)
        place = layout.frames
        mask, mask_key = _mask(layout, files, frames.found.shape[1:], notes)
        stated, keys = _stated(layout, files, key, notes)
        if found is not None:
            found = found._replace(values=_filtered(layout, source.hdf5, found.values, notes))
        elif layout.filters:
            notes.append("Filter: no frame is left out by what the layout says, since the positions are given.")
        positions = found or _Found(None, "", "px")
        return RawScan(
            frames.found, f"'{key}'" if file is source.hdf5 else f"'{key}' of {file.path}", positions.values, positions.key,
            unit=positions.unit, signal=place.signal, signal_by="the layout", zero=_zero(layout, source.hdf5),
            turning=ORIENTATIONS[place.turn], stated=stated, mask=mask, mask_key=f"'{mask_key}'",
            flag=_flag(place.flag, frames.found), position_numbers=positions.numbers,
            frame_numbers=None if positions.numbers is None else np.arange(frames.found.shape[0]) + positions.first,
            notes=tuple(notes), used=(key, *positions.used, *keys, *([mask_key] if mask_key else [])),
        )  # fmt: skip


_NAME: Final = "described"
"""Name of a format that is made of a layout of the user's."""


def described(path: Path, name: str = _NAME) -> type[ScanFormat]:
    """The format that a layout describes.

    Raises:
        SettingsError: the layout cannot be used; file and key are named.
    """
    layout = read_layout(path)
    told = {
        "name": name, "title": layout.title, "reads": layout.reads, "extensions": layout.extensions,
        "conventions": layout.conventions, "extra": layout.extra, "layout_path": path,
        "recognized_by": ", ".join(f"`{key}`" for key in layout.keys) or "its name", "__doc__": f"Reads {layout.title}.",
    }  # fmt: skip
    return type(f"Described{path.stem.title()}", (Described,), told)


class _Grid(NamedTuple):
    """Frames, and the lengths of the axes that count them."""

    found: Frames
    lengths: tuple[int, ...]


class _Found(NamedTuple):
    """Positions (n, 2), (row, column), with their key, unit and numbers; and the keys that were used."""

    values: NDArray[np.float64] | None
    key: str
    unit: str
    numbers: NDArray[np.int64] | None = None
    first: int = 0
    used: tuple[str, ...] = ()


def _matching(file: Hdf5Source, pattern: str) -> list[str]:
    """Keys of a file that fit a pattern, ``*`` being any part of a name; capitals do not count there."""
    places = [""]
    for part in pattern.strip("/").split("/"):
        exact = not any(mark in part for mark in "*?[")
        found = []
        for place in places:
            names = [part] if exact else _names(file, place)
            found += [f"{place}/{name}" for name in names if exact or fnmatchcase(name.lower(), part.lower())]
        places = [one for one in found if not exact or file.has(one.strip("/"))]
    return [one.strip("/") for one in places]


def _names(file: Hdf5Source, place: str) -> list[str]:
    try:
        return file.names(place or "/")[:_MOST]
    except DataError:
        return []


def _first(file: Hdf5Source, patterns: tuple[str, ...]) -> str | None:
    """The one key that the first pattern fits that fits any.

    Raises:
        DataError: it fits several.
    """
    for pattern in patterns:
        found = _matching(file, pattern)
        if len(found) > 1:
            told = ", ".join(f"'{key}'" for key in found[:8])
            raise DataError(
                f"{file.path} has several keys '{pattern}': {told}.",
                remedy="Choose frames with --dataset KEY, all else in a layout that you give with --format FILE.toml.",
            )
        if found:
            return found[0]
    return None


def _chosen(file: Hdf5Source, patterns: tuple[str, ...], named: str) -> str | None:
    """The key that the user names, if it fits a pattern."""
    found = [key for pattern in patterns if named for key in _matching(file, pattern)]
    return next((key for key in found if named in (key, key.rpartition("/")[0])), None)


def _required(file: Hdf5Source, patterns: tuple[str, ...], what: str) -> str:
    if (key := _first(file, patterns)) is None:
        told = " nor ".join(f"'{one}'" for one in patterns)
        held = ", ".join(f"'{name:.40}'" for name in _names(file, "")[:12])
        raise DataError(f"{file.path} has no {told}, where the layout says that {what} lie; it holds {held or 'nothing'}.")
    return key


def _frames(layout: Layout, source: Source) -> tuple[_Grid, str, Hdf5Source]:
    """Frames, their key, and the file that has it."""
    place, file = layout.frames, source.hdf5
    if place.files:
        path = _companion(source, place.files)
        if path is None:
            raise DataError(f"{source.path}: its frames lie in {' or '.join(place.files)} next to it, which does not exist.")
        file = source.companion(path)
    key = _chosen(file, place.paths, source.dataset) or _required(file, place.paths, "frames")
    with guarded(file.where(key)):
        data = file.stored(key)
        shape = tuple(int(length) for length in data.shape or ())
    grid = ("slow", "fast", "row", "column")
    axes = place.axes or (grid if len(shape) == len(grid) else ("frame", "row", "column"))
    if len(shape) != len(axes):
        raise DataError(f"{file.where(key)} has shape {shape}; the layout says that its axes are {', '.join(axes)}.")
    counting = [axes.index(one) for one in ("frame", "slow", "fast") if one in axes]
    found = file.frames(key, counting, (axes.index("row"), axes.index("column")))
    return _Grid(found, tuple(shape[axis] for axis in counting)), key, file


def _companion(source: Source, patterns: tuple[str, ...]) -> Path | None:
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
            told = ", ".join(path.name for path in found[:8])
            raise DataError(
                f"{source.path}: several files could belong to it by their names, {told}.",
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


def _positions(place: PositionsPlace, source: Source, frames: _Grid, notes: list[str]) -> _Found | None:
    """Positions of the main file or of another; None where the user gives them in a file that is not the layout's."""
    path = None
    if place.files:
        path = _companion(source, place.files) if source.positions is None else source.positions
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
    return _paired(place, given, frames, notes)


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
        return _first(self.file, patterns)

    def require(self, patterns: tuple[str, ...]) -> str:
        return _required(self.file, patterns, "positions")

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
            told = " nor ".join(f"'{one}'" for one in patterns)
            held = ", ".join(self.table.names) or f"{self.table.values.shape[1]} columns without names"
            raise DataError(
                f"{self.path} has no column {told}, where the layout says that positions lie; it has {held}.",
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


def _paired(place: PositionsPlace, given: _Held | _Columns, frames: _Grid, notes: list[str]) -> _Found:
    """(position, 2), (row, column), with their signs."""
    if place.pairs:
        keys: tuple[str, ...] = (given.require(place.pairs),)
        columns = _of_pairs(given.values(keys[0]), place.order, f"{given.path}: '{keys[0]}'")
    else:
        keys = (given.require(place.y), given.require(place.x))
        rows, across = (given.values(key) for key in keys)
        columns = on_grid(rows.reshape(-1), across.reshape(-1), frames.lengths)
        if len(columns[0]) != len(columns[1]):
            raise DataError(
                f"{given.path}: '{keys[0]}' has shape {rows.shape} and '{keys[1]}' {across.shape}; both must be of one length."
            )
    values = np.stack(columns, axis=1) * np.array(place.signs)
    told = " and ".join(f"'{key}'" for key in keys)
    if not place.unit and not place.default_unit and not any(given.unit(key) for key in keys):
        notes.append("Positions: neither layout nor file states a unit; they are pixels of the object (--position-unit).")
    unit = _unit_of(place.unit, place.default_unit, {given.unit(key) for key in keys} - {""}, f"{given.path}: {told}", notes)
    numbers, number = None, given.find(place.numbers)
    if number is not None and len(values) != frames.found.shape[0]:
        numbers = _whole(given.values(number).reshape(-1), f"{given.path}: '{number}'")
    where = told if isinstance(given, _Held) else f"columns {told} of {given.path}"
    return _Found(values, where, unit, numbers, place.first, keys if isinstance(given, _Held) else ())


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


def _unit_of(sure: str, default: str, stated: set[str], where: str, notes: list[str]) -> str:
    """The unit that the layout states, else that of the file, else the one that the layout takes for granted, else pixels."""
    if len(stated) > 1 and not sure:
        raise DataError(
            f"{where} are in different units, {' and '.join(sorted(stated))}.", remedy='State one in the layout: unit = "um".'
        )
    found = next(iter(stated), "")
    if sure and found and unit_word(sure) != found:
        notes.append(f"Units: {where} states '{found:.40}', and the layout {sure}, which counts.")
    return unit_word(sure or found or default or "px")


def _filtered(
    layout: Layout, file: Hdf5Source, positions: NDArray[np.float64] | None, notes: list[str]
) -> NDArray[np.float64] | None:
    """The positions, not finite where a number of the frame is outside its range."""
    if positions is None:
        return None
    for one in layout.filters:
        key = _required(file, one.paths, "the numbers of a filter")
        values = file.floats(key, [1, 2, 3]).reshape(-1)
        if len(values) != len(positions):
            raise DataError(
                f"{file.where(key)}, by which frames are chosen, has {len(values)} numbers; there are {len(positions)} positions."
            )
        keep = (values >= one.minimum) & (values < one.maximum)
        notes.append(
            f"Filter: {int((~keep).sum())} of {len(keep)} frames are left out, whose '{key}' is not from {one.minimum:g} to"
            f" below {one.maximum:g}."
        )
        positions = np.where(keep[:, np.newaxis], positions, np.nan)
    return positions


def _zero(layout: Layout, file: Hdf5Source) -> Any:  # noqa: ANN401 - as RawScan.zero
    zero = layout.frames.zero
    if isinstance(zero, str):
        return zero
    found = []
    for one in zero:
        value: float | None = one if isinstance(one, float) else file.one(_required(file, (str(one),), "the beam's pixel"))
        if value is None:
            raise DataError(f"{file.where(str(one))} is missing.", remedy="Give --beam-center ROW,COL.")
        found.append(value)
    return tuple(found)


def _mask(
    layout: Layout, files: list[Hdf5Source], shape: tuple[int, int], notes: list[str]
) -> tuple[NDArray[np.bool_] | None, str]:
    """The good pixels of a frame, and their key; None where no file has any."""
    if (place := layout.mask) is None:
        return None, ""
    for file in files:
        if (key := _first(file, place.paths)) is not None:
            return good_pixels(file, key, shape, zero_is_good if place.zero_is_good else lambda values: values != 0, notes), key
    notes.append(f"Mask: there is no '{place.paths[0]}', where the layout says that it lies; all pixels count as good.")
    return None, ""


def _flag(flag: float | str | None, frames: Frames) -> float | tuple[float, ...] | None:
    return (detector_flags(frames.dtype) or None) if flag == LARGEST else None if flag is None else float(flag)


def _stated(layout: Layout, files: list[Hdf5Source], frames: str, notes: list[str]) -> tuple[dict[str, Stated], list[str]]:
    """The numbers of the geometry, each from the first place that has it; and the keys that were used."""
    found, used = dict[str, Stated](), list[str]()
    for name, places in layout.geometry.items():
        for place in places:
            one = next((one for file in files if (one := _number(place, name, layout, file, frames, notes)) is not None), None)
            if one is None:
                continue
            if name == "detector_distance_m" and one.value < 0:
                notes.append(f"Distance: {one.key} is negative; its amount is taken.")
                one = Stated(-one.value, one.key)
            found[name] = one
            if place.paths:
                used.append(one.key.strip("'"))
            break
        else:
            told = " nor ".join(f"'{path}'" for place in places for path in place.paths) or "a detector of a known name"
            notes.append(f"Geometry: there is no {told}, which the layout names for {name}.")
    return found, used


def _number(place: Number, name: str, layout: Layout, file: Hdf5Source, frames: str, notes: list[str]) -> Stated | None:
    """A number in the unit of its setting; None where it is not there."""
    value, where, stated = place.value, str(layout.path.name), ""
    if place.detectors:
        word = next((word for word in place.detectors if word in frames.lower()), None)
        if word is None:
            return None
        value = place.detectors[word]
        notes.append(f"Geometry: {name} is that of a detector '{word}', as the layout states, since the file does not.")
    if place.paths:
        value, where, stated = _read_number(place.paths, file)
    if value is None or (value == 0 and place.paths):
        return None  # 0 is what some writers put where nothing is known
    unit = _unit_of(
        place.unit, place.default_unit or ("eV" if name == "photon_energy_ev" else "m"), {stated} - {""}, where, notes
    )
    if name == "photon_energy_ev" and length_m(unit) is not None and value > 0:
        sure = place.unit or not place.paths
        length = value * (length_m(unit) or 1.0) if sure else plausible("wavelength", value, unit, where, notes)
        return None if length is None else Stated(photon_energy(length), where)
    if not place.unit and place.paths and value > 0 and (found := plausible(name, value, unit, where, notes)) is not None:
        return Stated(found, where)
    scale = energy_ev(unit) if name == "photon_energy_ev" else length_m(unit)
    if scale is None:
        raise DataError(
            f"{file.path}: {where} is in '{unit:.40}', which does not fit.",
            remedy=f"Overrule it with --{name.replace('_', '-')}.",
        )
    return Stated(value * scale, where)


def _read_number(patterns: tuple[str, ...], file: Hdf5Source) -> tuple[float | None, str, str]:
    """The number of the first key or attribute that there is, its place and the unit stated next to it."""
    for pattern in patterns:
        group, at, name = pattern.partition("@")
        if (key := _first(file, (group,)) if group.strip("/") else "/") is None:
            continue
        if not at:
            return file.one(key), f"'{key}'", file.unit(key, "")
        value = np.asarray(file.attribute(key, name))
        if value.dtype.kind in "iufb" and value.size == 1:
            return float(value.reshape(())), f"'{key}@{name}'", ""
    return None, "", ""
