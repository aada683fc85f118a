"""What holds for each pixel of a pattern (a mask, a dark) out of a file: npy, npz, or TIFF.

Its shape is compared before its values are read.
"""

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

__all__ = ["check_pixels", "pixels_from_file", "quiet"]

_PIXEL: Final = 16
"""Most bytes of a TIFF for a pixel, beyond `_HEAD`: what is decoded of a larger one has no bound."""

_HEAD: Final = 2**16


def pixels_from_file(path: Path, what: str, shape: tuple[int, int], setting: str | None = None) -> tuple[NDArray[Any], str]:
    """The values for each pixel of a stored frame, and where they are, for messages.

    Args:
        path: of the file.
        what: ``mask``, ``dark`` or ``background``: the key in an npz, and the setting, if ``setting`` is None.
        shape: (rows, columns) of a frame.
        setting: which names the file.

    Raises:
        DataError: no such file, another kind of file, another shape, or it is damaged.
    """
    if not path.exists():
        raise DataError(f"The {what} {path} does not exist.", source=f"data.{setting or what}")
    kind = kind_of(path)
    if kind == TIFF:
        return _tiff(path, shape), str(path)
    if kind not in (NPY, ZIP):
        raise another_kind(path, f"cannot be read as npy, npz with the key '{what}', or tif", "Store it with numpy.save.")
    file: NpzFile | NpyFile = NpzFile(path) if kind == ZIP else NpyFile(path, what)
    if isinstance(file, NpzFile):
        file.require(what)
    where = f"{path}: '{what}'" if kind == ZIP else str(path)
    check_pixels(where, file.headers[what].shape, shape)
    return file.array(what), where


def check_pixels(where: str, found: tuple[int, ...], shape: tuple[int, int]) -> None:
    """Refuse an array of another shape than that of a frame.

    Raises:
        DataError: it is of another.
    """
    if found != shape:
        raise DataError(f"{where} has shape {found} but the patterns are {shape[0]} x {shape[1]} pixels.")


def _tiff(path: Path, shape: tuple[int, int]) -> NDArray[Any]:
    import tifffile

    if (bytes_there := path.stat().st_size) > _HEAD + _PIXEL * shape[0] * shape[1]:
        raise DataError(f"{path} has {bytes_there} bytes, too many for {shape[0]} x {shape[1]} pixels.")
    with guarded(f"{path}", "Store it as npy."), quiet("tifffile"), tifffile.TiffFile(path) as file:
        page = file.pages.first  # to count all pages of a damaged file has no end
        with suppress(IndexError):
            raise DataError(f"{path} has several pages, the second of shape {file.pages[1].shape}; one is expected.")
        check_pixels(str(path), tuple(page.shape), shape)
        values: NDArray[Any] = page.asarray()
        return values


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Keep a library from logging what it makes of a damaged file; the error says it."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
