"""What both npz layouts of scans read alike: frames, positions, geometry, photons, probe, object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.checks import check_object, mask_of
from ptycho_core.formats.interface import PIXEL_WIDTH, Stated
from ptycho_core.formats.pixel_file import check_pixels
from ptycho_core.scan.frames import ArrayFrames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ptycho_core.formats.npz import NpzFile

__all__ = ["STATED_KEYS", "check_frames", "npz_facts", "npz_frames", "npz_parts", "read_positions", "remedy_for_numbers"]

STATED_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "photon_energy_ev": ("photon_energy_ev", "photon_energy_eV"),
    "detector_distance_m": ("detector_distance_m",),
    "detector_pixel_size_m": ("detector_pixel_size_m",),
    "focus_to_sample_m": ("focus_to_sample_m",),
    PIXEL_WIDTH: ("detector_pixel_width_m",),
    "photons": ("photons", "nphotons"),
}
"""Where a file states geometry and mean counts, by setting; the first spelling is ours, others are read."""


def npz_frames(file: NpzFile, name: str, axis: Literal["first", "last"]) -> ArrayFrames:
    """The frames of an array, mapped from the file where it is stored as it is, else unpacked whole at the first read."""
    header = file.headers[name]
    return ArrayFrames(file.lazy(name), header.shape, header.dtype, axis)


def npz_parts(file: NpzFile, frames: tuple[int, int, int], probe: str, guess: str, bad: str = "") -> dict[str, Any]:
    """What both layouts state besides frames and positions, by the fields of `RawScan`.

    Args:
        file: the archive.
        frames: (frame, row, column), the shape of the frames.
        probe: the key of the probe.
        guess: the key of the object.
        bad: a key of bad pixels, which is read where there is no ``mask``.

    Raises:
        DataError: a part cannot be used; the message names file, key and shape.
    """
    mask, mask_key = _mask(file, frames[1:], bad)
    return {
        "stated": _stated(file), "mask": mask, "mask_key": mask_key, "probe": _probe(file, probe), "probe_key": f"'{probe}'",
        "object_guess": _object(file, guess), "scan_index": _scan_index(file, frames[0]),
    }  # fmt: skip


def _stated(file: NpzFile) -> dict[str, Stated]:
    """The numbers that a file states, by setting."""
    found = {}
    for name, keys in STATED_KEYS.items():
        for key in keys:
            if name not in found and (value := file.number(key)) is not None:
                found[name] = Stated(value, f"'{key}'")
    return found


def npz_facts(file: NpzFile, patterns: tuple[str, ...]) -> dict[str, Stated]:
    """What headers and scalars state: N under ``size``, and the rest by setting; values that are not positive are left out."""
    found = dict[str, Stated]()
    for key in patterns:
        shape = file.headers[key].shape if key in file else ()
        if len(shape) == 3 and shape[1] > 0:  # frames are counted by the first axis or the last, so that this is one of N
            found.setdefault("size", Stated(shape[1], f"'{key}'"))
    return found | {name: one for name, one in _stated(file).items() if 0 < one.value < float("inf")}


def check_frames(where: str, shape: tuple[int, int, int], dtype: np.dtype[Any], axis: str) -> None:
    """Refuse an empty scan, values that are no real numbers, and frames that are square only along other axes.

    Args:
        where: file and key.
        shape: (frame, row, column).
        dtype: type of the values.
        axis: ``first`` or ``last``, which axis is taken to count the frames.
    """
    if shape[0] == 0 or shape[1] == 0:
        raise DataError(f"{where} has shape {shape}: the scan is empty.")
    stored, other = (shape, "last") if axis == "first" else ((shape[1], shape[2], shape[0]), "first")
    square = stored[0] == stored[1] if other == "last" else stored[1] == stored[2]
    if shape[1] != shape[2] and square:
        raise DataError(
            f"{where} has frames of {shape[1]} x {shape[2]} pixels, shape {stored}; frames must be square.",
            remedy=f"If the {other} axis counts the frames, give --frame-axis {other}.",
        )
    if dtype.kind not in "biuf":
        raise DataError(f"{where} is of type {dtype}, shape {shape}; patterns must be real numbers (counts or amplitudes).")


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


def _mask(file: NpzFile, shape: tuple[int, int], bad: str = "") -> tuple[NDArray[np.bool_] | None, str]:
    """The good pixels that the key ``mask`` states, else all but those of the key ``bad``, and the key; None if there is none."""
    name = "mask" if "mask" in file else bad
    if name not in file:
        return None, ""
    where, header = f"{file.path}: '{name}'", file.headers[name]
    check_pixels(where, header.shape, shape)
    if name == bad and header.dtype.kind != "b":
        raise DataError(f"{where} is of type {header.dtype}, shape {header.shape}; it must be bool, True = bad.")
    values = file.array(name)
    return mask_of(~values if name == bad else values, where), f"'{name}'"


def _probe(file: NpzFile, name: str) -> NDArray[Any] | None:
    """A probe, or None if the file has none; what it is like is checked before its values are read."""
    if name not in file:
        return None
    header = file.headers[name]
    if header.dtype.kind not in "fc" or len(header.shape) not in (2, 3) or 0 in header.shape:
        raise DataError(
            f"{file.path}: '{name}' has shape {header.shape} and type {header.dtype}; a probe is complex, (mode, N, N) or (N, N)."
        )
    return file.array(name)


def _object(file: NpzFile, name: str) -> NDArray[np.complexfloating[Any, Any]] | None:
    """An object guess (rows, columns), or None if the file has none."""
    if name not in file:
        return None
    header = file.headers[name]
    if header.dtype.kind not in "fc" or len(header.shape) != 2 or 0 in header.shape:
        raise DataError(
            f"{file.path}: '{name}' has shape {header.shape} and type {header.dtype}; an object is complex, (rows, columns)."
        )
    return check_object(f"{file.path}: '{name}'", file.array(name))


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
