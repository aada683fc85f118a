"""What both npz layouts check and convert alike: probe, positions, mask, geometry, signal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.guard import check_magnitude
from ptycho_core.formats.pixel_file import check_pixels, pixels_from_file
from ptycho_core.scan.auto_mask import auto_mask
from ptycho_core.scan.photons import with_photons
from ptycho_core.scan.scan import Geometry, Scan, far_field
from ptycho_core.settings.data import AUTO, dark_level

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.formats.npz import NpzFile
    from ptycho_core.scan.patterns import ArrayPatterns
    from ptycho_core.settings.data import DataSettings

__all__ = ["check_frames", "read_dark", "read_mask", "read_positions", "remedy_for_numbers", "scan_of", "signal"]

GEOMETRY_KEYS = {
    "photon_energy_ev": ("photon_energy_ev", "photon_energy_eV"),
    "detector_distance_m": ("detector_distance_m",),
    "detector_pixel_size_m": ("detector_pixel_size_m",),
}
"""Where a file states its geometry, by setting; the first spelling is ours, others are read."""

PHOTON_KEYS = ("photons", "nphotons")
"""Where a file states the mean counts of its patterns; the first spelling is ours."""

_LARGEST_PROBE = 1e15
"""Largest modulus of a probe in a scan's file: more, squared and added up, is beyond the range of float32."""

PATTERN_KEYS = ("intensity", "diffraction", "diff3d")
"""Where patterns are, in every layout."""


def scan_of(
    file: NpzFile,
    settings: DataSettings,
    patterns: ArrayPatterns,
    probe: str,
    guess: str,
    notes: list[str],
    **known: Any,  # noqa: ANN401
) -> Scan:
    """The scan of an archive: what its layout has found, and what each layout has under the same keys.

    Args:
        file: the archive.
        settings: what the user states.
        patterns: as they will be read.
        probe: key of the probe.
        guess: key of the guess of the object.
        notes: what was decided so far.
        known: further fields of the scan, by name.
    """
    frames, size, _ = patterns.shape
    beam = _probe(file, probe, size)
    if settings.mask == AUTO:
        light = None if beam is None else far_field(beam)
        known["mask"], note = auto_mask(patterns, known["mask"], signal=known["signal"], where=str(file.path), far_field=light)
        patterns = patterns.masked(known["mask"])
        notes.append(note)
    scan = Scan(
        patterns=patterns,
        probe=beam,
        geometry=_geometry(file, settings, notes),
        object_guess=_object(file, guess),
        scan_index=_scan_index(file, frames),
        source=file.path,
        notes=tuple(notes),
        **known,
    )
    counted = _photons(file, settings)
    return scan if counted is None else with_photons(scan, *counted)


def check_frames(where: str, shape: tuple[int, int, int], dtype: np.dtype[Any], axis: str) -> None:
    """Refuse an empty scan, frames that are not square, and values that are no real numbers.

    Args:
        where: file and key.
        shape: (frame, row, column).
        dtype: type of the values.
        axis: ``first`` or ``last``, which axis is taken to count the frames.
    """
    if shape[0] == 0 or shape[1] == 0:
        raise DataError(f"{where} has shape {shape}: the scan is empty.")
    if shape[1] != shape[2]:
        stored, other = (shape, "last") if axis == "first" else ((shape[1], shape[2], shape[0]), "first")
        square = stored[0] == stored[1] if other == "last" else stored[1] == stored[2]
        raise DataError(
            f"{where} has frames of {shape[1]} x {shape[2]} pixels, shape {stored}; frames must be square.",
            remedy=f"If the {other} axis counts the frames, give --frame-axis {other}." if square else "Crop or pad them first.",
        )
    if dtype.kind not in "biuf":
        raise DataError(f"{where} is of type {dtype}, shape {shape}; patterns must be real numbers (counts or amplitudes).")


