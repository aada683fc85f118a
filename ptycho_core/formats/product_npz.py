"""The NumPy side of files with objects: an npz by its keys, an npy as the one array that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.kinds import NPY, ZIP, another_kind, kind_of
from ptycho_core.formats.npy import Header, NpyFile
from ptycho_core.formats.npz import NpzFile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["NpzReader"]


class NpzReader:
    """Reads one archive, array by array; every complaint names the file, the key and the shape.

    Args:
        path: the file.
        plain: what the array is called that an ``.npy`` holds.

    Raises:
        DataError: it is neither npz nor npy, or damaged.
    """

    def __init__(self, path: Path, plain: str) -> None:
        self.path = path
        kind = kind_of(path)
        if kind not in (NPY, ZIP):
            raise another_kind(path, "cannot be read as npz or npy")
        self._file = NpyFile(path, plain) if kind == NPY else NpzFile(path)

    def __enter__(self) -> Self:
        """The reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left open between two arrays."""

    def __contains__(self, key: str) -> bool:
        """Whether the file has an array of that name."""
        return key in self._file

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of an array, whose values are not read."""
        return self._header(key).shape

    def array(self, key: str, dimensions: Iterable[int]) -> NDArray[Any]:
        """The numeric array ``key``, which must have one of the numbers of dimensions.

        Raises:
            DataError: no numbers, another number of dimensions, values that are not finite, or a damaged file.
        """
        header = self._header(key)
        if header.dtype.kind not in "iufcb":
            raise DataError(f"{self.path}: '{key}' is of type {header.dtype}, not numbers.")
        if len(header.shape) not in (allowed := tuple(dimensions)):
            wanted = " or ".join(str(number) for number in allowed)
            raise DataError(f"{self.path}: '{key}' has shape {header.shape}; {wanted} dimensions are expected.")
        values = self._file.array(key)
        if not np.isfinite(values).all():
            raise DataError(f"{self.path}: '{key}' of shape {values.shape} holds values that are not finite.")
        return values

    def _header(self, key: str) -> Header:
        if key not in self:
            raise DataError(f"{self.path} has no key '{key}'.")
        return self._file.headers[key]

    def number(self, key: str) -> float | None:
        """A real number, None if there is no such key.

        Raises:
            DataError: it is something else.
        """
        if key not in self:
            return None
        values = self.array(key, [0, 1])
        if values.size != 1 or np.iscomplexobj(values):
            raise DataError(f"{self.path}: '{key}' must be one number; it has shape {values.shape} and type {values.dtype}.")
        with np.errstate(over="ignore"):
            return float(values.reshape(()))
