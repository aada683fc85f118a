"""NeXus files that state the definition NXptycho or NXcxi_ptycho."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.cxi import good_bits
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Stated, Strength
from ptycho_core.formats.plausible import detector_distance, photon_energy_of, square_pixel
from ptycho_core.physics.geometry import photon_energy

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.contents import Contents
    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source
    from ptycho_core.scan.frames import Frames
    from ptycho_core.scan.scan import Steps

__all__ = ["NexusPtycho", "entry_with", "part"]

_DEFINITIONS: Final = ("NXptycho", "NXcxi_ptycho")
_ENERGIES: Final = ("incident_beam_energy", "incident_energy", "energy", "photon_energy")
_WAVELENGTHS: Final = ("incident_wavelength", "wavelength")
_MOST: Final = 256
"""Members of a group that are looked at."""


class NexusPtycho(ScanFormat):
    """Reads NXptycho and NXcxi_ptycho."""

    name = "nexus"
    title = "NeXus NXptycho"
    extensions = (".nxs", ".h5", ".hdf")
    reads = "NeXus files whose entry has the definition NXptycho or NXcxi_ptycho; frames may lie in files of the same folder."
    recognized_by = "`definition` NXptycho or NXcxi_ptycho"
    written_as = "nexus"
    writes = (
        "NXcxi_ptycho, every field that its definition requires: units in SI, positions in `sample_1/transformations` and as a "
        "`translation`. What the definition requires and nothing states is NaN."
    )
    needs = ("patterns", "photon_energy_ev", "detector_distance_m", "detector_pixel_size_m")
    keeps = frozenset({"patterns", "mask", "energy", "distance"})
    conventions = (
        "Groups are found by their NX_class, else by their name, with or without `_1`.",
        "`detector/data` is (frame, row, column) for free paths and (slow, fast, row, column) for rasters: counts.",
        "Rows are y and columns x of `sample/transformations` (a dataset is x or y by its `vector`, else by its name; several of "
        "one axis are added up), else of `data/x`, `data/y`, else of a `translation` (frame, 3).",
        "Units are those of the `units` attributes; one that cannot be true is replaced by what makes sense, with a note.",
        "The photon energy is that of `beam`. `source/energy` is the machine's, and is left aside.",
        "`mask` is a field of bits as in CXI; `pixel_mask` is 0 where a pixel is good.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By the definition of an entry."""
        entry, definition = entry_with(source, _DEFINITIONS)
        return None if entry is None else Evidence(Strength.STATED, f"states the definition {definition} in '{entry}'")

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file, notes = source.hdf5, list[str]()
        entry, _ = entry_with(source, _DEFINITIONS)
        if entry is None:
            raise DataError(f"{file.path} has no entry with the definition {' or '.join(_DEFINITIONS)}.")
        instrument = part(file, entry, "NXinstrument", "instrument") or entry
        detector = part(file, instrument, "NXdetector", "detector") or ""
        data = part(file, entry, "NXdata", "data") or ""
        key = file.first(*(f"{group}/data" for group in (detector, data) if group))
        if key is None:
            raise DataError(f"{file.path}: the entry '{entry}' has no 'data' in a detector, nor in an NXdata.")
        frames = _frames(file, key)
        sample = part(file, entry, "NXsample", "sample") or ""
        positions, unit, keys = _positions(file, key, sample, data, detector)
        stated = _stated(file, entry, instrument, detector, notes)
        mask, mask_key = _mask(file, detector)
        return RawScan(
            frames, f"'{key}'", positions, " and ".join(f"'{one}'" for one in keys), unit=unit, window="middle", signal="counts",
            stated=stated, mask=mask, mask_key=f"'{mask_key}'", notes=tuple(notes),
            used=(key, *keys, *(one.key.strip("'") for one in stated.values()), *([mask_key] if mask_key else [])),
        )  # fmt: skip

    def write(self, contents: Contents, path: Path, progress: Steps | None = None) -> tuple[str, ...]:
        """See `ScanFormat.write`."""
        from ptycho_core.formats.nexus_writing import write_nexus

        return write_nexus(contents, path, progress)


def entry_with(source: Source, definitions: tuple[str, ...]) -> tuple[str | None, str]:
    """The first entry of the main file that states one of some definitions, and which; None and nothing where none does."""
    try:
        file = source.hdf5
        names = file.names("/")[:_MOST]
    except DataError:
        return None, ""
    for name in names:
        if file.has(f"{name}/definition") and (stated := file.words(f"{name}/definition") or "").strip() in definitions:
            return name, stated.strip()
    return None, ""


def part(file: Hdf5Source, group: str, kind: str, name: str) -> str | None:
    """A group inside another: the first of a NeXus class, else of a name, with or without ``_1``; None where there is none."""
    for one in (f"{name}_1", name, f"{name}1"):
        if file.has(f"{group}/{one}"):
            return f"{group}/{one}"
    try:
        names = file.names(group)[:_MOST]
    except DataError:
        return None
    return next((f"{group}/{one}" for one in names if _class(file, f"{group}/{one}") == kind), None)


def _class(file: Hdf5Source, key: str) -> str:
    try:
        return file.text(key, "NX_class")
    except DataError:
        return ""


