"""Groups of NeXus and CXI files, found by the class that they state or by the names that they go by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ptycho_core.errors import DataError
from ptycho_core.formats.interface import PIXEL_WIDTH
from ptycho_core.formats.plausible import photon_energy_of, wavelength_energy
from ptycho_core.units import length_m

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.interface import Stated
    from ptycho_core.formats.source import Source

__all__ = ["beam_center", "beam_energy", "class_of", "entries", "entry_with", "part", "parts", "signal_of"]

_ENERGIES: Final = ("incident_beam_energy", "incident_energy", "energy", "photon_energy")
_WAVELENGTHS: Final = ("incident_wavelength", "wavelength", "wave length")
_MOST: Final = 256
"""Members of a group that are looked at."""


def entries(file: Hdf5Source) -> list[str]:
    """The groups at the top of a file; the one that its attribute ``default`` names goes first."""
    names = file.members("/", _MOST)
    try:
        default = file.text("/", "default").strip("/").partition("/")[0]
    except DataError:
        default = ""
    return sorted(names, key=lambda name: name != default)


def entry_with(source: Source, definitions: tuple[str, ...]) -> tuple[str | None, str]:
    """The first entry of the main file that states one of some definitions, and which; None and nothing where none does."""
    try:
        file = source.hdf5
    except DataError:
        return None, ""
    for name in entries(file):
        if file.has(f"{name}/definition") and (stated := file.words(f"{name}/definition") or "").strip() in definitions:
            return name, stated.strip()
    return None, ""


def class_of(file: Hdf5Source, key: str) -> str:
    """The NeXus class of a group; empty where it states none."""
    try:
        return file.text(key, "NX_class")
    except DataError:
        return ""


def parts(file: Hdf5Source, group: str, kind: str, name: str) -> list[str]:
    """Groups inside another: those of a name, with or without ``_1`` or ``1``, then others of a NeXus class."""
    named = [f"{group}/{one}" for one in (f"{name}_1", name, f"{name}1") if file.has(f"{group}/{one}")]
    inside = (f"{group}/{one}" for one in file.members(group, _MOST))
    numbered = f"{group}/{name}_"
    return list(dict.fromkeys((*named, *(one for one in inside if class_of(file, one) == kind or one.startswith(numbered)))))


def part(file: Hdf5Source, group: str, kind: str, name: str) -> str | None:
    """The first of `parts`; None where there is none."""
    return next(iter(parts(file, group, kind, name)), None)


def signal_of(file: Hdf5Source, group: str) -> str | None:
    """The dataset of an NXdata: the one that its attribute ``signal`` names, else ``data``; None where there is none."""
    try:
        named = file.text(group, "signal")
    except DataError:
        named = ""
    return file.first(*(f"{group}/{name}" for name in (named, "data") if name))


def beam_center(
    file: Hdf5Source, detector: str, shape: tuple[int, int], stated: Mapping[str, Stated], notes: list[str]
) -> tuple[float, float] | None:
    """The pixel (row, column) of the beam that a detector states; None where it states none or 0, or one outside of its frames.

    Args:
        file: the file.
        detector: its group.
        shape: (rows, columns) of a frame.
        stated: with the pitch of its pixels, by which a center in a unit of length is divided.
        notes: one is added where the stated pixel is left aside.
    """
    found = []
    size = stated.get("detector_pixel_size_m")
    for axis, pitch in (("y", size), ("x", stated.get(PIXEL_WIDTH, size))):
        key = f"{detector}/beam_center_{axis}"
        value, metres = file.one(key), length_m(file.unit(key, ""))
        if value is not None and metres is not None and pitch is not None:
            value = value * metres / pitch.value
        found.append(value)
    row, column = found
    if row is None or column is None or (row == 0 and column == 0):
        return None
    if not (0 <= row < shape[0] and 0 <= column < shape[1]):
        notes.append(f"Beam: row {row:g}, column {column:g} is outside the frames, and is left aside (--beam-center).")
        return None
    return row, column


def beam_energy(file: Hdf5Source, groups: Sequence[str], wavelength: str, notes: list[str]) -> Stated | None:
    """The energy (eV) of the photons that groups of a beam or a monochromator state, or their wavelength does; None without any.

    ``wavelength`` is its unit where the file does not state it.
    """
    if key := file.first(*(f"{group}/{name}" for name in _ENERGIES for group in groups)):
        return photon_energy_of(file, key, "eV", notes)
    if key := file.first(*(f"{group}/{name}" for name in _WAVELENGTHS for group in groups)):
        return wavelength_energy(file, key, wavelength, notes)
    return None
