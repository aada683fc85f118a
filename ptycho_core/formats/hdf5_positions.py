"""Positions in HDF5 as beamlines store them: vectors of a frame, one array an axis, or the two axes of a raster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.column_names import axis_of, position_columns
from ptycho_core.formats.guard import check_declared
from ptycho_core.units import length_m

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ptycho_core.formats.hdf5_source import Hdf5Source

__all__ = ["OTHERS", "Motion", "moves", "on_grid", "summed", "vectors"]

_MOST: Final = 256

OTHERS: Final = "Give the positions with --positions FILE."
"""What to do about positions that cannot be used."""


class Motion(NamedTuple):
    """A dataset that moves along an axis, with its sign."""

    key: str
    sign: float


def vectors(file: Hdf5Source, key: str, frames: int) -> NDArray[np.float64]:
    """Translations (frame, 2) or (frame, 3), which may be stored as (axis, frame) or (slow, fast, axis).

    Args:
        file: the file.
        key: of the dataset.
        frames: number of frames, which tells the axes apart where both could count them.

    Raises:
        DataError: it is of another shape.
    """
    values = file.floats(key, [2, 3])
    shape = values.shape
    if values.ndim == 3:
        values = values.reshape(-1, shape[-1])
    if values.shape[0] in (2, 3) and (values.shape[1] not in (2, 3) or values.shape[1] == frames != values.shape[0]):
        values = values.T
    if values.shape[1] not in (2, 3):
        raise DataError(f"{file.where(key)} has shape {shape}; translations are (frame, 3): x, y, z.", remedy=OTHERS)
    return values


def moves(file: Hdf5Source, group: str, *, added: bool = False) -> dict[str, list[Motion]]:
    """The datasets of a group that move along ``x`` and ``y``, by their vectors, else by their names; empty where one is missing.

    Args:
        file: the file.
        group: its key.
        added: whether several may move along one axis, such as a coarse and a fine stage; else there is one for each.
    """
    names = [name for name in file.members(group, _MOST) if _moves(file, f"{group}/{name}")]
    found: dict[str, list[Motion]] = {"x": [], "y": []}
    for name in names if added else ():
        axis, sign = _along(file, f"{group}/{name}", name)
        if axis:
            found[axis].append(Motion(f"{group}/{name}", sign))
    if not (found["x"] and found["y"]) and (pair := position_columns(names)) is not None:
        keys = [f"{group}/{names[place]}" for place in pair]
        found = {axis: [Motion(key, _along(file, key, "")[1])] for axis, key in zip("yx", keys, strict=True)}
    return found if found["x"] and found["y"] else {}


def _moves(file: Hdf5Source, key: str) -> bool:
    return file.is_numbers(key) and file.size_of(key) > 1 and file.text(key, "transformation_type") != "rotation"


def _along(file: Hdf5Source, key: str, name: str) -> tuple[str, float]:
    """Along which axis a dataset moves, and its sign, by its vector, else by its name; nothing for another axis."""
    vector = file.attribute(key, "vector")
    values = np.zeros(0) if vector is None else np.asarray(vector)
    if values.shape == (3,) and values.dtype.kind in "iuf" and np.count_nonzero(values) == 1:
        axis = int(np.flatnonzero(values)[0])
        return "xyz"[axis] if axis < 2 else "", float(np.sign(values[axis]))
    return {"row": "y", "column": "x"}.get(axis_of(name), ""), 1.0


def summed(file: Hdf5Source, motions: Sequence[Motion], unit: str) -> NDArray[np.float64]:
    """Where the motions of an axis lead together, (point,), in a unit; each is in its own, or in this one where it states none.

    Raises:
        DataError: they are of different lengths, or in a unit that is no length.
    """
    total = np.zeros(())
    for one in motions:
        own = file.unit(one.key, unit)
        factor = 1.0 if own == unit else (length_m(own) or np.nan) / (length_m(unit) or np.nan)
        if not np.isfinite(factor):
            raise DataError(f"{file.where(one.key)} is in '{own:.40}', and others of its axis are in '{unit:.40}'.")
        values = np.squeeze(file.floats(one.key, [1, 2, 3, 4])) * (factor * one.sign)
        if total.ndim and values.shape != total.shape:
            raise DataError(f"{file.where(one.key)} has shape {values.shape}, another of its axis {total.shape}.")
        total = total + values
    return np.atleast_1d(total).reshape(-1)


def on_grid(
    rows: NDArray[np.float64], columns: NDArray[np.float64], lengths: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns of all points of a raster, where only those of its two axes are given; else as they are.

    Args:
        rows: (point,) or (axis,).
        columns: the same.
        lengths: of the axes that count frames, the slowest first; of one axis the rows are taken to be the slow one.
    """
    frames = int(np.prod(lengths, dtype=np.int64))
    if len(rows) * len(columns) != frames or len(rows) == len(columns) == frames:
        return rows, columns
    check_declared("The grid of the scan", (frames, 2), 8, None)
    if len(lengths) == 1 or len(rows) == lengths[0]:
        return np.repeat(rows, len(columns)), np.tile(columns, len(rows))
    return np.tile(rows, len(columns)), np.repeat(columns, len(rows))
