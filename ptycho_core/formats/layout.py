"""Scans whose layout a TOML file describes; ``layout_file`` says what such a file holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.checks import detector_flags
from ptycho_core.formats.guard import guarded
from ptycho_core.formats.hdf5_masks import good_pixels, zero_is_good
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Stated, Strength, Word
from ptycho_core.formats.layout_file import LARGEST, Layout, Number, read_layout
from ptycho_core.formats.layout_keys import NUMBER_MARK, chosen_key, companion, first_key, matching, required_key
from ptycho_core.formats.layout_positions import FoundPositions, positions_of, unit_of_layout
from ptycho_core.formats.plausible import plausible
from ptycho_core.orientation import ORIENTATIONS
from ptycho_core.physics.geometry import photon_energy
from ptycho_core.scan.frames import JoinedFrames
from ptycho_core.units import energy_ev, length_m

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source
    from ptycho_core.scan.frames import Frames

__all__ = ["Described", "described"]


class Described(ScanFormat):
    """Reads scans as a layout says; a class derived from it has the layout's path."""

    layout_path: ClassVar[Path]

    def __init__(self) -> None:
        self.layout = read_layout(self.layout_path)

    def recognize(self, source: Source) -> Evidence | None:
        """By the keys that the layout names, if it names any."""
        keys = self.layout.keys
        if not keys or not source.has():
            return None
        found = [next((one for one in key.split("|") if matching(source.hdf5, one)), "") for key in keys]
        return Evidence(Strength.LAYOUT, f"has {', '.join(found)}") if all(found) else None

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        layout, notes = self.layout, [f"Layout: {self.layout.path}."] if self.name == _NAME else list[str]()
        frames, key, file = _frames(layout, source)
        files = [source.hdf5] if file is source.hdf5 else [source.hdf5, file]
        found = None if layout.positions is None else positions_of(layout.positions, source, frames.lengths, notes)
        place = layout.frames
        mask, mask_key = _mask(layout, files, frames.found.shape[1:], notes)
        stated, keys = _stated(layout, files, key, notes)
        if found is not None:
            found = found._replace(values=_filtered(layout, source.hdf5, found.values, notes))
        elif layout.filters:
            notes.append("Filter: no frame is left out by what the layout says, since the positions are given.")
        positions = found or FoundPositions(None, "", "px")
        return RawScan(
            frames.found, f"'{key}'" if file is source.hdf5 else f"'{key}' of {file.path}", positions.values, positions.key,
            unit=positions.unit, signal=place.signal, signal_by="the layout", zero=_zero(layout, source.hdf5),
            turning=ORIENTATIONS[place.turn], stated=stated,
            regime=_word(layout, "regime"), propagator=_word(layout, "propagator"), mask=mask, mask_key=f"'{mask_key}'",
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
    entries = {
        "name": name, "title": layout.title, "reads": layout.reads, "extensions": layout.extensions,
        "conventions": layout.conventions, "extra": layout.extra, "layout_path": path,
        "recognized_by": ", ".join(_shown(key) for key in layout.keys) or "its name", "__doc__": f"Reads {layout.title}.",
    }  # fmt: skip
    return type(f"Described{path.stem.title()}", (Described,), entries)


def _word(layout: Layout, name: str) -> Word | None:
    return Word(layout.words[name], str(layout.path.name)) if name in layout.words else None


def _shown(key: str) -> str:
    """A key of those by which a layout is recognized: of several the first, and how many others there are."""
    first, *others = key.split("|")
    return f"`{first}`" + (f" or {len(others)} other{'s' * (len(others) > 1)}" if others else "")


class _Grid(NamedTuple):
    """Frames, and the lengths of the axes that count them."""

    found: Frames
    lengths: tuple[int, ...]


def _frames(layout: Layout, source: Source) -> tuple[_Grid, str, Hdf5Source]:
    """Frames, their key, and the file that has it."""
    place, file = layout.frames, source.hdf5
    if place.files:
        path = companion(source, place.files)
        if path is None:
            raise DataError(f"{source.path}: its frames lie in {' or '.join(place.files)} next to it, which does not exist.")
        file = source.companion(path)
    keys = _pieces(file, place.paths, source.dataset)
    key = keys[0]
    with guarded(file.where(key)):
        data = file.stored(key)
        shape = tuple(int(length) for length in data.shape or ())
    grid = ("slow", "fast", "row", "column")
    usual = {len(grid): grid} | ({2: ("row", "column")} if len(keys) > 1 else {})
    axes = place.axes or usual.get(len(shape), ("frame", "row", "column"))
    if len(shape) != len(axes):
        raise DataError(f"{file.where(key)} has shape {shape}; the layout says that its axes are {', '.join(axes)}.")
    counting = [axes.index(one) for one in ("frame", "slow", "fast") if one in axes]
    pixels = (axes.index("row"), axes.index("column"))
    if len(keys) == 1:
        return _Grid(file.frames(key, counting, pixels), tuple(shape[axis] for axis in counting)), key, file
    pieces = [file.frames(one, counting, pixels) for one in keys]
    if wrong := next((place for place, one in enumerate(pieces) if one.shape[1:] != pieces[0].shape[1:]), None):
        raise DataError(f"{file.where(keys[wrong])} has shape {pieces[wrong].shape}, and '{key}' {pieces[0].shape}.")
    joined = JoinedFrames(pieces)
    return _Grid(joined, (joined.shape[0],)), key, file


def _pieces(file: Hdf5Source, patterns: tuple[str, ...], named: str) -> list[str]:
    """The keys of the frames: one, or those that differ in a number, in its order."""
    if chosen := chosen_key(file, patterns, named):
        return [chosen]
    for pattern in patterns:
        found = matching(file, pattern)
        if found and NUMBER_MARK in pattern:
            groups = {key.rpartition("/")[0] for key in found}
            if len(groups) > 1:
                break
            return sorted(found, key=lambda key: int(re.findall("[0-9]+", key.rpartition("/")[2])[-1]))
        if found:
            break
    return [required_key(file, patterns, "frames")]


def _filtered(
    layout: Layout, file: Hdf5Source, positions: NDArray[np.float64] | None, notes: list[str]
) -> NDArray[np.float64] | None:
    """The positions, not finite where a number of the frame is outside its range."""
    if positions is None:
        return None
    for one in layout.filters:
        if one.optional and first_key(file, one.paths) is None:
            notes.append(f"Filter: there is no '{one.paths[0]}', by which the layout leaves out frames; all count.")
            continue
        key = required_key(file, one.paths, "the numbers of a filter")
        values = file.floats(key, [1, 2, 3]).reshape(-1)
        if len(values) != len(positions):
            raise DataError(
                f"{file.where(key)}, by which frames are chosen, has {len(values)} numbers; there are {len(positions)} positions."
            )
        keep = (values >= one.minimum) & (values < one.maximum)
        if not keep.any():
            raise DataError(
                f"{file.where(key)} is from {one.minimum:g} to below {one.maximum:g} for no frame, as the layout wants it;"
                f" it runs from {np.nanmin(values, initial=np.inf):g} to {np.nanmax(values, initial=-np.inf):g}.",
                remedy="State other bounds in a layout of your own, --format FILE.toml.",
            )
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
        value: float | None = one if isinstance(one, float) else file.one(required_key(file, (str(one),), "the beam's pixel"))
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
        if (key := first_key(file, place.paths)) is not None:
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
            text = " nor ".join(f"'{path}'" for place in places for path in place.paths) or "a detector of a known name"
            notes.append(f"Geometry: there is no {text}, which the layout names for {name}.")
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
    unit = unit_of_layout(
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
        if (key := first_key(file, (group,)) if group.strip("/") else "/") is None:
            continue
        if not at:
            return file.one(key), f"'{key}'", file.unit(key, "")
        value = np.asarray(file.attribute(key, name))
        if value.dtype.kind in "iufb" and value.size == 1:
            return float(value.reshape(())), f"'{key}@{name}'", ""
    return None, "", ""
