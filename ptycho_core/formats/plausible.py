"""Units that cannot be true: attributes lie, and some writers leave them out; one that makes sense is taken, with a note."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ptycho_core.formats.interface import PIXEL_WIDTH, Stated
from ptycho_core.physics.geometry import photon_energy
from ptycho_core.units import ENERGIES, LENGTHS

if TYPE_CHECKING:
    from ptycho_core.formats.hdf5_source import Hdf5Source

__all__ = ["detector_distance", "photon_energy_of", "pixel_pitch", "plausible", "read_as", "square_pixel", "wavelength_energy"]

_PHOTONS_EV: Final = (10.0, 2e5)
_PIXELS_M: Final = (1e-7, 1e-2)
_DISTANCES_M: Final = (5e-3, 1e3)
_WAVELENGTHS_M: Final = (6e-12, 3e-6)
"""From photons of 200 keV to infrared light."""

_SQUARE: Final = 1e-3

_ENERGY_ORDER: Final = {name: ENERGIES[name] for name in ("J", "eV", "keV")} | ENERGIES
_PIXEL_ORDER: Final = {name: LENGTHS[name] for name in ("m", "um", "mm")} | LENGTHS
_DISTANCE_ORDER: Final = {name: LENGTHS[name] for name in ("m", "mm", "um")} | LENGTHS
_WAVELENGTH_ORDER: Final = {name: LENGTHS[name] for name in ("m", "A", "nm", "um")} | LENGTHS
_KINDS: Final = {
    "photon_energy_ev": (_ENERGY_ORDER, _PHOTONS_EV), "detector_pixel_size_m": (_PIXEL_ORDER, _PIXELS_M),
    "detector_distance_m": (_DISTANCE_ORDER, _DISTANCES_M), "wavelength": (_WAVELENGTH_ORDER, _WAVELENGTHS_M),
}  # fmt: skip


def read_as(
    value: float, unit: str, factors: dict[str, float], limits: tuple[float, float], where: str, notes: list[str]
) -> float:
    """A value in the unit of ``factors`` whose factor is 1; another unit than the stated one where only that makes sense.

    Args:
        value: as it is stored.
        unit: what states, or goes without saying.
        factors: one of each unit, the likeliest first.
        limits: within which the result makes sense.
        where: file and key, for notes.
        notes: one is added where the unit is not the stated one.
    """
    stated = abs(value) * factors.get(unit, 1.0)
    if limits[0] <= stated <= limits[1]:
        return stated
    for other, factor in factors.items():
        if limits[0] <= abs(value) * factor <= limits[1]:
            notes.append(f"Units: {where} is {value:g}, which cannot be {unit}; it is read as {other}.")
            return abs(value) * factor
    return value * factors.get(unit, 1.0)


def plausible(name: str, value: float, unit: str, where: str, notes: list[str]) -> float | None:
    """The value of a setting in its own unit, without a sign, in another unit than the stated one where only that makes sense.

    ``name`` is that of the setting, or ``wavelength`` (m). None where it is none of a geometry, or the unit none of it.
    """
    factors, limits = _KINDS.get(name, ({}, _PIXELS_M))
    return read_as(value, unit, factors, limits, where, notes) if unit in factors else None


def photon_energy_of(file: Hdf5Source, key: str, default: str, notes: list[str]) -> Stated | None:
    """A photon energy in eV; None where it is missing."""
    return _read(file, key, default, _ENERGY_ORDER, _PHOTONS_EV, notes)


def wavelength_energy(file: Hdf5Source, key: str, default: str, notes: list[str]) -> Stated | None:
    """The energy in eV of photons of a wavelength; None where it is missing, or 0."""
    length = _read(file, key, default, _WAVELENGTH_ORDER, _WAVELENGTHS_M, notes)
    return None if length is None else Stated(photon_energy(length.value), length.key)


def square_pixel(file: Hdf5Source, key: str, default: str, notes: list[str]) -> Stated | None:
    """The pitch in metres of a detector with square pixels; None where it is missing, or 0."""
    return _read(file, key, default, _PIXEL_ORDER, _PIXELS_M, notes)


def pixel_pitch(file: Hdf5Source, group: str, default: str, notes: list[str]) -> dict[str, Stated]:
    """The pitch in metres that a group states as ``y_pixel_size`` and ``x_pixel_size``, by the names of `RawScan.stated`."""
    keys = (f"{group}/y_pixel_size", f"{group}/x_pixel_size")
    rows, columns = (_read(file, key, default, _PIXEL_ORDER, _PIXELS_M, notes) for key in keys)
    size = rows or columns
    found = {} if size is None else {"detector_pixel_size_m": size}
    if rows is not None and columns is not None and abs(rows.value / columns.value - 1) > _SQUARE:
        found[PIXEL_WIDTH] = columns
    return found


def detector_distance(file: Hdf5Source, key: str, default: str, notes: list[str]) -> Stated | None:
    """A distance in metres, without its sign; None where it is missing, or 0."""
    found = _read(file, key, default, _DISTANCE_ORDER, _DISTANCES_M, notes)
    if found is not None and (file.one(key) or 0) < 0:
        notes.append(f"Distance: {file.where(key)} is negative; its sign is left aside.")
    return found


def _read(
    file: Hdf5Source, key: str, default: str, factors: dict[str, float], limits: tuple[float, float], notes: list[str]
) -> Stated | None:
    if (value := file.one(key)) is None:
        return None
    if value == 0:
        notes.append(f"{file.where(key)} is 0 and is left aside.")
        return None
    unit = file.unit(key, default)
    if unit not in factors:
        notes.append(f"Units: {file.where(key)} is in '{unit:.40}', which is not known; {default} is taken for it.")
        unit = default
    return Stated(read_as(value, unit, factors, limits, file.where(key), notes), f"'{key}'")
