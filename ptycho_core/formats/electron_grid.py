"""Scans of electrons on a regular grid (4D-STEM): which axes count frames, what a step is, what a pixel of the detector is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.guard import check_declared
from ptycho_core.formats.interface import FREQUENCY_STEP, RawScan, Stated
from ptycho_core.units import length_m, unit_word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source

__all__ = [
    "UNCALIBRATED", "Axis", "Pixel", "axis", "chosen_cube", "detector", "electron_energy", "grid", "groups", "pixel_axes",
    "scan_of_cube",
]  # fmt: skip

UNCALIBRATED: Final = "scan steps"
"""The unit of positions whose step no file states."""

_MOST_GROUPS: Final = 4096
_DEEPEST: Final = 12
_ANGLES: Final = {"mrad": 1e-3, "rad": 1.0, "urad": 1e-6, "deg": np.pi / 180}
_KILO: Final = 2000.0
"""A voltage or an energy below it is in thousands: microscopes have 20 to 1000 kV."""


class Pixel(NamedTuple):
    """What a pixel of the detector covers: 1/m of spatial frequency, or radians."""

    value: float
    angle: bool


@dataclass(frozen=True)
class Axis:
    """An axis of a datacube: where its points are, in a unit, which is empty where nothing says it."""

    name: str
    unit: str
    values: NDArray[np.float64]

    @property
    def step(self) -> float:
        """Distance of its points."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float((self.values[-1] - self.values[0]) / (len(self.values) - 1)) if len(self.values) > 1 else 0.0

    @property
    def pixel(self) -> Pixel | None:
        """What a step is on the detector; None where the unit is none of a detector."""
        found = _per_unit(self.unit)
        return None if found is None else Pixel(abs(self.step) * found.value, found.angle)


def axis(file: Hdf5Source, key: str, length: int) -> Axis:
    """The axis that a dataset describes: all its points, or the first two of evenly spaced ones; units of attributes."""
    check_declared(file.where(key), (length,), 8, None)
    name, unit = file.text(key, "name") if file.has(key) else "", file.text(key, "units") if file.has(key) else ""
    values = _numbers(file, key)
    if values is not None and len(values) == length:
        return Axis(name, _bare(unit), values)
    if values is not None and len(values) == 2 and length > 2:
        with np.errstate(over="ignore", invalid="ignore"):
            return Axis(name, _bare(unit), values[0] + (values[1] - values[0]) * np.arange(length))
    return Axis(name, "" if values is None or len(values) != length else _bare(unit), np.arange(length, dtype=np.float64))


def _numbers(file: Hdf5Source, key: str) -> NDArray[np.float64] | None:
    try:
        values = file.floats(key, [0, 1, 2]).reshape(-1)
    except DataError:  # words, or nothing: an axis without points is one without calibration
        return None
    return values if np.isfinite(values).all() else None


def _bare(unit: str) -> str:
    """A unit without the brackets and ``_`` between letters that HyperSpy's writer puts around and in it."""
    text = unit.removeprefix("b'").removesuffix("'")
    return re.sub(r"[\[\]{}$\s_]", "", text)


def _per_unit(unit: str) -> Pixel | None:
    """One of a unit of spatial frequency, such as ``A^-1``, ``1/nm``, or of angle."""
    bare = _bare(unit)
    if (scale := _ANGLES.get(bare.lower())) is not None:
        return Pixel(scale, True)
    if not (found := re.fullmatch(r"1/\(?(.+?)\)?|(.+?)(?:\^|\*\*)?(?:-1|\(-1\)|⁻¹)", bare)):
        return None
    metres = length_m(unit_word(found.group(1) or found.group(2)))
    return None if metres is None else Pixel(1 / metres, False)


def pixel_axes(axes: Sequence[Axis]) -> tuple[int, int] | None:
    """The two axes of four that are those of the detector, by their units, else their names; None where nothing says it."""
    for test in (_is_reciprocal, _is_named_so):
        found = [place for place, one in enumerate(axes) if test(one)]
        if len(found) == 2:
            return found[0], found[1]
    return None


def _is_reciprocal(one: Axis) -> bool:
    return _per_unit(one.unit) is not None


def _is_named_so(one: Axis) -> bool:
    return one.name.lower()[:1] in ("k", "q") or one.name.lower().startswith(("diff", "det"))


def grid(rows: Axis, columns: Axis, notes: list[str]) -> tuple[NDArray[np.float64], str]:
    """(frame, 2), positions (row, column) of the points of a grid, the columns fastest, and their unit."""
    check_declared("The grid of the scan", (len(rows.values), len(columns.values), 2), 8, None)
    units = [unit_word(one.unit) if length_m(one.unit) is not None else "" for one in (rows, columns)]
    values = [one.values for one in (rows, columns)]
    if len(rows.values) == 1 or len(columns.values) == 1:
        units = [unit or units[1 - place] for place, unit in enumerate(units)]
    unit = units[0]
    if "" in units or any(not np.any(np.diff(one)) for one in values if len(one) > 1):
        unit, values = UNCALIBRATED, [np.arange(len(one), dtype=np.float64) for one in values]
        notes.append("Positions: the file states no step of the scan in a unit of length; --position-unit says what one step is.")
    elif units[0] != units[1]:
        values[1] = values[1] * ((length_m(units[1]) or 1.0) / (length_m(units[0]) or 1.0))
    found = np.stack([np.repeat(values[0], len(values[1])), np.tile(values[1], len(values[0]))], axis=1)
    return found, unit


