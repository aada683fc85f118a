"""Values as ptypy's ``io.h5rw`` writes them: an attribute ``type`` says what each was, and None is an array of one zero."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ptycho_core.errors import DataError

if TYPE_CHECKING:
    from ptycho_core.formats.hdf5_source import Hdf5Source

__all__ = ["is_array", "is_none", "number", "pair"]


def is_none(file: Hdf5Source, key: str) -> bool:
    """Whether a key is missing, or was None."""
    return not file.has(key) or file.text(key, "type") == "None"


def is_array(file: Hdf5Source, key: str, last: int | None = None) -> bool:
    """Whether a key is a dataset with values, the last axis of which has ``last`` of them; no dict, no list, no None."""
    if is_none(file, key):
        return False
    try:
        shape = file.shape_of(key)
    except DataError:
        return False
    text = math.prod(shape) == 1 and file.words(key) is not None
    return 0 not in shape and not text and (last is None or shape[-1:] == (last,))


def number(file: Hdf5Source, key: str) -> float | None:
    """A number, or one that several equal; None where it is missing or was None.

    Raises:
        DataError: it is something else.
    """
    return None if is_none(file, key) else file.one(key)


def pair(file: Hdf5Source, key: str) -> tuple[float, float] | None:
    """Two numbers, or one for both; None where they are missing or were None.

    Raises:
        DataError: it is something else.
    """
    if is_none(file, key):
        return None
    values = file.array(key, [0, 1]).reshape(-1)
    if values.size not in (1, 2) or values.dtype.kind not in "iuf":
        raise DataError(f"{file.where(key)} has shape {values.shape} and type {values.dtype}; two numbers are expected.")
    return float(values[0]), float(values[-1])