def signal(where: str, dtype: np.dtype[Any], settings: DataSettings, stated: str | None, by: str) -> tuple[str, str]:
    """Whether the patterns are ``counts`` or ``amplitude``, and a sentence that says why.

    What the user states goes before what the file states (``stated``, ``by`` which key); where neither does, integers are
    counts and floats amplitudes.
    """
    if stated not in (None, "counts", "amplitude"):
        raise DataError(f"{where}: {by} states the signal '{stated:.60}'; known are 'counts' and 'amplitude'.")
    if settings.signal != "auto":
        other = f", although {by} states {stated}" if stated not in (None, settings.signal) else ""
        return settings.signal, f"Signal: {settings.signal}, as the settings state{other}."
    if stated is not None:
        return stated, f"Signal: {stated}, as {by} states."
    if dtype.kind in "iu":
        return "counts", f"Signal: counts, since the file does not state it and {dtype} is a type of whole numbers."
    if dtype.kind == "f":
        return "amplitude", f"Signal: amplitude, since the file does not state it and {dtype} is a floating type."
    raise DataError(
        f"{where} is of type {dtype}, and the file does not state its signal.", remedy="Give --signal counts or amplitude."
    )


def read_positions(file: NpzFile, name: str, frames: int, patterns: str) -> NDArray[np.float64]:
    """A coordinate array, (n,) or (n, 2), checked for number and finiteness; float64."""
    header = file.headers[name]
    if header.shape[:1] != (frames,):
        raise DataError(
            f"{file.path}: '{name}' has shape {header.shape} but '{patterns}', shape {file.headers[patterns].shape},"
            f" has {frames} frames; there must be one position for each frame.",
            remedy=remedy_for_numbers(header.shape[0] if header.shape else 0, frames),
        )
    if header.dtype.kind not in "iuf":
        raise DataError(f"{file.path}: '{name}' is of type {header.dtype}, shape {header.shape}; positions must be real numbers.")
    with np.errstate(over="ignore"):  # what leaves double precision is not finite then
        values: NDArray[np.float64] = file.array(name).astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values.reshape(frames, -1)).all(axis=1))
    if wrong.size:
        raise DataError(
            f"{file.path}: '{name}', shape {header.shape}, is not finite for {wrong.size} frame(s), first for frame {wrong[0]}."
        )
    return values


def remedy_for_numbers(positions: int, frames: int) -> str:
    """What to do where a file has more patterns than positions, or fewer."""
    kind, rest = ("patterns", "positions") if frames > positions else ("positions", "patterns")
    return (
        f"Remove the {abs(frames - positions)} {kind} that have no {rest}, such as those before or after the scan, from the file."
    )


def _probe(file: NpzFile, name: str, size: int) -> NDArray[np.complexfloating[Any, Any]] | None:
    """A probe as (mode, N, N), or None if the file has none."""
    if name not in file:
        return None
    header = file.headers[name]
    if header.dtype.kind not in "fc" or len(header.shape) not in (2, 3) or 0 in header.shape:
        raise DataError(
            f"{file.path}: '{name}' has shape {header.shape} and type {header.dtype}; a probe is complex, (mode, N, N) or (N, N)."
        )
    if header.shape[-2:] != (size, size):
        raise DataError(f"{file.path}: '{name}' has shape {header.shape} but the patterns are {size} x {size} pixels.")
    probe = _complex(file, name).reshape(-1, size, size)
    if not np.any(probe):
        raise DataError(f"{file.path}: '{name}', shape {header.shape}, is zero everywhere.")
    if (largest := float(np.abs(probe).max())) > _LARGEST_PROBE:
        raise DataError(
            f"{file.path}: '{name}', shape {header.shape}, holds a modulus of {largest:.3g}; its squares are beyond float32.",
            remedy="Scale it: the sum of its squares is the mean number of counts in a pattern of an empty object.",
        )
    return probe


def _object(file: NpzFile, name: str) -> NDArray[np.complexfloating[Any, Any]] | None:
    """An object guess (rows, columns), or None if the file has none."""
    if name not in file:
        return None
    header = file.headers[name]
    if header.dtype.kind not in "fc" or len(header.shape) != 2 or 0 in header.shape:
        raise DataError(
            f"{file.path}: '{name}' has shape {header.shape} and type {header.dtype}; an object is complex, (rows, columns)."
        )
    return _complex(file, name)


def _scan_index(file: NpzFile, frames: int) -> NDArray[np.int64] | None:
    """Which scan each frame belongs to, or None if the file does not say."""
    if "scan_index" not in file:
        return None
    header = file.headers["scan_index"]
    if header.shape != (frames,) or header.dtype.kind not in "iu":
        raise DataError(
            f"{file.path}: 'scan_index' has shape {header.shape} and type {header.dtype}; it must be one whole number for each of"
            f" {frames} frames."
        )
    return file.array("scan_index").astype(np.int64)


