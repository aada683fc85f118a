"""From the experiment's geometry to wavelength and object pixel. SI units except for the photon energy, which is in eV."""

from __future__ import annotations

import math
from typing import Final

from ptycho_core.errors import DataError

__all__ = ["electron_energy", "electron_wavelength", "object_pixel_size", "photon_energy", "wavelength"]

_PLANCK: Final = 6.62607015e-34  # J s; this constant and the next two are exact in the SI since 2019
_LIGHT: Final = 299792458.0  # m / s
_ELECTRONVOLT: Final = 1.602176634e-19  # J
_ELECTRON_REST_EV: Final = 510998.95069  # m c², eV (CODATA 2022)


def _positive(name: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise DataError(f"{name} must be a positive number, not {value!r}.")
    return float(value)


def wavelength(energy_ev: float) -> float:
    """Wavelength in metres of photons of ``energy_ev`` electronvolts, ``h c / E``.

    Raises:
        DataError: if the energy is not a positive number.
    """
    return _PLANCK * _LIGHT / (_positive("The photon energy in eV", energy_ev) * _ELECTRONVOLT)


def photon_energy(wavelength_m: float) -> float:
    """Energy in electronvolts of photons of a wavelength in metres, ``h c / λ``.

    Raises:
        DataError: if the wavelength is not a positive number.
    """
    return _PLANCK * _LIGHT / (_positive("The wavelength in metres", wavelength_m) * _ELECTRONVOLT)


def electron_wavelength(energy_ev: float) -> float:
    """Wavelength in metres of electrons of a kinetic energy in electronvolts, ``h c / √(E (E + 2 m c²))``.

    Raises:
        DataError: if the energy is not a positive number.
    """
    energy = _positive("The energy of the electrons in eV", energy_ev)
    return _PLANCK * _LIGHT / (_ELECTRONVOLT * math.sqrt(energy * (energy + 2 * _ELECTRON_REST_EV)))


def electron_energy(wavelength_m: float) -> float:
    """Kinetic energy in electronvolts of electrons of a wavelength in metres: the inverse of `electron_wavelength`.

    Raises:
        DataError: if the wavelength is not a positive number.
    """
    return math.hypot(photon_energy(wavelength_m), _ELECTRON_REST_EV) - _ELECTRON_REST_EV


def object_pixel_size(wavelength_m: float, distance_m: float, detector_pixel_m: float, size: int) -> float:
    """Side in metres of an object pixel, ``λ z / (N p)``, in the far field.

    Args:
        wavelength_m: wavelength λ in metres.
        distance_m: distance z from the sample to the detector in metres.
        detector_pixel_m: side p of a detector pixel in metres.
        size: N, pixels along a side of a diffraction pattern as it is used (after cropping or binning).

    Raises:
        DataError: if one of them is not a positive number.
    """
    return (
        _positive("The wavelength in metres", wavelength_m)
        * _positive("The detector distance in metres", distance_m)
        / (_positive("The number of pixels N", size) * _positive("The detector pixel size in metres", detector_pixel_m))
    )
