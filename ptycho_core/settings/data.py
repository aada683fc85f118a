"""The *data* settings: what a scan's file does not say of itself."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

from ptycho_core.errors import SettingsError, did_you_mean
from ptycho_core.orientation import ORIENTATIONS
from ptycho_core.settings.declare import declarations_of, setting
from ptycho_core.units import LENGTH_WORDS, LENGTHS

__all__ = [
    "AUTO",
    "FILES",
    "PROPAGATORS",
    "RECONSTRUCT",
    "DataSettings",
    "Defocus",
    "MadeProbe",
    "beam_center",
    "chosen_range",
    "dark_level",
    "data_settings",
    "file_of",
    "made_probe",
    "positions_file",
    "probe_defocus",
]

FILES = ("positions", "mask", "dark", "background_file", "flux", "probe")
"""The settings that name files of a scan."""

AUTO = "auto"
"""What is found in the file or, of mask and probe, in the patterns themselves."""

RECONSTRUCT = "reconstruct"
"""Labels of a training that each scan makes itself."""

PROPAGATORS: Final = ("angular-spectrum", "fresnel")
"""How a wave can be propagated in the near field; ``ptycho_core.physics.near_field`` has them, and a test keeps the two equal."""

_VERBS = ("train", "infer", "reconstruct")

_MADE: Final = {
    "disk": ("px", 1, 1, "disk:PX, its diameter in pixels of the object, such as disk:40"),
    "aperture": ("px", 1, 2, "aperture:PX or aperture:PX,STOP, diameters in pixels of the detector, such as aperture:60,20"),
    "zone-plate": ("m", 2, 3, "zone-plate:DIAMETER,ZONE or zone-plate:DIAMETER,ZONE,STOP, such as zone-plate:180um,50nm,60um"),
}
"""Of each kind of probe that is made: the unit of its lengths, how few and how many there are, and how it is written."""

_NUMBER = re.compile(r"([+-]?(?:[0-9]{1,20}\.?[0-9]{0,20}|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,3})?)\s?([a-zA-Z]*)")
_PIXEL = re.compile(r"[0-9]{1,6}(\.[0-9]{0,9})?")
_RANGE = re.compile(r"([0-9]{0,12}):([0-9]{0,12})(?::([1-9][0-9]{0,8})?)?")


class MadeProbe(NamedTuple):
    """A probe that is to be made.

    Attributes:
        kind: ``auto``, ``disk``, ``aperture`` or ``zone-plate``.
        lengths: of a disc its diameter (object pixels); of an aperture diameter and stop (detector pixels); of a zone plate
            diameter, outermost zone and stop (m). A stop may be left out.
    """

    kind: str
    lengths: tuple[float, ...] = ()


class Defocus(NamedTuple):
    """How far out of focus a probe is: the distance from the focus to the sample in m, or the phase at the detector's edge."""

    value: float
    in_radians: bool


class _Length(NamedTuple):
    value: float
    unit: str


