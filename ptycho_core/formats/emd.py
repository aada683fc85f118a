"""Scans of electrons in EMD 0.2 (NCEM), as HyperSpy (RosettaSciIO) and older py4DSTEM write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ptycho_core.formats.electron_grid import axis, chosen_cube, electron_energy, groups, pixel_axes, scan_of_cube
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Strength

if TYPE_CHECKING:
    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source

__all__ = ["Emd"]

_DATA: Final = ("data", "datacube")
_ENERGIES: Final = ("voltage", "accelerating_voltage", "beam_energy", "energy", "high_tension")


class Emd(ScanFormat):
    """Reads EMD of version 0."""

    name = "emd"
    title = "EMD 0.2 (NCEM)"
    extensions = (".emd", ".h5")
    reads = "Scans of electrons in EMD 0.2: an array of four axes, `data`, in a group of `emd_group_type` 1."
    recognized_by = "`version_major` 0 and a group of `emd_group_type` 1 with four axes"
    conventions = (
        "`dim1` to `dim4` state the axes. Those in 1/length or in an angle, else those whose names begin with k or q, are those "
        "of the detector.",
        "Where those come first, all axes lie in reverse order, as HyperSpy writes them: (columns, rows, scan columns, scan "
        "rows). Else they are (scan rows, scan columns, rows, columns).",
        "Units may be written as `[1_/_Å]`. A step of the detector in 1/length gives the object's pixel, one in mrad does so "
        "with the energy.",
        "The energy is that of electrons, with the relativistic wavelength; a voltage of the group `microscope` states it, else "
        "`--photon-energy-ev`.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By its version and a group that states its type."""
        if not source.has() or _version(source.hdf5) != "0":
            return None
        cubes = _cubes(source.hdf5)
        return Evidence(Strength.STATED, f"has an EMD group with four axes, '{cubes[0]}'") if cubes else None

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file, notes = source.hdf5, list[str]()
        key = chosen_cube(source, _cubes(file), file.shape_of)
        group, shape = key.rpartition("/")[0], file.shape_of(key)
        names = [f"{group}/dim{place + (0 if file.has(f'{group}/dim0') else 1)}" for place in range(len(shape))]
        axes = [axis(file, name, length) for name, length in zip(names, shape, strict=True)]
        pixels = pixel_axes(axes)
        reverse = pixels == (0, 1) or (pixels is None and file.has("signals"))
        if pixels is None:
            taken = "in reverse order, as HyperSpy writes them" if reverse else "in order"
            notes.append(f"Axes: dim1 to dim4 do not say which are the detector's; they are taken {taken}.")
        order = (3, 2, 1, 0) if reverse else (0, 1, 2, 3)
        return scan_of_cube(file, key, axes, names, order, electron_energy(_voltages(file), notes), None, notes)


def _version(file: Hdf5Source) -> str:
    """The version that the file states, or else the first of its groups, as older py4DSTEM has it."""
    tops = ["/", *file.names("/")[:16]]
    return next((found for top in tops if (found := file.text(top, "version_major").strip())), "")


def _cubes(file: Hdf5Source) -> list[str]:
    """Keys of the datacubes."""
    found = []
    for group in groups(file):
        if str(file.attribute(group or "/", "emd_group_type")) not in ("1", "array"):
            continue
        found += [key for name in _DATA if (key := f"{group}/{name}").strip("/") and _is_cube(file, key)]
    return found


def _is_cube(file: Hdf5Source, key: str) -> bool:
    return file.has(key) and file.is_numbers(key) and len(file.shape_of(key)) == 4


def _voltages(file: Hdf5Source) -> list[tuple[float | None, str]]:
    """What the attributes of the group ``microscope`` state."""
    if not file.has("microscope"):
        return []
    found = list[tuple[float | None, str]]()
    for name in _ENERGIES:
        value = np.asarray(file.attribute("microscope", name))
        if value.dtype.kind in "iuf" and value.size == 1:
            found.append((float(value.reshape(())), f"'microscope@{name}'"))
    return found
