"""Frames of DECTRIS detectors: a master file (NXmx) with its data files. Positions lie in a file apart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ptycho_core.errors import DataError
from ptycho_core.formats.checks import detector_flags
from ptycho_core.formats.hdf5_masks import good_pixels, zero_is_good
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Stated, Strength
from ptycho_core.formats.nexus_groups import beam_center, beam_energy, entry_with, part, parts
from ptycho_core.formats.plausible import detector_distance, photon_energy_of, pixel_pitch
from ptycho_core.scan.frames import JoinedFrames

if TYPE_CHECKING:
    from pathlib import Path

    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source
    from ptycho_core.scan.frames import Frames

__all__ = ["Dectris"]

_PIECE: Final = re.compile(r"data_([0-9]+)")
_ALONE: Final = re.compile(r"(.+)_data_[0-9]+")


class Dectris(ScanFormat):
    """Reads NXmx masters and DECTRIS data files."""

    name = "dectris"
    title = "DECTRIS master (NXmx)"
    extensions = ("_master.h5", ".nxs")
    reads = (
        "Masters of EIGER and PILATUS detectors with the data files of the same folder, and data files alone. Positions are "
        "given with `--positions`, or lie in a table `NAME_positions.csv` for `NAME_master.h5`."
    )
    recognized_by = "`definition` NXmx, or `detectorSpecific`; a data file alone by `entry/data/data`"
    conventions = (
        "Data files `data_000001`, `data_000002`, … are joined by their number; frames are counts. A data file alone has no "
        "geometry, mask or beam: give the master, or state them.",
        "The detector is cut to the largest square around `beam_center_y`, `beam_center_x` (`--beam-center`, `--size`); "
        "without them around its middle.",
        "`pixel_mask` is 0 where a pixel is good; pixels that hold the largest value of their type, 65535 in 32 bits, or −1 or "
        "−2, in the first frame are masked, too.",
        "Energy is that of `incident_wavelength` (angstrom) or `photon_energy` (eV); a distance of 0 is left aside.",
        "Compressed frames (bitshuffle, LZ4) need `hdf5plugin`: `python -m pip install 'ptycho-core[eiger]'`.",
    )
    extra = "eiger"

    def recognize(self, source: Source) -> Evidence | None:
        """By the definition NXmx, else by the groups of the detector, else as a data file."""
        entry, definition = entry_with(source, ("NXmx",))
        if entry is not None:
            return Evidence(Strength.STATED, f"states the definition {definition} in '{entry}'")
        if source.has("entry/instrument/detector/detectorSpecific"):
            return Evidence(Strength.LAYOUT, "has entry/instrument/detector/detectorSpecific")
        if source.has("entry/data/data") and source.hdf5.attribute("entry/data/data", "image_nr_low") is not None:
            return Evidence(Strength.LAYOUT, "has entry/data/data with image_nr_low")
        if source.has("entry/data/data_000001"):
            return Evidence(Strength.NAMES, "has entry/data/data_000001")
        return Evidence(Strength.NAMES, "holds nothing but entry/data/data") if _is_data_file(source) else None

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file, notes = source.hdf5, list[str]()
        if (master := _master_of(source)) is not None:
            raise DataError(
                f"{source.path} is one data file of a DECTRIS detector, and no whole scan; {master.name} joins its data files.",
                remedy=f"Give {master}.",
            )
        entry = entry_with(source, ("NXmx",))[0] or "entry"
        instrument = part(file, entry, "NXinstrument", "instrument") or f"{entry}/instrument"
        detectors = parts(file, instrument, "NXdetector", "detector") or [f"{instrument}/detector"]
        detector = detectors[0]
        frames, keys = _frames(source, (f"{entry}/data", *detectors), notes)
        stated = _stated(file, entry, instrument, detector, notes)
        mask = file.first(f"{detector}/detectorSpecific/pixel_mask", f"{detector}/pixel_mask")
        center = beam_center(file, detector, frames.shape[1:], stated, notes)
        used = [*keys, *(one.key.strip("'") for one in stated.values()), *([] if mask is None else [mask])]
        return RawScan(
            frames, f"'{keys[0]}'", None, signal="counts", zero="center" if center is None else center, stated=stated,
            mask=None if mask is None else good_pixels(file, mask, frames.shape[1:], zero_is_good, notes), mask_key=f"'{mask}'",
            flag=detector_flags(frames.dtype) or None, notes=tuple(notes), used=tuple(used),
        )  # fmt: skip


def _is_data_file(source: Source) -> bool:
    """Whether a file holds frames where data files have them, and nothing besides."""
    if not source.has("entry/data/data"):
        return False
    file = source.hdf5
    alone = file.members("/") == ["entry"] and file.members("entry") == ["data"] and file.members("entry/data") == ["data"]
    return alone and len(file.shape_of("entry/data/data")) == 3


def _master_of(source: Source) -> Path | None:
    """The master next to a data file."""
    named = _ALONE.fullmatch(source.path.stem)
    return source.beside(f"{named.group(1)}_master{source.path.suffix}") if named and source.has("entry/data/data") else None


def _frames(source: Source, groups: tuple[str, ...], notes: list[str]) -> tuple[Frames, list[str]]:
    """The frames of the first group that has any, those of data files by their number."""
    file = source.hdf5
    for group in groups:
        if file.has(f"{group}/data") and file.shape_of(f"{group}/data"):
            return file.frames(f"{group}/data"), [f"{group}/data"]
        pieces = sorted((int(one[1]), name) for name in file.members(group) if (one := _PIECE.fullmatch(name)))
        if pieces:
            break
    else:
        raise DataError(f"{file.path} has no frames: neither '{groups[0]}/data' nor '{groups[0]}/data_000001'.")
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


def _stated(file: Hdf5Source, entry: str, instrument: str, detector: str, notes: list[str]) -> dict[str, Stated]:
    beams = [one for group in (instrument, f"{entry}/sample") for one in parts(file, group, "NXbeam", "beam")]
    distance = file.first(f"{detector}/detector_distance", f"{detector}/distance")
    known = {
        "photon_energy_ev": beam_energy(file, beams, "A", notes)
        or photon_energy_of(file, f"{detector}/detectorSpecific/photon_energy", "eV", notes),
        "detector_distance_m": None if distance is None else detector_distance(file, distance, "m", notes),
    }
    return {name: one for name, one in known.items() if one is not None} | pixel_pitch(file, detector, "m", notes)