def read_mask(file: NpzFile, settings: DataSettings, size: int, notes: list[str], bad: str = "") -> NDArray[np.bool_]:
    """The good pixels (N, N): the settings' mask file, else the scan's key ``mask``, else all but those of the key ``bad``."""
    if settings.mask not in (None, AUTO):
        return _check_mask(*pixels_from_file(Path(str(settings.mask)), "mask", size), size, notes)
    name = "mask" if "mask" in file else bad
    if name in file:
        where, header = f"{file.path}: '{name}'", file.headers[name]
        check_pixels(where, header.shape, size)
        if name == bad and header.dtype.kind != "b":
            raise DataError(f"{where} is of type {header.dtype}, shape {header.shape}; it must be bool, True = bad.")
        values = file.array(name)
        return _check_mask(~values if name == bad else values, where, size, notes)
    return np.ones((size, size), dtype=np.bool_)


def _geometry(file: NpzFile, settings: DataSettings, notes: list[str]) -> Geometry | None:
    """Energy, distance and pixel pitch, each from the settings or else from the file; None unless all three are known."""
    known: dict[str, float] = {}
    for name, keys in GEOMETRY_KEYS.items():
        value = getattr(settings, name)
        for key in keys:
            if value is None and (value := file.number(key)) is not None and not 0 < value < float("inf"):
                flag = f"--{name.replace('_', '-')}"
                raise DataError(f"{file.path}: '{key}' is {value:g}; it must be positive.", remedy=f"Overrule it with {flag}.")
        if value is not None:
            known[name] = float(value)
    missing = [name for name in GEOMETRY_KEYS if name not in known]
    if known and missing:
        notes.append(f"No metre scale: {' and '.join(missing)} not known.")
    return None if missing else Geometry(**known)


def _photons(file: NpzFile, settings: DataSettings) -> tuple[float, str] | None:
    """The mean counts that the patterns are to have, and who states it; the settings go before the file. None if nobody does."""
    key = next((key for key in PHOTON_KEYS if key in file), None)
    if settings.photons is not None:
        return float(settings.photons), "the settings state"
    if key is None:
        return None
    value = file.number(key)
    if value is None or not 0 < value < float("inf"):
        raise DataError(f"{file.path}: '{key}' is {value:g}; it must be positive.", remedy="Overrule it with --photons.")
    return value, f"the key '{key}' states"


def _complex(file: NpzFile, name: str) -> NDArray[np.complexfloating[Any, Any]]:
    values = file.array(name)
    check_magnitude(f"{file.path}: '{name}'", values)
    return values.astype(np.complex64 if values.dtype.itemsize <= 8 and values.dtype != np.float64 else np.complex128)


def read_dark(settings: DataSettings, size: int, notes: list[str]) -> NDArray[np.float64] | None:
    """The counts of each pixel without light that the settings state, (N, N) or (), float64; None where they state none."""
    if settings.dark is None:
        return None
    if (level := dark_level(settings.dark)) is not None:
        notes.append(f"Dark: {level:g} counts are subtracted from each pixel.")
        return np.array(level)
    values, where = pixels_from_file(Path(settings.dark), "dark", size)
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise DataError(f"{where}, shape {values.shape}, type {values.dtype}, must hold finite real numbers.", source="data.dark")
    notes.append(f"Dark: {values.mean():.4g} counts on average are subtracted from a pixel, by {where}.")
    return values.astype(np.float64)


def _check_mask(values: NDArray[Any], where: str, size: int, notes: list[str]) -> NDArray[np.bool_]:
    check_pixels(where, values.shape, size)
    # A mask of flags would be read the wrong way round, so more than one value beside 0 is refused.
    if values.dtype.kind not in "biuf" or np.setdiff1d(values, 0).size > 1:
        raise DataError(f"{where}, shape {values.shape}, must hold 0 (bad) and one other value (good), such as True.")
    mask = values.astype(np.bool_)
    if not mask.any():
        raise DataError(f"{where}, shape {values.shape}, leaves no good pixel.", remedy="A mask is True where a pixel is good.")
    if not mask.all():
        notes.append(f"Mask: {int((~mask).sum())} of {mask.size} pixels are bad, by {where}.")
    return mask
