"""Masks in HDF5: of a frame, or of each; a pixel that is bad in any frame is bad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ptycho_core.formats.hdf5_source import Hdf5Source

__all__ = ["cxi_good", "good_pixels", "zero_is_good"]

_SIGNAL_PRESENT: Final = 0x00001000
"""A bit of a CXI mask that does not make a pixel bad."""

_MOST: Final = 2**26
"""Bytes of masks up to which those of all frames are read; of more only the first is."""

_TOGETHER: Final = 64
"""Masks of frames that are read at once."""


def good_pixels(
    file: Hdf5Source, key: str, shape: tuple[int, int], is_good: Callable[[NDArray[Any]], NDArray[np.bool_]], notes: list[str]
) -> NDArray[np.bool_]:
    """The pixels (row, column) that are good in all frames.

    Args:
        file: the file.
        key: of a mask (row, column), or of one for each frame (…, row, column).
        shape: (rows, columns) of a frame.
        is_good: which values are good.
        notes: what is decided is added.

    Raises:
        DataError: it is of another shape, or no numbers.
    """
    found = file.shape_of(key)
    if found[-2:] != shape or len(found) > 4 or 0 in found:
        raise DataError(
            f"{file.where(key)} has shape {found}, and the frames are {shape[0]} x {shape[1]} pixels.",
            remedy="Correct it in a copy of the file.",
        )
    if len(found) == 2:
        return is_good(file.array(key, [2]))
    masks = file.frames(key, tuple(range(len(found) - 2)))
    number = masks.shape[0]
    if number * shape[0] * shape[1] * masks.dtype.itemsize > _MOST:
        notes.append(f"Mask: {file.where(key)} has shape {found}; only the first of its masks is read.")
        number = 1
    good: NDArray[Any] = is_good(masks.read(slice(0, 1))[0])
    varies = False
    for first in range(0, number, _TOGETHER):
        part = is_good(masks.read(slice(first, min(first + _TOGETHER, number))))
        varies = varies or bool((part != good).any())
        good = good & part.all(axis=0)
    if varies:
        notes.append("Mask: the masks differ from frame to frame; a pixel that is bad in any frame is bad.")
    return good


def zero_is_good(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Good pixels of a mask that flags bad ones."""
    return np.asarray(values == 0)


def cxi_good(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Good pixels of a CXI mask, a field of bits.

    Raises:
        DataError: its values are no whole numbers.
    """
    if values.dtype.kind == "f" and (values < 0).any() | (values != np.rint(values)).any():
        raise DataError(f"A mask of bits of shape {values.shape} holds values of type {values.dtype} that are not whole.")
    good: NDArray[np.bool_] = (values.astype(np.uint64) & ~np.uint64(_SIGNAL_PRESENT)) == 0
    return good