def detector(
    pixels: Sequence[tuple[Pixel | None, str]], energy: Stated | None, camera: Stated | None, notes: list[str]
) -> dict[str, Stated]:
    """What is stated of the geometry.

    Args:
        pixels: of the rows and the columns of a frame, with their keys.
        energy: of the electrons, eV.
        camera: camera length, m.
        notes: what is decided is added.
    """
    found = {} if energy is None else {"photon_energy_ev": energy}
    known = [(one, key) for one, key in pixels if one is not None and one.value > 0]
    if not known:
        notes.append("Geometry: the file states no pixel of the detector in 1/length or in an angle.")
        return found
    (pixel, key), (other, other_key) = known[0], known[-1]
    if other.angle != pixel.angle or abs(other.value / pixel.value - 1) > 1e-2:
        notes.append(f"Geometry: {key} and {other_key} state pixels of {pixel.value:g} and {other.value:g}; the first counts.")
    if energy is None and not pixel.angle:
        return {FREQUENCY_STEP: Stated(pixel.value, key)}
    if camera is None or camera.value <= 0:
        camera = Stated(1.0, "a distance that stands for the camera length")
        notes.append("Distance: 1 m stands for the camera length, which the file does not state; only angles count.")
    found["detector_distance_m"] = camera
    if pixel.angle:
        found["detector_pixel_size_m"] = Stated(pixel.value * camera.value, key)
    else:
        found[FREQUENCY_STEP] = Stated(pixel.value, key)
    return found


def scan_of_cube(
    file: Hdf5Source, key: str, axes: Sequence[Axis], keys: Sequence[str], order: tuple[int, int, int, int],
    energy: Stated | None, camera: Stated | None, notes: list[str],
) -> RawScan:  # fmt: skip
    """The scan of a datacube whose axes are known.

    Args:
        file: holds it.
        key: of the array, (four axes), counts.
        axes: of the array.
        keys: where each of them is described.
        order: which axes are the rows and columns of the scan, and the rows and columns of the detector.
        energy: of the electrons, eV; None where nothing states it.
        camera: the camera length, metres; None where nothing states it.
        notes: what was decided, to which more is added.
    """
    rows, columns, down, across = order
    positions, unit = grid(axes[rows], axes[columns], notes)
    stated = detector([(axes[place].pixel, f"'{keys[place]}'") for place in (down, across)], energy, camera, notes)
    return RawScan(
        file.frames(key, (rows, columns), (down, across)), f"'{key}'", positions, f"'{keys[rows]}' and '{keys[columns]}'",
        unit=unit, signal="counts", stated=stated, electrons=True, notes=tuple(notes), used=(key, *(keys[one] for one in order)),
    )  # fmt: skip


def electron_energy(values: Sequence[tuple[float | None, str]], notes: list[str]) -> Stated | None:
    """The energy of the electrons in eV, of the first value that is positive: V or eV, or thousands of them."""
    for value, key in values:
        if value is None or not 0 < value < float("inf"):
            continue
        if value < _KILO:
            notes.append(f"Energy: {key} is {value:g}, which is taken for keV.")
        return Stated(value * 1e3 if value < _KILO else value, key)
    return None


def groups(file: Hdf5Source, top: str = "") -> list[str]:
    """The groups of a file, from the top, the nearest first; at most so many and so deep."""
    waiting, found = [top.strip("/")], list[str]()
    while waiting and len(found) < _MOST_GROUPS:
        group = waiting.pop(0)
        try:
            names = file.names(group or "/")
        except DataError:
            continue
        found.append(group)
        if group.count("/") < _DEEPEST:
            waiting += [f"{group}/{name}".strip("/") for name in names[:_MOST_GROUPS]]
    return found


def chosen_cube(source: Source, cubes: Sequence[str], shape: Callable[[str], tuple[int, ...]]) -> str:
    """The one datacube of a file.

    Raises:
        DataError: there are none, or several of which the user names none; each is named with its shape.
    """
    if not cubes:
        raise DataError(f"{source.path} holds no datacube: no array of real numbers with four axes.")
    named = [key for key in cubes if source.dataset in (key, key.rpartition("/")[0])]
    if len(cubes) == 1 or named:
        return (named or cubes)[0]
    listed = ", ".join(f"'{key}' {shape(key)}" for key in cubes[:8])
    none = f", and none at '{source.dataset:.80}'" if source.dataset else ""
    raise DataError(f"{source.path} holds {len(cubes)} datacubes{none}: {listed}.", remedy="Choose one with --dataset KEY.")
