"""Units as files write them, and what one of each is in SI units."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["ENERGIES", "LENGTHS", "LENGTH_WORDS", "energy_ev", "length_m", "unit_word"]

LENGTHS: Final = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "nm": 1e-9, "A": 1e-10, "pm": 1e-12}
"""One of a length in metres."""

LENGTH_WORDS: Final = tuple(LENGTHS)

ENERGIES: Final = {"eV": 1.0, "keV": 1e3, "MeV": 1e6, "GeV": 1e9, "J": 1 / 1.602176634e-19}
"""One of an energy in electronvolts."""

_ALSO: Final = {
    "meter": "m", "metre": "m", "meters": "m", "metres": "m",
    "millimeter": "mm", "millimetre": "mm", "millimeters": "mm", "millimetres": "mm",
    "µm": "um", "μm": "um", "mum": "um", "mu": "um", "micron": "um", "microns": "um",
    "micrometer": "um", "micrometre": "um", "micrometers": "um", "micrometres": "um",
    "nanometer": "nm", "nanometre": "nm", "nanometers": "nm", "nanometres": "nm",
    "\u00c5": "A", "\u212b": "A", "angstrom": "A", "angstroms": "A", "ang": "A", "ångström": "A", "ångstrom": "A",
    "picometer": "pm", "picometre": "pm", "picometers": "pm", "picometres": "pm",
    "ev": "eV", "kev": "keV", "mev": "MeV", "gev": "GeV", "joule": "J", "joules": "J", "j": "J",
    "electronvolt": "eV", "electronvolts": "eV", "kiloelectronvolt": "keV",
    "pixel": "px", "pixels": "px", "pix": "px",
}  # fmt: skip
"""Other ways to write a unit; capitals do not count where nothing else fits."""


_POWER: Final = re.compile(r"(?:1(?:\.0*)?e|10\^|10\*\*)\(?([+-]?[0-9]{1,2})\)?\*?m", re.IGNORECASE)
"""A power of ten of a metre, such as ``1e-6 m`` or ``10^-6 m``."""


def unit_word(text: str) -> str:
    """The word of a unit as a file writes it, in the spelling that `LENGTHS` and `ENERGIES` have; unknown ones as they are."""
    bare = re.sub(r"[\[\]()\s]", "", text)
    known = {*LENGTHS, *ENERGIES, "px"}
    if bare in known:
        return bare
    if power := _POWER.fullmatch(bare):
        scale = 10.0 ** int(power.group(1))
        return next((name for name, metres in LENGTHS.items() if abs(metres / scale - 1) < 1e-9), bare)
    return _ALSO.get(bare) or _ALSO.get(bare.lower()) or next((one for one in known if one.lower() == bare.lower()), bare)


def length_m(unit: str) -> float | None:
    """One of a unit of length in metres; None where it is none."""
    return LENGTHS.get(unit_word(unit))


def energy_ev(unit: str) -> float | None:
    """One of a unit of energy in electronvolts; None where it is none."""
    return ENERGIES.get(unit_word(unit))
