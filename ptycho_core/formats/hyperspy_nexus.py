"""Scans of electrons in NeXus as HyperSpy (RosettaSciIO) writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.formats.electron_grid import Axis, axis, chosen_cube, electron_energy, groups, pixel_axes, scan_of_cube
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Stated, Strength

if TYPE_CHECKING:
    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source

__all__ = ["HyperspyNexus"]

_WRITER: Final = "hyperspy_nexus"
_INSTRUMENTS: Final = ("TEM", "SEM")


class HyperspyNexus(ScanFormat):
    """Reads NeXus of HyperSpy."""

    name = "hyperspy_nexus"
    title = "NeXus of HyperSpy"
    extensions = (".nxs",)
    reads = "Scans of electrons that HyperSpy (RosettaSciIO) saves as NeXus."
    recognized_by = "`file_writer` hyperspy_nexus and an NXdata with four axes"
    conventions = (
        "The array that `signal` names is (scan rows, scan columns, rows, columns), counts; `axes` names its axes.",
        "Axes in 1/length or in an angle, else those whose names begin with k or q, are those of the detector, wherever they "
        "lie.",
        "A step of the detector in 1/length gives the object's pixel, one in mrad does so with the energy.",
        "`beam_energy` (keV) and `camera_length` (mm) of `hyperspy_metadata` are those of electrons, with the relativistic "
        "wavelength.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By the program that wrote the file, and data with four axes."""
        if not source.has() or not source.hdf5.text("/", "file_writer").startswith(_WRITER):
            return None
        cubes = _cubes(source.hdf5)
        return Evidence(Strength.STATED, f"is of HyperSpy, with four axes in '{cubes[0]}'") if cubes else None

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file, notes = source.hdf5, list[str]()
        key = chosen_cube(source, _cubes(file), file.shape_of)
        group, shape = key.rpartition("/")[0], file.shape_of(key)
        names = _texts(file.attribute(group, "axes"))
        names += [""] * (len(shape) - len(names))
        axes = [
            _named(axis(file, f"{group}/{name}", length) if name.strip(".") else None, name, length)
            for name, length in zip(names, shape, strict=False)
        ]
        if (pixels := pixel_axes(axes)) is None:
            pixels = (2, 3)
            notes.append("Axes: they do not say which are the detector's; the last two are taken.")
        rows, columns = (place for place in range(len(shape)) if place not in pixels)
        entry = group.partition("/")[0]
        return scan_of_cube(
            file, key, axes, [f"{group}/{name}" for name in names], (rows, columns, *pixels),
            electron_energy([_instrument(file, entry, "beam_energy")], notes), _camera(file, entry), notes,
        )  # fmt: skip


def _named(found: Axis | None, name: str, length: int) -> Axis:
    return Axis(name, "", np.arange(length, dtype=np.float64)) if found is None else Axis(name, found.unit, found.values)


def _texts(value: Any) -> list[str]:  # noqa: ANN401 - whatever the attribute holds
    if value is None:
        return []
    return [one.decode(errors="replace") if isinstance(one, bytes) else str(one) for one in np.asarray(value).reshape(-1)]


def _cubes(file: Hdf5Source) -> list[str]:
    """Keys of the arrays with four axes of the groups NXdata."""
    found = []
    for group in groups(file):
        if _texts(file.attribute(group or "/", "NX_class")) != ["NXdata"]:
            continue
        signal = next(iter(_texts(file.attribute(group, "signal"))), "data")
        key = f"{group}/{signal}"
        if file.is_numbers(key) and len(file.shape_of(key)) == 4:
            found.append(key)
    return found


def _instrument(file: Hdf5Source, entry: str, name: str) -> tuple[float | None, str]:
    """A number of the microscope, and its key."""
    for part in _INSTRUMENTS:
        key = f"{entry}/auxiliary/hyperspy_metadata/Acquisition_instrument/{part}/{name}"
        if file.has(key) and file.is_numbers(key):
            return file.one(key), f"'{key}'"
    return None, ""


def _camera(file: Hdf5Source, entry: str) -> Stated | None:
    value, key = _instrument(file, entry, "camera_length")
    return None if value is None else Stated(value * 1e-3, key)
