"""What files hold of an object, its probe and its positions, by the names that programs give them.

Names are flat, whatever the container: the attribute ``pixel_width_m`` of a dataset ``object`` is ``object_pixel_width_m``, as it
is called in an npz. What is measured or simulated truth has its own names, and only a purpose that may know the truth gets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.guard import in_double
from ptycho_core.formats.kinds import is_hdf5
from ptycho_core.formats.product_cxi import OWN_GROUP, CxiReader
from ptycho_core.formats.product_hdf5 import Reader
from ptycho_core.formats.product_npz import NpzReader

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["CENTERED_PIXEL", "Purpose", "numbered_corners", "object_name", "open_object_file", "probe_beside", "probe_name"]

Purpose = Literal["start", "result", "reference"]
"""What an object is read for: a start never is the truth, a reference is the truth first, a result is the truth last."""

_OBJECTS: Final = ("object", "reconstructed_object", "object_guess", "objectGuess")
_PROBES: Final = ("probe", "reconstructed_probe", "probe_guess", "probeGuess")
_TRUE_OBJECT: Final = "object_true"
_TRUE_PROBE: Final = "probe_true"
_HDF5: Final = (".h5", ".hdf5", ".hdf", ".cxi")

CENTERED_PIXEL: Final = "obj_pixel_size_m"
"""The object's pixel as scripts of pty-chi store it, next to positions about the middle of the object."""


def open_object_file(path: Path, *, plain: str = "object") -> Reader | NpzReader:
    """The values of a file, to be used as a context manager; ``plain`` names the one array of an ``.npy``.

    Raises:
        DataError: it cannot be read.
    """
    if path.suffix.lower() not in _HDF5 and not is_hdf5(path):
        return NpzReader(path, plain)
    reader = Reader(path)
    if OWN_GROUP not in reader:
        return reader
    reader.__exit__()
    return CxiReader(path)


def object_name(file: Reader | NpzReader, purpose: Purpose) -> str:
    """Name of the object to read.

    Raises:
        DataError: there is none, or only the truth where that must not be taken.
    """
    return _required(file, _order(_OBJECTS, _TRUE_OBJECT, purpose), _TRUE_OBJECT, "object")


def probe_name(file: Reader | NpzReader, purpose: Purpose) -> str:
    """Name of the probe to read.

    Raises:
        DataError: as `object_name`.
    """
    return _required(file, _order(_PROBES, _TRUE_PROBE, purpose), _TRUE_PROBE, "probe")


def probe_beside(file: Reader | NpzReader, purpose: Purpose, *, true: bool) -> str | None:
    """Name of the probe to go with the object that is read for a purpose (``true``: the truth); None if there is none."""
    return next((name for name in _order(_PROBES, _TRUE_PROBE, "reference" if true else purpose) if name in file), None)


def _order(estimates: tuple[str, ...], true: str, purpose: Purpose) -> tuple[str, ...]:
    return {"start": estimates, "result": (*estimates, true), "reference": (true, *estimates)}[purpose]


def _required(file: Reader | NpzReader, order: tuple[str, ...], true: str, what: str) -> str:
    for name in order:
        if name in file:
            return name
    none = f"{file.path} holds no {what}"
    if true not in file and isinstance(file, Reader):
        raise DataError(f"{none}: it has no dataset '{order[0]}', nor one of {', '.join(order[1:])}.")
    if true not in file:
        raise DataError(f"{none}: none of the keys {', '.join(order)} is in it.")
    raise DataError(
        f"{none} to start from: its '{true}' is the truth, which is for 'score', 'compare' and --labels.",
        remedy=f"Give a result, or a file with one of {', '.join(order)}.",
    )


