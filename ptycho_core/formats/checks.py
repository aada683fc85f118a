"""What is checked alike in every format: signal, mask, dark, probe, object."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.guard import check_magnitude
from ptycho_core.formats.pixel_file import check_pixels, pixels_from_file
from ptycho_core.settings.data import AUTO, dark_level

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.formats.interface import RawScan
    from ptycho_core.settings.data import DataSettings

__all__ = ["check_object", "check_probe", "detector_flags", "mask_of", "read_background", "read_dark", "read_mask", "signal"]

_LARGEST_PROBE = 1e15
"""Largest modulus of a probe in a scan's file: more, squared and added up, is beyond the range of float32."""


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


def check_probe(where: str, probe: NDArray[Any], size: int) -> NDArray[np.complexfloating[Any, Any]]:
    """A probe as (mode, N, N), complex64 or complex128; ``where`` is its file and key.

    Raises:
        DataError: it is of another shape, dark everywhere, or beyond what can be squared.
    """
    if probe.dtype.kind not in "fc" or probe.ndim not in (2, 3) or 0 in probe.shape:
        raise DataError(f"{where} has shape {probe.shape} and type {probe.dtype}; a probe is complex, (mode, N, N) or (N, N).")
    if probe.shape[-2:] != (size, size):
        raise DataError(f"{where} has shape {probe.shape} but the patterns are {size} x {size} pixels.")
    found = _complex(where, probe).reshape(-1, size, size)
    if not np.any(found):
        raise DataError(f"{where}, shape {probe.shape}, is zero everywhere.")
    if (largest := float(np.abs(found).max())) > _LARGEST_PROBE:
        raise DataError(
            f"{where}, shape {probe.shape}, holds a modulus of {largest:.3g}; its squares are beyond float32.",
            remedy="Scale it: the sum of its squares is the mean number of counts in a pattern of an empty object.",
        )
    return found


def check_object(where: str, values: NDArray[Any]) -> NDArray[np.complexfloating[Any, Any]]:
    """A guess of the object (rows, columns), complex64 or complex128.

    Raises:
        DataError: it is of another shape, or holds what no measurement has.
    """
    if values.dtype.kind not in "fc" or values.ndim != 2 or 0 in values.shape:
        raise DataError(f"{where} has shape {values.shape} and type {values.dtype}; an object is complex, (rows, columns).")
    return _complex(where, values)


def read_mask(raw: RawScan, path: Path, settings: DataSettings, notes: list[str]) -> NDArray[np.bool_]:
    """The good pixels (row, column) of a frame as it is stored: those of the settings' file, else those of the scan's.

    What holds the value that marks bad pixels is bad in any case.
    """
    shape = raw.frames.shape[1:]
    mask, where = raw.mask, f"{path}: {raw.mask_key}"
    if settings.mask not in (None, AUTO):
        mask, where = pixels_from_file(Path(str(settings.mask)), "mask", shape)
        mask = mask_of(mask, where)
    if raw.flag is not None:
        flags = raw.flag if isinstance(raw.flag, tuple) else (raw.flag,)
        first = raw.frames.read(slice(0, 1))[0]
        there = [flag for flag in flags if (first == flag).any()]
        flagged = np.isin(first, there)
        said = f"the value{'s' * (len(there) > 1)} {', '.join(f'{flag:.10g}' for flag in there)}" if there else ""
        if mask is None:
            mask, where = ~flagged, f"{path}: {raw.key}, by {said}"
        elif there:
            mask, where = np.asarray(mask).astype(bool) & ~flagged, f"{where} and {said}"
    return np.ones(shape, dtype=np.bool_) if mask is None else _noted(mask, where, shape, notes)


def detector_flags(dtype: np.dtype[Any]) -> tuple[float, ...]:
    """The values by which counting detectors mark pixels that measure nothing, in frames of a type; none for other types.

    Those of DECTRIS write the largest value of the type (of 16 bits also in 32), and -1 and -2 where it has a sign.
    """
    if dtype.kind not in "iu" or dtype.itemsize < 2:
        return ()
    largest = float(np.iinfo(dtype).max)
    if dtype.kind == "i":
        return (largest, -1.0, -2.0)
    return (largest, float(2**16 - 1)) if dtype.itemsize > 2 else (largest,)


def mask_of(values: NDArray[Any], where: str) -> NDArray[np.bool_]:
    """Good pixels, of values that are 0 where a pixel is bad and one other number where it is good.

    Raises:
        DataError: there are more than two values, as a mask of flags has.
    """
    # A mask of flags would be read the wrong way round, so more than one value besides 0 is refused.
    if values.dtype.kind not in "biuf" or np.setdiff1d(values, 0).size > 1:
        raise DataError(f"{where}, shape {values.shape}, must hold 0 (bad) and one other value (good), such as True.")
    return values.astype(np.bool_)


def read_dark(settings: DataSettings, shape: tuple[int, int], notes: list[str]) -> NDArray[np.float64] | None:
    """The counts without light that the settings state, (row, column) or (), float64; None where they state none."""
    if settings.dark is None:
        return None
    if (level := dark_level(settings.dark)) is not None:
        notes.append(f"Dark: {level:g} counts are subtracted from each pixel.")
        return np.array(level)
    values, where = pixels_from_file(Path(settings.dark), "dark", shape)
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise DataError(f"{where}, shape {values.shape}, type {values.dtype}, must hold finite real numbers.", source="data.dark")
    notes.append(f"Dark: {values.mean():.4g} counts on average are subtracted from a pixel, by {where}.")
    return values.astype(np.float64)


def read_background(raw: RawScan, path: Path, settings: DataSettings) -> tuple[NDArray[np.float64], str] | None:
    """The counts (row, column), float64, that every stored frame contains, and where they are; None where nothing states them.

    What the settings state goes before what the file states.

    Raises:
        DataError: it is of another shape than a frame, or of another type.
    """
    shape = raw.frames.shape[1:]
    if settings.background_file is not None:
        values, where = pixels_from_file(Path(settings.background_file), "background", shape, setting="background_file")
    elif raw.background is not None:
        values, where = raw.background, f"{path}: 'background'"
        check_pixels(where, values.shape, shape)
    else:
        return None
    if values.dtype.kind not in "iuf":
        message = f"{where}, shape {values.shape}, is of type {values.dtype}; a background is real numbers."
        raise DataError(message, source="data.background_file")
    return values.astype(np.float64), where


def _complex(where: str, values: NDArray[Any]) -> NDArray[np.complexfloating[Any, Any]]:
    check_magnitude(where, values)
    return values.astype(np.complex64 if values.dtype.itemsize <= 8 and values.dtype != np.float64 else np.complex128)


def _noted(values: NDArray[Any], where: str, shape: tuple[int, int], notes: list[str]) -> NDArray[np.bool_]:
    check_pixels(where, values.shape, shape)
    mask = mask_of(values, where)
    if not mask.any():
        raise DataError(f"{where}, shape {values.shape}, leaves no good pixel.", remedy="A mask is True where a pixel is good.")
    if not mask.all():
        notes.append(f"Mask: {int((~mask).sum())} of {mask.size} pixels are bad, by {where}.")
    return mask
