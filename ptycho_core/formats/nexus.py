"""NeXus files that state the definition NXptycho or NXcxi_ptycho, or hold what these ask for by its classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.hdf5_masks import cxi_good, good_pixels, zero_is_good
from ptycho_core.formats.hdf5_positions import moves, on_grid, summed, vectors
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Stated, Strength
from ptycho_core.formats.nexus_groups import beam_center, beam_energy, class_of, entries, entry_with, part, parts, signal_of
from ptycho_core.formats.plausible import detector_distance, pixel_pitch

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.contents import Contents
    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source
    from ptycho_core.scan.scan import Steps

__all__ = ["NexusPtycho"]

_DEFINITIONS: Final = ("NXptycho", "NXcxi_ptycho")


class NexusPtycho(ScanFormat):
    """Reads NXptycho and NXcxi_ptycho."""

    name = "nexus"
    title = "NeXus NXptycho"
    extensions = (".nxs", ".h5", ".hdf")
    reads = (
        "NeXus files whose entry has the definition NXptycho or NXcxi_ptycho, or frames and positions under the classes that "
        "these ask for; frames may lie in files of the same folder."
    )
    recognized_by = "`definition` NXptycho or NXcxi_ptycho, else NXentry with an NXdetector and an NXsample that moves"
    written_as = "nexus"
    writes = (
        "NXcxi_ptycho, every field that its definition requires: units in SI, positions in `sample_1/transformations` and as a "
        "`translation`. What the definition requires and nothing states is NaN."
    )
    needs = ("patterns", "photon_energy_ev", "detector_distance_m", "detector_pixel_size_m")
    keeps = frozenset({"patterns", "mask", "energy", "distance"})
    conventions = (
        "Of several entries that which `default` names is read, else the first. Groups are found by their name, with or without "
        "`_1`, else by their NX_class. Of several detectors `--dataset` chooses.",
        "`detector/data` (or the `signal` of an NXdata) is (frame, row, column) for free paths and (slow, fast, row, column) for "
        "rasters: counts, with the beam at `beam_center_y`, `beam_center_x`, else in the middle.",
        "Rows are y and columns x of `sample/transformations` (a dataset is x or y by its `vector`, else by its name; several of "
        "one axis are added up), else of `data/x`, `data/y`, else of a `translation` (frame, 3).",
        "Units are those of the `units` attributes; one that cannot be true is replaced by what makes sense, with a note.",
        "The photon energy is that of `beam`, else of `monochromator`. `source/energy` is the machine's, and is left aside.",
        "`mask` is a field of bits as in CXI; `pixel_mask` is 0 where a pixel is good.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By the definition of an entry, else by classes."""
        entry, definition = entry_with(source, _DEFINITIONS)
        if entry is not None:
            return Evidence(Strength.STATED, f"states the definition {definition} in '{entry}'")
        if not source.has() or (entry := _by_classes(source)) is None:
            return None
        return Evidence(Strength.NAMES, f"is NeXus with frames and positions in '{entry}'")

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file, notes = source.hdf5, list[str]()
        entry = entry_with(source, _DEFINITIONS)[0] or _by_classes(source)
        if entry is None:
            raise DataError(f"{file.path} has no entry with the definition {' or '.join(_DEFINITIONS)}.")
        instrument = part(file, entry, "NXinstrument", "instrument") or entry
        key, detector = _frames(source, entry, instrument, notes)
        lengths = file.shape_of(key)[:-2]
        if not lengths:
            raise DataError(f"{file.where(key)} has shape {file.shape_of(key)}; frames have three axes or more.")
        frames = file.frames(key, tuple(range(len(lengths))))
        none: tuple[None, str, tuple[str, ...]] = (None, "m", ())
        positions, unit, keys = none if source.positions else _positions(file, entry, detector, lengths)
        stated = _stated(file, entry, instrument, detector, notes)
        mask, mask_key = _mask(file, detector, frames.shape[1:], notes)
        center = beam_center(file, detector, frames.shape[1:], stated, notes)
        return RawScan(
            frames, f"'{key}'", positions, " and ".join(f"'{one}'" for one in keys), unit=unit, window="middle", signal="counts",
            zero="center" if center is None else center, stated=stated, mask=mask, mask_key=f"'{mask_key}'", notes=tuple(notes),
            used=(key, *keys, *(one.key.strip("'") for one in stated.values()), *([mask_key] if mask_key else [])),
        )  # fmt: skip

    def write(self, contents: Contents, path: Path, progress: Steps | None = None) -> tuple[str, ...]:
        """See `ScanFormat.write`."""
        from ptycho_core.formats.nexus_writing import write_nexus

        return write_nexus(contents, path, progress)