def numbered_corners(
    file: Reader | NpzReader, shape: tuple[int, int], size: int | None, *, true: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64] | None] | None:
    """Where the windows lie on an object.

    ptychodus (1.7, ``ObjectGeometry``) states the middle ``(N − 1) / 2`` of a window, in metres from a stated centre of the
    object, or in its pixels; pty-chi (2.2, ``Object.pos_origin_coords``) in pixels from ``round(shape / 2) − 1/2``, in files that
    state ``obj_pixel_size_m``; PtychoPINN the pixel ``N // 2``, but where ptychodus has written its layout, which the key
    ``bad_pixels`` tells; the plain layout the corner itself (``specs/scan-data.md``).

    Args:
        file: the file.
        shape: (rows, columns) of the object.
        size: N, the pixels across a window, or None if no probe says it.
        true: whether the object is the truth, whose positions are the true ones where the file has them.

    Returns:
        (row, column) of each window's ``[0, 0]`` corner in pixels of the object, (frame, 2), float64; and the numbers of the
        frames, (frame,), int64, ascending, where the file numbers them, else None. None if it does not say where windows lie.

    Raises:
        DataError: wrong shapes, or values that are not finite.
    """
    about_the_middle = CENTERED_PIXEL in file
    for name in (("positions_true_px",) if true else ()) + (() if about_the_middle else ("positions_px",)):
        if name in file:
            return _pairs(file, name), None
    size = size or _size(file)
    if size is None:
        return None
    if about_the_middle and "positions_px" in file:
        return _pairs(file, "positions_px") + np.round(np.array(shape) / 2) - size / 2, None
    middle = (size - 1) / 2
    if "probe_position_x_px" in file:
        return _stacked(file, "probe_position_y_px", "probe_position_x_px") - middle, None
    if "probe_position_x_m" in file:
        return _from_metres(file, shape, middle)
    if "xcoords" in file:
        return _stacked(file, "ycoords", "xcoords") - (middle if "bad_pixels" in file else size // 2), None
    return None


def _size(file: Reader | NpzReader) -> int | None:
    """N of the patterns next to an object; their second axis is one of a pattern wherever the frames are counted."""
    for name in ("diffraction", "diff3d", "patterns"):
        if name in file and len(shape := file.shape(name)) == 3:
            return shape[1]
    return None


def _pairs(file: Reader | NpzReader, name: str) -> NDArray[np.float64]:
    values = file.array(name, [2])
    if values.shape[1] != 2 or np.iscomplexobj(values):
        raise DataError(f"{file.path}: '{name}' has shape {values.shape} and type {values.dtype}; (frame, 2), real, is expected.")
    return in_double(f"{file.path}: '{name}'", values)


def _stacked(file: Reader | NpzReader, rows: str, columns: str) -> NDArray[np.float64]:
    """(frame, 2) of two arrays (frame,) or (frame, 1)."""
    found = [file.array(name, [1, 2]) for name in (rows, columns)]
    flat = [one.reshape(-1) for one in found]
    if len(flat[0]) != len(flat[1]) or any(one.shape[1:] not in ((), (1,)) or np.iscomplexobj(one) for one in found):
        raise DataError(
            f"{file.path}: '{rows}' has shape {found[0].shape} and '{columns}' {found[1].shape}; both must be real, (frame,)."
        )
    return in_double(f"{file.path}: '{rows}' with '{columns}'", np.stack(flat, axis=1))


def _from_metres(
    file: Reader | NpzReader, shape: tuple[int, int], middle: float
) -> tuple[NDArray[np.float64], NDArray[np.int64] | None] | None:
    names = ("object_pixel_height_m", "object_pixel_width_m", "object_center_y_m", "object_center_x_m")
    height, width, row, column = (file.number(name) for name in names)
    if not (height and width and height > 0 and width > 0) or row is None or column is None:
        return None  # metres that nothing ties to the object's pixels
    metres = _stacked(file, "probe_position_y_m", "probe_position_x_m") - (row, column)
    corners = metres / (height, width) + (np.array(shape) - 1) / 2 - middle
    if "probe_position_indexes" not in file:
        return corners, None
    numbers = file.array("probe_position_indexes", [1])
    if numbers.dtype.kind not in "iu" or len(numbers) != len(corners):
        raise DataError(
            f"{file.path}: 'probe_position_indexes' has shape {numbers.shape} and type {numbers.dtype}; it must be a whole number"
            f" for each of {len(corners)} positions."
        )
    frames, place = np.unique(numbers.astype(np.int64), return_inverse=True)
    totals = np.zeros((len(frames), 2))
    np.add.at(totals, place, corners)  # ptychodus takes the mean of a frame's positions where it has several
    return totals / np.bincount(place)[:, np.newaxis], frames
