"""Frames of DECTRIS detectors: a master file (NXmx) with its data files. Positions lie in a file apart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Stated, Strength
from ptycho_core.formats.nexus import entry_with
from ptycho_core.formats.plausible import detector_distance, photon_energy_of, square_pixel
from ptycho_core.physics.geometry import photon_energy
from ptycho_core.scan.frames import JoinedFrames

if TYPE_CHECKING:
    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source
    from ptycho_core.scan.frames import Frames

__all__ = ["Dectris"]

_PIECE: Final = re.compile(r"data_([0-9]+)")


class Dectris(ScanFormat):
    """Reads NXmx masters and DECTRIS data files."""

    name = "dectris"
    title = "DECTRIS master (NXmx)"
    extensions = ("_master.h5", ".nxs")
    reads = (
        "Masters of EIGER and PILATUS detectors with the data files of the same folder, and data files alone. Positions are "
        "given with `--positions`, or lie in a table `NAME_positions.csv` for `NAME_master.h5`."
    )
    recognized_by = "`definition` NXmx, or `detectorSpecific`"
    conventions = (
        "Data files `data_000001`, `data_000002`, … are joined by their number; frames are counts.",
        "The detector is cut to the largest square around `beam_center_y`, `beam_center_x` (`--beam-center`, `--size`); "
        "without them around its middle.",
        "`pixel_mask` is 0 where a pixel is good; pixels that hold the largest value of their type are masked, too.",
        "Energy is that of `incident_wavelength` (angstrom) or `photon_energy` (eV); a distance of 0 is left aside.",
        "Compressed frames (bitshuffle, LZ4) need `hdf5plugin`: `python -m pip install 'ptycho-core[eiger]'`.",
    )
    extra = "eiger"

    def recognize(self, source: Source) -> Evidence | None:
        """By the definition NXmx, else by the groups of the detector."""
        entry, definition = entry_with(source, ("NXmx",))
        if entry is not None:
            return Evidence(Strength.STATED, f"states the definition {definition} in '{entry}'")
        if source.has("entry/instrument/detector/detectorSpecific"):
            return Evidence(Strength.LAYOUT, "has entry/instrument/detector/detectorSpecific")
        if source.has("entry/data/data") and source.hdf5.attribute("entry/data/data", "image_nr_low") is not None:
            return Evidence(Strength.LAYOUT, "has entry/data/data with image_nr_low")
        return Evidence(Strength.NAMES, "has entry/data/data_000001") if source.has("entry/data/data_000001") else None

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file, notes = source.hdf5, list[str]()
        entry = entry_with(source, ("NXmx",))[0] or "entry"
        frames, keys = _frames(source, f"{entry}/data", notes)
        detector = f"{entry}/instrument/detector"
        stated = _stated(file, entry, detector, notes)
        mask = file.first(f"{detector}/detectorSpecific/pixel_mask", f"{detector}/pixel_mask")
        center = _center(file, detector, frames.shape[1:], notes)
        largest = np.iinfo(frames.dtype).max if frames.dtype.kind in "iu" and frames.dtype.itemsize > 1 else None
        used = [*keys, *(one.key.strip("'") for one in stated.values()), *([] if mask is None else [mask])]
        return RawScan(
            frames, f"'{keys[0]}'", None, signal="counts", zero="center" if center is None else center, stated=stated,
            mask=None if mask is None else file.array(mask, [2]) == 0, mask_key=f"'{mask}'", flag=largest, notes=tuple(notes),
            used=tuple(used),
        )  # fmt: skip


def _frames(source: Source, group: str, notes: list[str]) -> tuple[Frames, list[str]]:
    """The frames of all data files, by their number."""
    file = source.hdf5
    if file.has(f"{group}/data"):
        return file.frames(f"{group}/data"), [f"{group}/data"]
    pieces = sorted(
        (int(part[1]), name) for name in (file.names(group) if file.has(group) else []) if (part := _PIECE.fullmatch(name))
    )
    if not pieces:
        raise DataError(f"{file.path} has no frames: neither '{group}/data' nor '{group}/data_000001'.")
    keys = [f"{group}/{name}" for _, name in pieces]
    found = [_piece(source, key, number, notes) for key, (number, _) in zip(keys, pieces, strict=True)]
    shapes = {piece.shape[1:] for piece in found}
    if len(shapes) > 1:
        raise DataError(f"{file.path}: the data files hold frames of different shapes, {sorted(shapes)}.")
    return (found[0] if len(found) == 1 else JoinedFrames(found)), keys


def _piece(source: Source, key: str, number: int, notes: list[str]) -> Frames:
    """The frames of one data file; where the link names an absent file, of the one that is named after the master."""
    file = source.hdf5
    try:
        return file.frames(key)
    except DataError as error:
        stem = source.path.stem.removesuffix("_master")
        other = source.beside(f"{stem}_data_{number:06d}.h5")
        if other is None or "does not exist" not in error.message:
            raise
        notes.append(f"Frames: '{key}' leads to an absent file; {other.name} is read for it.")
        inside = source.companion(other)
        return inside.frames(inside.first("entry/data/data", "entry/data", "data") or "entry/data/data")


def _center(file: Hdf5Source, detector: str, shape: tuple[int, ...], notes: list[str]) -> tuple[float, float] | None:
    """The pixel (row, column) of the beam; None where it is not stated, is 0, or lies outside."""
    row, column = (file.one(f"{detector}/beam_center_{axis}") for axis in "yx")
    if row is None or column is None or (row == 0 and column == 0):
        return None
    if not (0 <= row < shape[0] and 0 <= column < shape[1]):
        notes.append(f"Beam: row {row:g}, column {column:g} is outside the frames, and is left aside (--beam-center).")
        return None
    return row, column


def _stated(file: Hdf5Source, entry: str, detector: str, notes: list[str]) -> dict[str, Stated]:
    beam = f"{entry}/instrument/beam"
    wavelength = next(
        (
            one
            for key in (f"{beam}/incident_wavelength", f"{entry}/sample/beam/incident_wavelength")
            if (one := file.length(key, "A"))
        ),
        None,
    )
    energy = photon_energy_of(file, f"{detector}/detectorSpecific/photon_energy", "eV", notes)
    if wavelength is not None and wavelength.value > 0:
        energy = Stated(photon_energy(wavelength.value), f"'{wavelength.key}'")
    distance = file.first(f"{detector}/detector_distance", f"{detector}/distance")
    known = {
        "photon_energy_ev": energy,
        "detector_distance_m": None if distance is None else detector_distance(file, distance, "m", notes),
        "detector_pixel_size_m": square_pixel(file, f"{detector}/y_pixel_size", f"{detector}/x_pixel_size", "m", notes),
    }
    return {name: one for name, one in known.items() if one is not None}
