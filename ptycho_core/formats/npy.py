"""One NumPy array in the npy format: its header, and a file of it. Never a pickled object."""

from __future__ import annotations

import math
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.guard import check_declared, guarded
from ptycho_core.formats.kinds import NPY, another_kind, kind_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Header", "NpyFile", "check_plain", "read_header", "read_values"]


class Header(NamedTuple):
    """What is known of an array without reading its values; ``offset`` is the length of its own header in bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int

    @property
    def size(self) -> int:
        """Bytes of the array and its header."""
        return self.offset + self.dtype.itemsize * math.prod(self.shape)


class NpyFile:
    """The array of an ``.npy``, read as an archive of one.

    Args:
        path: the file; only its header is read here.
        name: what the array is called.

    Raises:
        DataError: the file is no npy, is cut off or damaged, or holds pickled objects.
    """

    def __init__(self, path: Path, name: str) -> None:
        if kind_of(path) != NPY:
            raise another_kind(path, "is not an npy file")
        self.path, self._stored = path, path.stat().st_size
        with guarded(f"{path}", "Copy or download it again.", kind="npy"), path.open("rb") as file:
            header = read_header(file)
        check_plain(f"{path}", header)
        if header.size > self._stored:
            raise DataError(f"{path} should hold {header.size} bytes for its shape {header.shape} but has {self._stored}.")
        self.headers = {name: header}

    def __contains__(self, name: str) -> bool:
        """Whether the array is called so."""
        return name in self.headers

    def array(self, name: str) -> NDArray[Any]:
        """The array, whole.

        Raises:
            DataError: it is damaged, or does not fit into memory.
        """
        header = self.headers[name]
        check_declared(f"{self.path}", header.shape, header.dtype.itemsize, self._stored)
        with guarded(f"{self.path}, shape {header.shape},"), self.path.open("rb") as file:
            return read_values(file)


def read_header(member: IO[bytes]) -> Header:
    """Header of an array in the npy format, from the beginning of a stream.

    Raises:
        ValueError: it is none, or of a version that is not read, or its shape is none. NumPy raises others too.
    """
    version = np.lib.format.read_magic(member)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of npy version {version[0]}.{version[1]}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(member)
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"the shape {shape} is none")
    return Header(shape, dtype, fortran, member.tell())


def read_values(member: IO[bytes]) -> NDArray[Any]:
    """The array that a stream begins with; NumPy raises whatever it likes."""
    values: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
    return values


def check_plain(what: str, header: Header) -> None:
    """Refuse pickled objects.

    Raises:
        DataError: the array holds them.
    """
    if header.dtype.hasobject:
        raise DataError(
            f"{what} cannot be read as npz or npy: it holds pickled objects, shape {header.shape}, which are never loaded.",
            remedy="Store it as a plain array of numbers.",
        )
