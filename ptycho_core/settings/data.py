"""The *data* settings: what a scan's file does not say of itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ptycho_core.errors import SettingsError, did_you_mean
from ptycho_core.settings.declare import declarations_of, setting

__all__ = ["AUTO", "DataSettings", "dark_level", "data_settings", "names_file"]

AUTO = "auto"
"""The mask that is found in the patterns themselves."""

_VERBS = ("train", "infer", "reconstruct")
_METRES = ("infer", "reconstruct")
"""A network learns in pixels: only a result has a scale in metres."""


@dataclass(frozen=True)
class DataSettings:
    """How a scan's file is to be read."""

    GROUP: ClassVar[str] = "data"

    signal: str = setting(
        "auto", choices=("auto", "counts", "amplitude"), verbs=_VERBS,
        help="what the file stores: detector counts, or amplitudes (square roots of counts). auto goes by what the file states, "
        "else integers are counts and floats amplitudes. Change it when a file holds counts as floats.",
    )  # fmt: skip
    frame_axis: str = setting(
        "auto", choices=("auto", "first", "last"), verbs=_VERBS,
        help="which axis of the stored patterns counts the frames. Needed when a file has as many frames as pixels.",
    )  # fmt: skip
    photons: float | None = setting(
        None, above=0, maximum=1e30, unit="counts", verbs=_VERBS,
        help="mean counts in a pattern, to which the patterns are scaled; auto leaves them as they are unless the file states "
        "it. Give it where a file holds patterns in other units, such as normalised amplitudes.",
    )  # fmt: skip
    size: int | None = setting(
        None, minimum=1, maximum=16384, unit="px", flags=("--N",), verbs=_VERBS,
        help="N, the pixels across a pattern; auto is what the file has. Less crops the detector around its centre and makes all "
        "faster and coarser, more pads it with masked pixels.",
    )  # fmt: skip
    mask: str | None = setting(
        None, path=True, words=(AUTO,), verbs=_VERBS,
        help="file (npy, npz, tif) with the good pixels of the detector, 1 = good; or auto, which masks saturated, dead, hot and "
        "constant pixels, beside those of the file's own mask. Give one for gaps, dead or hot pixels.",
    )  # fmt: skip
    dark: str | None = setting(
        None, path=True, number=True, verbs=_VERBS,
        help="counts without light, which are subtracted: a number for all pixels, or a file (npy, npz, tif) with one for each. "
        "Give it where the dark was left in; counts that become negative are refused without --clip-negative.",
    )  # fmt: skip
    clip_negative: bool = setting(
        False, verbs=_VERBS,
        help="read negative counts as 0. Give it where the noise of the detector round zero was left in after the dark was "
        "subtracted.",
    )  # fmt: skip
    probe: str | None = setting(
        None, path=True, verbs=_VERBS,
        help="file with the probe, in place of the one in the scan's file. Give one where the scan has none or a better one is "
        "known.",
    )  # fmt: skip
    photon_energy_ev: float | None = setting(
        None, unit="eV", above=0, verbs=_METRES,
        help="photon energy; with distance and pixel size it gives results a scale in metres. Give it where the file lacks it.",
    )  # fmt: skip
    detector_distance_m: float | None = setting(
        None, unit="m", above=0, verbs=_METRES,
        help="distance from sample to detector. Give it where the file lacks it, or is wrong.",
    )  # fmt: skip
    detector_pixel_size_m: float | None = setting(
        None, unit="m", above=0, verbs=_METRES,
        help="pitch of the detector's square pixels. Give it where the file lacks it, or patterns were binned.",
    )  # fmt: skip


def dark_level(dark: str) -> float | None:
    """The number that the setting ``dark`` states, or None where it names a file."""
    try:
        level = float(dark)
    except ValueError:
        return None
    return level if math.isfinite(level) else None


def names_file(name: str, value: object) -> bool:
    """Whether the value of a setting that takes a path names a file that is read: ``mask`` and ``dark`` take other words too."""
    return (
        value is not None
        and not (name == "mask" and value == AUTO)
        and not (name == "dark" and dark_level(str(value)) is not None)
    )


def data_settings(given: Mapping[str, Any] | object | None) -> DataSettings:
    """The *data* settings, each checked by its declaration, from a mapping or an object with these names; None has defaults.

    Raises:
        SettingsError: an unknown name, or a wrong type or range.
    """
    declared = {one.name: one for one in declarations_of(DataSettings)}
    if given is None:
        return DataSettings()
    values = given if isinstance(given, Mapping) else {name: getattr(given, name) for name in declared}
    unknown = [str(name) for name in values if name not in declared]
    if unknown:
        raise SettingsError(f"There is no data setting '{unknown[0]}'.{did_you_mean(unknown[0], declared)}")
    checked: dict[str, Any] = {name: declared[name].check(value, "data settings") for name, value in values.items()}
    return DataSettings(**checked)
