"""Datacubes of py4DSTEM: EMD 1.0, with the calibrations that py4DSTEM keeps of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.electron_grid import Axis, axis, chosen_cube, detector, electron_energy, grid, groups
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Strength

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source

__all__ = ["Py4dstem"]

_ENERGIES: Final = ("accelerating_voltage", "beam_energy", "energy", "voltage")
_AXES: Final = 4


class Py4dstem(ScanFormat):
    """Reads datacubes of py4DSTEM."""

    name = "py4dstem"
    title = "py4DSTEM"
    extensions = (".h5", ".emd")
    reads = "Datacubes that py4DSTEM 0.14 saves: EMD 1.0."
    recognized_by = "`emd_group_type` file, `version_major` 1 and an array of four axes"
    conventions = (
        "`data` is (Rx, Ry, Qx, Qy), counts; x is the row and y the column, of the scan and of the detector.",
        "`calibration` states `R_pixel_size` and `Q_pixel_size` with their units (A, nm; A^-1, mrad); without it `dim0` to "
        "`dim3` count.",
        "`QR_rotation` is in radians. The grid is turned by minus that angle about its middle, from rows to columns, and rows "
        "and columns are then swapped where `QR_flip` is True, as py4DSTEM's ptychography does with such a scan.",
        "`qx0_mean` and `qy0_mean` state the beam's pixel, where they are.",
        "The energy is that of electrons, with the relativistic wavelength; `accelerating_voltage` states it, else "
        "`--photon-energy-ev`.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By the attributes of an EMD 1.0 file and a datacube."""
        if not source.has() or source.hdf5.text("/", "emd_group_type") != "file":
            return None
        cubes = _cubes(source.hdf5)
        return Evidence(Strength.STATED, f"is EMD 1.0 with an array of four axes, '{cubes[0]}'") if cubes else None

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file, notes = source.hdf5, list[str]()
        key = chosen_cube(source, _cubes(file), file.shape_of)
        group, shape = key.rpartition("/")[0], file.shape_of(key)
        bundles = _bundles(file, group)
        axes = [axis(file, f"{group}/dim{place}", length) for place, length in enumerate(shape)]
        keys = [f"'{group}/dim{place}'" for place in range(_AXES)]
        for place, name in enumerate("RRQQ"):
            size, unit = _number(file, bundles, f"{name}_pixel_size"), _word(file, bundles, f"{name}_pixel_units")
            if size is not None and unit:
                axes[place] = Axis("", unit, np.arange(shape[place], dtype=np.float64) * size[0])
                keys[place] = size[1]
        positions, unit = grid(axes[0], axes[1], notes)
        positions = _turned(file, bundles, positions, notes)
        energy = electron_energy([one for name in _ENERGIES if (one := _number(file, bundles, name)) is not None], notes)
        stated = detector([(axes[place].pixel, keys[place]) for place in (2, 3)], energy, None, notes)
        origin = [_number(file, bundles, name) for name in ("qx0_mean", "qy0_mean")]
        return RawScan(
            file.frames(key, (0, 1), (2, 3)), f"'{key}'", positions, " and ".join(dict.fromkeys(keys[:2])), unit=unit,
            signal="counts", zero="center" if origin[0] is None or origin[1] is None else (origin[0][0], origin[1][0]),
            stated=stated, electrons=True, notes=tuple(notes), used=(key, *(one.strip("'") for one in dict.fromkeys(keys))),
        )  # fmt: skip


def _cubes(file: Hdf5Source) -> list[str]:
    """Keys of the datacubes; arrays of four axes of another class count where there is none."""
    found = dict[str, bool]()
    for group in groups(file):
        key = f"{group}/data"
        if file.text(group or "/", "emd_group_type") != "array" or not file.is_numbers(key) or len(file.shape_of(key)) != _AXES:
            continue
        found[key] = file.text(group, "python_class") == "DataCube"
    return [key for key, cube in found.items() if cube] or list(found)


def _bundles(file: Hdf5Source, group: str) -> list[str]:
    """Groups that hold calibrations and other numbers of a datacube: its own, then those of what it lies in."""
    parts, found = group.split("/"), list[str]()
    for place in range(len(parts), 0, -1):
        top = "/".join([*parts[:place], "metadatabundle"])
        if file.has(top):
            inside = groups(file, top)
            found += sorted(inside, key=lambda one: file.text(one, "python_class") != "Calibration")
    return found


def _number(file: Hdf5Source, bundles: list[str], name: str) -> tuple[float, str] | None:
    """The first number of a name; what is no number, such as ``_None``, is passed over."""
    for group in bundles:
        key = f"{group}/{name}"
        if not file.has(key) or not file.is_numbers(key):
            continue
        if (value := file.one(key)) is not None:
            return value, f"'{key}'"
    return None


def _word(file: Hdf5Source, bundles: list[str], name: str) -> str:
    return next((word for group in bundles if (word := file.words(f"{group}/{name}"))), "")


def _turned(file: Hdf5Source, bundles: list[str], positions: NDArray[np.float64], notes: list[str]) -> NDArray[np.float64]:
    """The grid as it lies on the detector."""
    angle, key = _angle(file, bundles, notes)
    if angle:
        middle = positions.mean(axis=0)
        cosine, sine = np.cos(angle), np.sin(angle)
        positions = (positions - middle) @ np.array([[cosine, -sine], [sine, cosine]]) + middle
        notes.append(f"Positions: turned by {np.degrees(-angle):.6g} degrees, from rows to columns, as {key} states.")
    if _flipped(file, bundles):
        positions = positions[:, ::-1]
        notes.append("Positions: rows and columns are swapped, as 'QR_flip' states.")
    return np.ascontiguousarray(positions)


def _angle(file: Hdf5Source, bundles: list[str], notes: list[str]) -> tuple[float, str]:
    """Rotation of the detector against the scan in radians, and where it is stated."""
    degrees, radians = _number(file, bundles, "QR_rotation_degrees"), _number(file, bundles, "QR_rotation")
    if radians is None:
        return (0.0, "") if degrees is None else (float(np.radians(degrees[0])), degrees[1])
    if abs(radians[0]) > 2 * np.pi:
        notes.append(f"Rotation: {radians[1]} is {radians[0]:g}, which can only be degrees.")
        return float(np.radians(radians[0])), radians[1]
    return radians


def _flipped(file: Hdf5Source, bundles: list[str]) -> bool:
    for group in bundles:
        key = f"{group}/QR_flip"
        if file.has(key):
            try:
                return bool(file.floats(key, [0, 1]).reshape(-1)[:1].any())
            except DataError:  # '_None', where nothing was found
                return False
    return False