def _by_classes(source: Source) -> str | None:
    """The first entry of class NXentry that has a detector with frames and positions; None without any."""
    file = source.hdf5
    for entry in entries(file):
        if class_of(file, entry) != "NXentry" or (instrument := part(file, entry, "NXinstrument", "instrument")) is None:
            continue
        for detector in parts(file, instrument, "NXdetector", "detector"):
            key = f"{detector}/data"
            if (
                file.has(key)
                and len(shape := file.shape_of(key)) >= 3
                and _positions(file, entry, detector, shape[:-2])[0] is not None
            ):
                return entry
    return None


def _frames(source: Source, entry: str, instrument: str, notes: list[str]) -> tuple[str, str]:
    """The key of the frames, and the detector that took them."""
    file = source.hdf5
    detectors = parts(file, instrument, "NXdetector", "detector")
    found = {f"{one}/data": one for one in detectors if file.has(f"{one}/data")}
    shown = [key for group in parts(file, entry, "NXdata", "data") if (key := signal_of(file, group))]
    keys = [*found, *(key for key in shown if key not in found)]
    if not keys:
        raise DataError(f"{file.path}: the entry '{entry}' has no 'data' in a detector, nor in an NXdata.")
    named = [key for key in keys if source.dataset in (key, key.rpartition("/")[0])]
    key = (named or keys)[0]
    others = [one for one in found if one != key]
    if others and not named:
        notes.append(f"Detectors: '{key}' is read; others have data, too: {', '.join(others[:8])} (--dataset).")
    return key, found.get(key, next(iter(detectors), ""))


def _positions(
    file: Hdf5Source, entry: str, detector: str, lengths: tuple[int, ...]
) -> tuple[NDArray[np.float64] | None, str, tuple[str, ...]]:
    """(position, 2): y and x, their unit and the keys; None where there are none."""
    samples = parts(file, entry, "NXsample", "sample")
    data = parts(file, entry, "NXdata", "data")
    scanners = [one for sample in samples for one in parts(file, sample, "NXtransformations", "transformations")]
    for group in (*scanners, *samples, *data):
        if found := moves(file, group, added=group in scanners):
            unit = file.unit(found["y"][0].key, "m")
            keys = tuple(one.key for axis in "yx" for one in found[axis])
            rows, columns = on_grid(summed(file, found["y"], unit), summed(file, found["x"], unit), lengths)
            if len(rows) != len(columns):
                raise DataError(
                    f"{file.path}: {keys[0]} has {len(rows)} values and {keys[-1]} {len(columns)}; each is one a frame."
                )
            return np.stack([rows, columns], axis=1), unit, keys
    geometries = [f"{sample}/{name}" for sample in samples for name in ("geometry_1", "geometry")]
    for group in (detector, *geometries, *samples, *data):
        moved = f"{group}/translation"
        if group and file.has(moved):
            values = vectors(file, moved, int(np.prod(lengths, dtype=np.int64)))
            return values[:, 1::-1], file.unit(moved, "m"), (moved,)
    return None, "m", ()


def _stated(file: Hdf5Source, entry: str, instrument: str, detector: str, notes: list[str]) -> dict[str, Stated]:
    places = (instrument, *parts(file, entry, "NXsample", "sample"))
    beams = [one for group in places for one in parts(file, group, "NXbeam", "beam")]
    crystals = parts(file, instrument, "NXmonochromator", "monochromator")
    known = {"photon_energy_ev": beam_energy(file, beams, "A", notes) or beam_energy(file, crystals, "A", notes)}
    if detector:
        distance = file.first(f"{detector}/distance", f"{detector}/detector_distance")
        known["detector_distance_m"] = None if distance is None else detector_distance(file, distance, "m", notes)
    found = {name: one for name, one in known.items() if one is not None}
    return found | pixel_pitch(file, detector, "m", notes) if detector else found


def _mask(file: Hdf5Source, detector: str, shape: tuple[int, int], notes: list[str]) -> tuple[NDArray[np.bool_] | None, str]:
    key = file.first(*(f"{detector}/{name}" for name in ("pixel_mask", "mask"))) if detector else None
    if key is None:
        return None, ""
    return good_pixels(file, key, shape, zero_is_good if key.endswith("pixel_mask") else cxi_good, notes), key
