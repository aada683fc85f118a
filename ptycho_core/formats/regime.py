"""Far field or near field: what the settings state, else the file, and what the near field needs beyond energy and distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

from ptycho_core.errors import DataError, SettingsError
from ptycho_core.settings.data import AUTO, PROPAGATORS

if TYPE_CHECKING:
    from pathlib import Path

    from ptycho_core.formats.interface import RawScan, Word
    from ptycho_core.scan.scan import Geometry
    from ptycho_core.settings.data import DataSettings

__all__ = ["Regime", "check_magnification", "regime_of"]

_REGIMES: Final = ("far", "near")

_MOST_MAGNIFIED: Final = 1e5
"""Above the magnification of any projection microscope; a focus in another unit lies beyond it."""


class Regime(NamedTuple):
    """The regime of a scan, and what belongs to it in the near field, by the fields of a `Geometry`."""

    regime: Literal["far", "near"] = "far"
    focus_to_sample_m: float | None = None
    propagator: Literal["angular-spectrum", "fresnel"] = "fresnel"


def regime_of(raw: RawScan, path: Path, asked: DataSettings, notes: list[str]) -> Regime:
    """The regime by the settings, else by the file, else the far field.

    Raises:
        DataError: the file states a word that is none, or a distance that is not positive.
        SettingsError: what acts in the near field alone is asked for in the far field.
    """
    word = _word(raw.regime, "regime", _REGIMES, path, asked, notes) or "far"
    focus, stated = asked.focus_to_sample_m, raw.stated.get("focus_to_sample_m")
    if word == "far":
        _check_far(raw, path, asked)
        return Regime()
    if focus is None and stated is not None:
        if not 0 < stated.value < float("inf"):
            message = f"{path}: {stated.key} is {stated.value:g}; the distance from the focus to the sample must be positive."
            raise DataError(message, remedy="Overrule it with --focus-to-sample-m; leave it out of the file for a parallel beam.")
        focus = stated.value
    elif focus is not None and stated is not None and focus != stated.value:
        notes.append(f"Overruled: focus_to_sample_m {focus:g}, as the settings state, not {stated.value:g} ({stated.key}).")
    propagator = _word(raw.propagator, "propagator", PROPAGATORS, path, asked, notes)
    return Regime("near", focus, cast("Any", propagator or ("angular-spectrum" if focus is None else "fresnel")))


def _word(found: Word | None, name: str, known: tuple[str, ...], path: Path, asked: DataSettings, notes: list[str]) -> str | None:
    """A word by the settings, else by the file."""
    mine: str = getattr(asked, name)
    if mine == AUTO:
        if found is not None and found.value not in known:
            message = f"{path}: {found.key} is '{found.value:.40}'; it must be {' or '.join(known)}."
            raise DataError(message, remedy=f"Overrule it with --{name}.")
        return None if found is None else found.value
    if found is not None and found.value != mine:
        notes.append(f"Overruled: {name} {mine}, as the settings state, in place of '{found.value:.40}' ({found.key}).")
    return mine


def _check_far(raw: RawScan, path: Path, asked: DataSettings) -> None:
    """Refuse what acts in the near field alone, unless the file states it, too, which `facts` give as a setting."""
    stated = raw.stated.get("focus_to_sample_m")
    given = {"focus_to_sample_m": asked.focus_to_sample_m not in (None, stated.value if stated else None)}
    given |= {"propagator": asked.propagator != AUTO, "margin": bool(asked.margin)}
    for name in (name for name, there in given.items() if there):
        who = (
            "the settings state" if asked.regime != AUTO else f"{raw.regime.key} states" if raw.regime else "nothing states near"
        )
        raise SettingsError(
            f"{name} acts in the near field, and {path} is in the far field, as {who}.",
            remedy=f"Give --regime near, or leave --{name.replace('_', '-')} out.", source=f"data.{name}",
        )  # fmt: skip


def check_magnification(geometry: Geometry, path: Path) -> None:
    """Refuse a near-field geometry whose magnification no instrument has.

    Raises:
        DataError: the message names the flags.
    """
    if geometry.magnification > _MOST_MAGNIFIED:
        raise DataError(
            f"{path}: {geometry.focus_to_sample_m:g} m from the focus to the sample and {geometry.detector_distance_m:g} m on to"
            f" the detector magnify {geometry.magnification:.3g} times.",
            remedy="Overrule what is wrong with --focus-to-sample-m or --detector-distance-m.",
        )
