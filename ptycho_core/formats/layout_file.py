"""A layout: a TOML file that says where a scan's frames, positions, geometry and mask lie in HDF5, so that no code is needed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.errors import SettingsError, did_you_mean
from ptycho_core.files.texts import MOST_OF_MANIFEST, TextError, parse_toml, read_text
from ptycho_core.formats.interface import PIXEL_WIDTH
from ptycho_core.orientation import ORIENTATIONS
from ptycho_core.settings.data import PROPAGATORS
from ptycho_core.units import energy_ev, length_m

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["LARGEST", "Bounds", "FramesPlace", "Layout", "MaskPlace", "Number", "PositionsPlace", "read_layout"]

LARGEST: Final = "largest"
"""The flag that means the values by which counting detectors mark bad pixels, such as the largest of the type of the frames."""

_AXES: Final = ("frame", "slow", "fast", "row", "column")
_ZEROS: Final = ("center", "corner", "shifted")
_NUMBERS: Final = {
    "energy": "photon_energy_ev", "distance": "detector_distance_m", "pixel": "detector_pixel_size_m",
    "pixel_width": PIXEL_WIDTH, "object_pixel": "object_pixel_m", "focus": "focus_to_sample_m",
}  # fmt: skip
"""Words of ``[geometry]`` and the settings that they state."""


@dataclass(frozen=True)
class Number:
    """Where a number lies: a value, or the first of some keys, with its unit.

    Attributes:
        paths: keys, ``*`` for any part of a name, ``group@name`` for an attribute.
        value: the number itself.
        detectors: the number by a part of the name of the frames' key, in lower case.
        unit: its unit, whatever the file says; empty where that of the file is taken.
        default_unit: its unit where the file states none.
    """

    paths: tuple[str, ...] = ()
    value: float | None = None
    detectors: Mapping[str, float] = field(default_factory=dict)
    unit: str = ""
    default_unit: str = ""


@dataclass(frozen=True)
class FramesPlace:
    """Where frames lie, and how; see ``RawScan``. ``axes`` is empty where all but the last two count frames."""

    paths: tuple[str, ...]
    files: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    signal: str | None = None
    zero: str | tuple[float | str, float | str] = "center"
    turn: str = "as-stated"
    flag: float | str | None = None


@dataclass(frozen=True)
class PositionsPlace:
    """Where positions lie: ``x`` and ``y``, or ``pairs`` in an order, as keys or as columns of a table.

    Attributes:
        x: keys or columns along the columns of the frames; the first that is there.
        y: the same along the rows.
        pairs: keys of an array (position, 2) in place of both.
        order: ``xy`` or ``yx``, of the pairs.
        files: patterns of the names of another file; empty for the main one.
        numbers: keys or columns with the numbers of frames, which pair where there are fewer positions than frames.
        first: number of the first frame, by the key or column of the numbers; under an empty name that of all others.
        unit: their unit, whatever the file says.
        default_unit: their unit where the file states none.
        signs: of (row, column).
    """

    x: tuple[str, ...] = ()
    y: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    order: str = "xy"
    files: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    first: Mapping[str, int] = field(default_factory=dict)
    unit: str = ""
    default_unit: str = ""
    signs: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class MaskPlace:
    """Where a mask lies, and whether 0 means a good pixel."""

    paths: tuple[str, ...]
    zero_is_good: bool


@dataclass(frozen=True)
class Bounds:
    """A range, its end not included, in which a number of each frame must lie for the frame to count.

    ``optional``: a file without the number is read, too; all frames count then.
    """

    paths: tuple[str, ...]
    minimum: float
    maximum: float
    optional: bool = False


@dataclass(frozen=True)
class Layout:
    """What a layout says; ``path`` is its file, and ``keys`` what a file must have to be taken for one of this layout.

    ``words`` are the ``regime`` and the ``propagator`` that it states.
    """

    path: Path
    title: str
    frames: FramesPlace
    positions: PositionsPlace | None
    geometry: Mapping[str, tuple[Number, ...]]
    mask: MaskPlace | None
    filters: tuple[Bounds, ...]
    words: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    reads: str = ""
    extensions: tuple[str, ...] = ()
    conventions: tuple[str, ...] = ()
    extra: str = ""


def read_layout(path: Path) -> Layout:
    """A layout.

    Raises:
        SettingsError: there is no such file, it is not TOML, or says what a layout does not; file and key are named.
    """
    try:
        values = parse_toml(read_text(path, MOST_OF_MANIFEST, "is not TOML"))
    except TextError as error:
        raise SettingsError(f"{path} {error}.", source=str(path)) from error
    top = _Table(values, f"{path}", "the layout")
    top.check("title", "reads", "extensions", "conventions", "extra", "keys", "frames", "positions", "geometry", "mask", "filter")
    frames, positions, mask = top.table("frames"), top.table("positions"), top.table("mask")
    if frames is None:
        raise top.wrong('has no [frames]; it must say where the frames are: path = "..."')
    return Layout(
        path, top.text("title") or path.stem, _frames(frames), None if positions is None else _positions(positions),
        _geometry(top.table("geometry")), None if mask is None else _mask(mask),
        tuple(_bounds(one) for one in top.tables("filter")), _words_of(top.table("geometry")),
        top.texts("keys"), top.text("reads"), top.texts("extensions"),
        top.texts("conventions"), top.text("extra"),
    )  # fmt: skip


class _Table:
    """A table of a layout; every complaint names the file and the key."""

    def __init__(self, values: Mapping[str, Any], path: str, name: str) -> None:
        self.values, self.path, self.name = values, path, name

    def wrong(self, said: str) -> SettingsError:
        return SettingsError(f"{self.path}: {self.name} {said}.", source=self.path)

    def check(self, *known: str) -> None:
        for key in self.values:
            if key not in known:
                hint = did_you_mean(key, known)
                raise SettingsError(
                    f"{self.path}: {self.name} has the key '{key:.60}', which is not known.{hint}",
                    source=self.path, remedy=f"Known: {', '.join(known)}.",
                )  # fmt: skip

    def text(self, key: str, choices: Sequence[str] = ()) -> str:
        value = self.values.get(key, "")
        if not isinstance(value, str) or (choices and key in self.values and value not in choices):
            permitted = f"one of {', '.join(choices)}" if choices else "a text"
            raise self.wrong(f"has {key} = {value!r:.60}; it must be {permitted}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key, [])
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
            raise self.wrong(
                f"has {key} = {value!r:.60}; it must be a text, or a list of texts of which the first that fits counts"
            )
        return tuple(found)

    def paths(self, key: str = "path") -> tuple[str, ...]:
        if not (found := self.texts(key)):
            raise self.wrong(f"has no {key}, which must say where it is")
        return found

    def number(self, key: str) -> float | None:
        return None if key not in self.values else self.is_number(self.values[key], key)

    def is_number(self, value: object, key: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
            raise self.wrong(f"has {key} = {value!r:.60}; it must be a finite number")
        return float(value)

    def table(self, key: str) -> _Table | None:
        if key not in self.values:
            return None
        if not isinstance(value := self.values[key], dict):
            raise self.wrong(f"has {key} = {value!r:.60}; it must be a table, [{key}]")
        return _Table(value, self.path, f"[{key}]")

    def tables(self, key: str) -> list[_Table]:
        value = self.values.get(key, [])
        found = [value] if isinstance(value, dict) else value
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self.wrong(f"has {key} = {value!r:.60}; it must be a table, or several")
        name = f"[[{key}]]" if self.name == "the layout" else f"{self.name} {key}"
        return [_Table(one, self.path, name) for one in found]

    def unit(self, key: str, *known: Callable[[str], float | None]) -> str:
        unit = self.text(key)
        if unit and unit != "px" and all(one(unit) is None for one in known):
            raise self.wrong(f"has {key} = '{unit:.40}', which is no unit that is known here")
        return unit


def _frames(table: _Table) -> FramesPlace:
    table.check("path", "file", "axes", "signal", "zero", "turn", "flag")
    axes = table.texts("axes")
    if axes and (
        sorted(set(axes)) != sorted(axes) or not {"row", "column"} <= set(axes) or not set(axes) <= set(_AXES)
        or sorted(set(axes) - {"row", "column"}) not in (["frame"], ["fast", "slow"])
    ):  # fmt: skip
        raise table.wrong(f"has axes = {list(axes)}; they are 'row' and 'column', and 'frame', or 'slow' and 'fast' for a grid")
    flag = table.values.get("flag")
    if flag is not None and flag != LARGEST:
        flag = table.is_number(flag, "flag")
    return FramesPlace(
        table.paths(), table.texts("file"), axes, table.text("signal", ("counts", "amplitude")) or None, _zero(table),
        table.text("turn", tuple(ORIENTATIONS)) or "as-stated", flag,
    )  # fmt: skip


def _zero(table: _Table) -> str | tuple[float | str, float | str]:
    value = table.values.get("zero", "center")
    if isinstance(value, str) and value in _ZEROS:
        return value
    if isinstance(value, list) and len(value) == 2:
        row, column = (one if isinstance(one, str) else table.is_number(one, "zero") for one in value)
        return row, column
    raise table.wrong(f"has zero = {value!r:.60}; it must be one of {', '.join(_ZEROS)}, or [row, column], as numbers or keys")


def _positions(table: _Table) -> PositionsPlace:
    table.check("x", "y", "pairs", "order", "file", "numbers", "first", "unit", "default_unit", "sign")
    x, y, pairs = table.texts("x"), table.texts("y"), table.texts("pairs")
    if bool(pairs) == bool(x or y) or bool(x) != bool(y):
        raise table.wrong("must have x and y, or pairs")
    return PositionsPlace(
        x, y, pairs, table.text("order", ("xy", "yx")) or "xy", table.texts("file"), table.texts("numbers"), _first(table),
        table.unit("unit", length_m), table.unit("default_unit", length_m), _signs(table),
    )  # fmt: skip


def _first(table: _Table) -> dict[str, int]:
    value = table.values.get("first", 0)
    found = {name: table.is_number(one, "first") for name, one in (value if isinstance(value, dict) else {"": value}).items()}
    if any(one != math.floor(one) for one in found.values()):
        raise table.wrong(f"has first = {value!r:.60}; it must be a whole number, or one for each name of numbers")
    return {name: int(one) for name, one in found.items()}


def _signs(table: _Table) -> tuple[float, float]:
    value = table.values.get("sign", 1)
    given = value if isinstance(value, dict) else {"x": value, "y": value}
    if not set(given) <= {"x", "y"} or any(one not in (1, -1) or isinstance(one, bool) for one in given.values()):
        raise table.wrong(f"has sign = {value!r:.60}; it must be 1 or -1, or {{x = ..., y = ...}} with these")
    return float(given.get("y", 1)), float(given.get("x", 1))


_WORDS: Final = {"regime": ("far", "near"), "propagator": PROPAGATORS}
"""Words that ``[geometry]`` may state."""


def _words_of(table: _Table | None) -> dict[str, str]:
    if table is None:
        return {}
    return {name: table.text(name, choices) for name, choices in _WORDS.items() if name in table.values}


def _geometry(table: _Table | None) -> dict[str, tuple[Number, ...]]:
    if table is None:
        return {}
    table.check(*_NUMBERS, *_WORDS)
    return {_NUMBERS[word]: tuple(_number(one, word) for one in table.tables(word)) for word in table.values if word in _NUMBERS}


def _number(table: _Table, word: str) -> Number:
    table.check("path", "value", "detectors", "unit", "default_unit")
    paths, value, detectors = table.texts("path"), table.number("value"), table.table("detectors")
    if sum([bool(paths), value is not None, detectors is not None]) != 1:
        raise table.wrong("must have one of path, value and detectors")
    known = (energy_ev, length_m) if word == "energy" else (length_m,)
    units = [table.unit(key, *known) for key in ("unit", "default_unit")]
    named = {} if detectors is None else {
        name.lower(): detectors.is_number(one, name) for name, one in detectors.values.items()
    }  # fmt: skip
    return Number(paths, value, named, *units)


def _mask(table: _Table) -> MaskPlace:
    table.check("path", "good")
    if not (good := table.text("good", ("zero", "nonzero"))):
        raise table.wrong('must say good = "zero" or "nonzero": which value a good pixel has')
    return MaskPlace(table.paths(), good == "zero")


def _bounds(table: _Table) -> Bounds:
    table.check("path", "minimum", "maximum", "optional")
    least, most = table.number("minimum"), table.number("maximum")
    if least is None and most is None:
        raise table.wrong("must have minimum, maximum or both")
    if not isinstance(optional := table.values.get("optional", False), bool):
        raise table.wrong(f"has optional = {optional!r:.60}; it must be true or false")
    return Bounds(table.paths(), -math.inf if least is None else least, math.inf if most is None else most, optional)
