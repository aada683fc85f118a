"""A mask out of a file: npy, npz with the key ``mask``, or TIFF. Its shape is compared before its values are read."""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.errors import DataError
from ptycho_core.formats.guard import guarded
from ptycho_core.formats.kinds import NPY, TIFF, ZIP, another_kind, kind_of
from ptycho_core.formats.npy import NpyFile
from ptycho_core.formats.npz import NpzFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["check_mask_shape", "mask_from_file"]

_KEY = "mask"
_PIXEL: Final = 16
"""Most bytes of a TIFF for a pixel of the mask, beyond `_HEAD`: what is decoded of a larger one has no bound."""

_HEAD: Final = 2**16


def mask_from_file(path: Path, size: int) -> tuple[NDArray[Any], str]:
    """The values of a mask for patterns of ``size`` x ``size`` pixels, and where they are, for messages.

    Raises:
        DataError: no such file, another kind of file, another shape, or it is damaged.
    """
    if not path.exists():
        raise DataError(f"The mask {path} does not exist.", source="data.mask")
    kind = kind_of(path)
    if kind == TIFF:
        return _tiff(path, size), str(path)
    if kind not in (NPY, ZIP):
        raise another_kind(path, f"cannot be read as npy, npz with the key '{_KEY}', or tif")
    file: NpzFile | NpyFile = NpzFile(path) if kind == ZIP else NpyFile(path, _KEY)
    if isinstance(file, NpzFile):
        file.require(_KEY)
    where = f"{path}: '{_KEY}'" if kind == ZIP else str(path)
    check_mask_shape(where, file.headers[_KEY].shape, size)
    return file.array(_KEY), where


def check_mask_shape(where: str, shape: tuple[int, ...], size: int) -> None:
    """Refuse a mask of another shape than (size, size).

    Raises:
        DataError: it is of another.
    """
    if shape != (size, size):
        raise DataError(f"{where} has shape {shape} but the patterns are {size} x {size} pixels.")


def _tiff(path: Path, size: int) -> NDArray[Any]:
    import tifffile

    if (bytes_there := path.stat().st_size) > _HEAD + _PIXEL * size * size:
        raise DataError(f"{path} has {bytes_there} bytes, too many for a mask of {size} x {size} pixels.")
    with guarded(f"{path}", "Store the mask as npy."), _quiet("tifffile"), tifffile.TiffFile(path) as file:
        page = file.pages.first  # to count all pages of a damaged file has no end
        with suppress(IndexError):
            raise DataError(f"{path} has several pages, the second of shape {file.pages[1].shape}; a mask has one.")
        check_mask_shape(str(path), tuple(page.shape), size)
        values: NDArray[Any] = page.asarray()
        return values


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a library from logging what it makes of a damaged file; the error says it."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