@dataclass(frozen=True)
class DataSettings:
    """How a scan's file is to be read."""

    GROUP: ClassVar[str] = "data"

    format: str = setting(
        AUTO, verbs=_VERBS,
        help="the format of the scan's file, by its name in 'ptycho formats', or a layout, FILE.toml, which says where its "
        "arrays lie; auto goes by its content. Give it where a file could be read as more than one, or as none.",
    )  # fmt: skip
    dataset: str | None = setting(
        None, verbs=_VERBS,
        help="key of the frames in the scan's file, or of the group that holds them; auto takes the only ones. Give it where a "
        "file holds several, such as datacubes or detectors.",
    )  # fmt: skip
    positions: str | None = setting(
        None, path=True, verbs=_VERBS,
        help="file with the positions, FILE or FILE:COLUMNS, in place of those in the scan's file: a table (csv, txt) with its "
        "columns by name or number, an npy, an npz or HDF5 with its keys, or the file that the format keeps them in. Give it "
        "where they lie in a file apart.",
    )  # fmt: skip
    position_unit: str = setting(
        AUTO, choices=(AUTO, "px", *LENGTH_WORDS), verbs=_VERBS,
        help="unit of the stored positions; auto goes by the file. Give it where a file states none, or a wrong one.",
    )  # fmt: skip
    orientation: str = setting(
        "as-stated", choices=tuple(ORIENTATIONS), verbs=_VERBS,
        help="how the positions are turned, beyond what the format does: rows and columns swapped, then flipped. Change it where "
        "a result is smeared because the scan's axes lie otherwise than the detector's.",
    )  # fmt: skip
    rotation_deg: float = setting(
        0.0, minimum=-360, maximum=360, unit="deg", verbs=_VERBS,
        help="angle by which the positions are turned about their middle, from the row axis to the column axis, after the "
        "orientation. Give it where the scan is rotated against the detector, as with electrons.",
    )  # fmt: skip
    frames: str | None = setting(
        None, verbs=_VERBS,
        help="frames that are used, A:B or A:B:STEP, counted from 0 in the file, B not included; auto is all. Give it to leave "
        "out frames, or to try a part of a scan.",
    )  # fmt: skip
    beam_center: str | None = setting(
        None, unit="px", verbs=_VERBS,
        help="pixel of a stored frame that zero frequency lies in, ROW,COL, counted from 0; auto goes by the file, else the "
        "middle. Give it where the beam is off the middle of the detector, which is cut to a square around it.",
    )  # fmt: skip
    bin: int = setting(
        1, minimum=1, maximum=64, verbs=_VERBS,
        help="detector pixels along each side that are added up to one. More makes all faster, and the field of view of a "
        "pattern smaller; the object's pixel stays.",
    )  # fmt: skip
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
        "constant pixels, in addition to those of the file's own mask. Give one for gaps, dead or hot pixels.",
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
    background_file: str | None = setting(
        None, path=True, verbs=_VERBS,
        help="file (npy, npz with the key 'background', or tif) with counts that every pattern contains though the beam "
        "is off or misses the detector, one for each pixel; the model of each pattern has them added. Give it in place of "
        "subtracting them, which spoils the statistics of the counts.",
    )  # fmt: skip
    flux: str | None = setting(
        None, path=True, verbs=_VERBS,
        help="file (csv, txt, npy, or npz with the key 'flux') with one number a frame, in any unit: what a monitor of the beam "
        "read. The model of each pattern is scaled by it. Give it where the beam fluctuates.",
    )  # fmt: skip
    probe: str | None = setting(
        None, path=True, words=(AUTO,), verbs=_VERBS,
        help="the probe in place of the one in the scan's file: a file with one; auto, which makes it from the mean pattern; "
        "disk:PX, a flat disc at the sample; aperture:PX[,STOP], a round one on the detector, with a central stop; or "
        "zone-plate:DIAMETER,ZONE[,STOP], lengths such as 180um,50nm,60um. A scan without a probe takes auto.",
    )  # fmt: skip
    probe_defocus: str | None = setting(
        None, verbs=_VERBS,
        help="how far a probe that is made is out of focus: the distance from the focus to the sample, such as 350um, or the "
        "phase at the edge of the detector, such as -30rad; auto looks for it with short fits. Give it where it is known.",
    )  # fmt: skip
    regime: str = setting(
        AUTO, choices=(AUTO, "far", "near"), verbs=_VERBS,
        help="far field (the detector sees the Fourier transform of the exit wave) or near field (it sees the wave a distance "
        "further on, an image with fringes); auto goes by what the file states, else far. Give near for projection scans whose "
        "file does not say so; it needs energy, distance and detector pixel.",
    )  # fmt: skip
    focus_to_sample_m: float | None = setting(
        None, unit="m", above=0, verbs=_VERBS,
        help="distance from the focus of a divergent beam to the sample behind it, in the near field: the detector then sees "
        "the sample larger by (focus to sample + sample to detector) / focus to sample; auto is what the file states, else a "
        "parallel beam. Give it where the file lacks it.",
    )  # fmt: skip
    propagator: str = setting(
        AUTO, choices=(AUTO, *PROPAGATORS), verbs=_VERBS,
        help="how a wave propagates in the near field; auto is what the file states, else angular-spectrum for a parallel beam "
        "and fresnel for a divergent one, whose magnification is a paraxial law. Change it to compare with programs that use "
        "the other.",
    )  # fmt: skip
    margin: int | None = setting(
        None, minimum=0, maximum=8192, unit="px", verbs=_VERBS,
        help="masked pixels around the detector on each side, in the near field, in which probe and object continue, so that "
        "light comes in from outside and nothing wraps round; auto is as far as waves of half the highest frequency go "
        "sideways, where the probe reaches the edge. More for samples full of fine structure, 0 to save time.",
    )  # fmt: skip
    photon_energy_ev: float | None = setting(
        None, unit="eV", above=0, verbs=_VERBS,
        help="photon energy; with distance and pixel size it gives results a scale in metres. Give it where the file lacks it.",
    )  # fmt: skip
    detector_distance_m: float | None = setting(
        None, unit="m", above=0, verbs=_VERBS,
        help="distance from sample to detector. Give it where the file lacks it, or is wrong.",
    )  # fmt: skip
    detector_pixel_size_m: float | None = setting(
        None, unit="m", above=0, verbs=_VERBS,
        help="pitch of the detector's square pixels. Give it where the file lacks it, or patterns were binned.",
    )  # fmt: skip
    object_pixel_m: float | None = setting(
        None, unit="m", above=0, verbs=_VERBS,
        help="pixel of the object, in place of what energy, distance and detector pixel give. Give it where the file states none "
        "of these, as with electrons, or a wrong one.",
    )  # fmt: skip