def _frames(file: Hdf5Source, key: str) -> Frames:
    dimensions = len(file.shape_of(key))
    if dimensions < 3:
        raise DataError(f"{file.where(key)} has shape {file.shape_of(key)}; frames have three axes or more.")
    return file.frames(key, tuple(range(dimensions - 2)))


def _positions(
    file: Hdf5Source, key: str, sample: str, data: str, detector: str
) -> tuple[NDArray[np.float64] | None, str, tuple[str, ...]]:
    """(position, 2): y and x, their unit and the keys; None where there are none."""
    shape = file.shape_of(key)[:-2]
    for group in (part(file, sample, "NXtransformations", "transformations") if sample else None, sample or None, data or None):
        found = {} if group is None else _moves(file, group)
        if "x" in found and "y" in found:
            return _grid(file, found, shape)
    for group in (detector, f"{sample}/geometry_1", f"{sample}/geometry", sample, data):
        moved = f"{group}/translation"
        if group and file.has(moved):
            values = file.floats(moved, [2])
            if values.shape[1] not in (2, 3):
                raise DataError(f"{file.where(moved)} has shape {values.shape}; translations are (frame, 3): x, y, z.")
            return values[:, 1::-1], file.unit(moved, "m"), (moved,)
    return None, "m", ()


def _moves(file: Hdf5Source, group: str) -> dict[str, list[tuple[str, float]]]:
    """The datasets of a group that move along x or y, each with its sign."""
    found: dict[str, list[tuple[str, float]]] = {}
    for name in file.names(group)[:_MOST]:
        key = f"{group}/{name}"
        if not file.is_numbers(key) or file.text(key, "transformation_type") == "rotation":
            continue
        axis, sign = _along(file, key, name)
        if axis and (file.size_of(key) > 1):
            found.setdefault(axis, []).append((key, sign))
    return found


def _along(file: Hdf5Source, key: str, name: str) -> tuple[str, float]:
    """Along which axis a dataset moves, and its sign, by its vector, else by its name; nothing for another axis."""
    vector = file.attribute(key, "vector")
    values = np.zeros(0) if vector is None else np.asarray(vector)
    if values.shape == (3,) and values.dtype.kind in "iuf" and np.count_nonzero(values) == 1:
        axis = int(np.flatnonzero(values)[0])
        return "xyz"[axis] if axis < 2 else "", float(np.sign(values[axis]))
    words = name.lower().replace("-", "_").split("_")
    return next((axis for axis in "xy" if axis in words), ""), 1.0


def _grid(
    file: Hdf5Source, found: dict[str, list[tuple[str, float]]], shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], str, tuple[str, ...]]:
    keys = tuple(key for axis in "yx" for key, _ in found[axis])
    units = {axis: {file.unit(key, "m") for key, _ in found[axis]} for axis in "yx"}
    if len(units["x"] | units["y"]) > 1:
        raise DataError(f"{file.path}: {', '.join(keys)} are in different units, {units}.")
    y, x = (sum(sign * np.squeeze(file.floats(key, [1, 2, 3, 4])) for key, sign in found[axis]) for axis in "yx")
    if len(shape) == 2 and np.shape(y) == shape[:1] and np.shape(x) == shape[1:] and np.shape(y) != (np.prod(shape),):
        y, x = np.meshgrid(y, x, indexing="ij")  # the axes of a raster
    rows, columns = np.asarray(y, dtype=np.float64).reshape(-1), np.asarray(x, dtype=np.float64).reshape(-1)
    if len(rows) != len(columns):
        raise DataError(f"{file.path}: {keys[0]} has {len(rows)} values and {keys[-1]} {len(columns)}; each is one a frame.")
    return np.stack([rows, columns], axis=1), (units["x"] | units["y"]).pop(), keys


def _stated(file: Hdf5Source, entry: str, instrument: str, detector: str, notes: list[str]) -> dict[str, Stated]:
    beams = [
        one for group in (instrument, f"{entry}/sample_1", f"{entry}/sample") if (one := part(file, group, "NXbeam", "beam"))
    ]
    key = file.first(*(f"{beam}/{name}" for name in _ENERGIES for beam in beams))
    energy = None if key is None else photon_energy_of(file, key, "eV", notes)
    if energy is None and (key := file.first(*(f"{beam}/{name}" for name in _WAVELENGTHS for beam in beams))):
        wavelength = file.length(key, "A")
        energy = None if wavelength is None or wavelength.value <= 0 else Stated(photon_energy(wavelength.value), f"'{key}'")
    known = {"photon_energy_ev": energy}
    if detector:
        distance = file.first(f"{detector}/distance", f"{detector}/detector_distance")
        known["detector_distance_m"] = None if distance is None else detector_distance(file, distance, "m", notes)
        known["detector_pixel_size_m"] = square_pixel(file, f"{detector}/y_pixel_size", f"{detector}/x_pixel_size", "m", notes)
    return {name: one for name, one in known.items() if one is not None}


def _mask(file: Hdf5Source, detector: str) -> tuple[NDArray[np.bool_] | None, str]:
    key = file.first(*(f"{detector}/{name}" for name in ("pixel_mask", "mask"))) if detector else None
    if key is None:
        return None, ""
    return (file.array(key, [2]) == 0 if key.endswith("pixel_mask") else good_bits(file, key)), key