def dark_level(dark: str) -> float | None:
    """The number that the setting ``dark`` states, or None where it names a file."""
    try:
        level = float(dark)
    except ValueError:
        return None
    return level if math.isfinite(level) else None


def beam_center(given: str) -> tuple[float, float]:
    """The pixel (row, column) that the setting ``beam_center`` states.

    Raises:
        SettingsError: it is no pair of numbers.
    """
    parts = given.split(",")
    if len(parts) != 2 or not all(_PIXEL.fullmatch(part.strip()) for part in parts):
        raise SettingsError(f"beam_center = '{given:.60}' must be ROW,COL, such as 128,120.5.", source="data.beam_center")
    return float(parts[0]), float(parts[1])


def chosen_range(given: str) -> slice:
    """The frames that the setting ``frames`` states.

    Raises:
        SettingsError: it is no range.
    """
    if not (found := _RANGE.fullmatch(given)):
        raise SettingsError(f"frames = '{given:.60}' must be A:B or A:B:STEP, such as 10:200:2.", source="data.frames")
    first, end, step = (int(part) if part else None for part in found.groups())
    return slice(first, end, step)


def positions_file(given: str) -> tuple[Path, tuple[str, ...]]:
    """The file and the columns that the setting ``positions`` states, ``FILE:COLUMNS``.

    A file whose own name has a colon is taken as it is.
    """
    name, colon, columns = given.rpartition(":")
    if not colon or not name or Path(given).exists() or (not Path(name).exists() and "/" in columns):
        return Path(given), ()
    return Path(name), tuple(one.strip() for one in columns.split(","))


def file_of(name: str, value: object) -> Path | None:
    """The file that a setting which takes a path names, to be read; None for the other words that some of them take."""
    if value is None or (name == "mask" and value == AUTO) or (name == "dark" and dark_level(str(value)) is not None):
        return None
    if (name == "probe" and made_probe(str(value)) is not None) or (name == "labels" and value == RECONSTRUCT):
        return None
    return positions_file(str(value))[0] if name == "positions" else Path(str(value))


def made_probe(given: str) -> MadeProbe | None:
    """What the setting ``probe`` states of a probe that is to be made; None where it names a file.

    Raises:
        SettingsError: it begins as such a statement and cannot be understood.
    """
    kind, _, rest = given.partition(":")
    if given == AUTO:
        return MadeProbe(AUTO)
    if kind not in _MADE or Path(given).exists():
        return None
    unit, least, most, example = _MADE[kind]
    parts = [_length(part) for part in rest.split(",")]
    units = ("", "px") if unit == "px" else ("m",)
    lengths = tuple(one.value for one in parts if one is not None and one.value > 0 and one.unit in units)
    if len(lengths) != len(parts) or not least <= len(parts) <= most:
        raise SettingsError(f"probe = '{given:.60}' must be written as {example}.", source="data.probe")
    return MadeProbe(kind, lengths)


def probe_defocus(given: str) -> Defocus:
    """How far out of focus a probe is that is to be made, as the setting ``probe_defocus`` states it.

    Raises:
        SettingsError: it is no length and no phase.
    """
    found = _length(given)
    if found is None or found.unit in ("", "px"):
        raise SettingsError(
            f"probe_defocus = '{given:.60}' must be a length, such as 350um, or a phase, such as -30rad.",
            source="data.probe_defocus",
        )  # fmt: skip
    return Defocus(found.value, in_radians=found.unit == "rad")


def _length(text: str) -> _Length | None:
    """A number with its unit; a length in metres. None where it is none."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        return None
    number, unit = float(found[1]), found[2]
    if unit in ("", "px", "rad"):
        return _Length(number, unit)
    metres = LENGTHS.get(unit)
    return None if metres is None else _Length(number * metres, "m")


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
