"""NumPy archives member by member: headers first, values when asked for, never a pickled object."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.files.place import check_free
from ptycho_core.files.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Header", "NpzFile", "is_zip", "read_header", "write_npz"]

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError)
_LOCAL_HEADER = 30
"""Bytes of a zip member's local header before its name (APPNOTE.TXT 4.3.7)."""


class Header(NamedTuple):
    """What is known of an array without reading its values; ``offset`` is the length of its own header in bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int


def is_zip(path: Path) -> bool:
    """Whether a file starts as a zip archive does."""
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError:
        return False


class NpzFile:
    """The arrays of a NumPy archive.

    Args:
        path: the file; only its directory and the arrays' headers are read here.

    Raises:
        DataError: the file is no archive, is cut off or damaged, or holds pickled objects.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.headers: dict[str, Header] = {}
        if not is_zip(path):
            raise DataError(f"{path} is not an npz file.", remedy="'ptycho inspect --help' lists the formats that are read.")
        try:
            with zipfile.ZipFile(path) as archive:
                self._infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                for name, info in self._infos.items():
                    if info.filename.endswith(".npy"):
                        with archive.open(info) as member:
                            self.headers[name] = read_header(member)
        except _DAMAGE as error:
            raise DataError(f"{path} is cut off or damaged: {error}.", remedy="Copy or download it again.") from error
        for name, header in self.headers.items():
            if header.dtype.hasobject:
                raise DataError(
                    f"{path}: '{name}' holds pickled objects, shape {header.shape}, which are never loaded.",
                    remedy="Store it as a plain array of numbers.",
                )
            expected = header.offset + header.dtype.itemsize * int(np.prod(header.shape, dtype=object))
            if expected != self._infos[name].file_size:
                raise DataError(
                    f"{path}: '{name}' should hold {expected} bytes for its shape {header.shape} but has"
                    f" {self._infos[name].file_size}; the file is damaged."
                )

    def __contains__(self, name: str) -> bool:
        """Whether there is an array of that name."""
        return name in self.headers

    @property
    def names(self) -> str:
        """The names of the arrays, for messages."""
        return ", ".join(f"'{name}'" for name in self.headers) or "nothing"

    def require(self, *names: str) -> Header:
        """Header of the first of ``names`` that exists.

        Raises:
            DataError: none of them does; the names that exist are listed.
        """
        for name in names:
            if name in self.headers:
                return self.headers[name]
        wanted = " or ".join(f"'{name}'" for name in names)
        raise DataError(f"{self.path} has no key {wanted}; it holds {self.names}.")

    def array(self, name: str) -> NDArray[Any]:
        """One array, whole.

        Raises:
            DataError: it is damaged.
        """
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self._infos[name]) as member:
                values: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        except (*_DAMAGE, OSError) as error:
            raise DataError(f"{self.path}: '{name}', shape {self.headers[name].shape}, cannot be read: {error}.") from error
        return values

    def text(self, name: str) -> str | None:
        """A string stored as a scalar array, or None if there is no such key.

        Raises:
            DataError: the key holds something else.
        """
        if name not in self:
            return None
        if self.headers[name].dtype.kind not in "US" or self.headers[name].shape != ():
            header = self.headers[name]
            raise DataError(f"{self.path}: '{name}' must be one string; it has shape {header.shape} and type {header.dtype}.")
        value = self.array(name)[()]
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def number(self, name: str) -> float | None:
        """A scalar number, or None if there is no such key.

        Raises:
            DataError: the key holds something else.
        """
        if name not in self:
            return None
        header = self.headers[name]
        if header.dtype.kind not in "biuf" or int(np.prod(header.shape, dtype=object)) != 1:
            raise DataError(f"{self.path}: '{name}' must be one number; it has shape {header.shape} and type {header.dtype}.")
        return float(self.array(name).reshape(()))

    def lazy(self, name: str) -> Callable[[], NDArray[Any]]:
        """A function that gives one array: mapped from the file where it is stored as it is, else unpacked whole."""
        info, header = self._infos[name], self.headers[name]
        if info.compress_type != zipfile.ZIP_STORED or 0 in header.shape:
            return lambda: self.array(name)

        def mapped() -> NDArray[Any]:
            with self.path.open("rb") as file:
                file.seek(info.header_offset)
                local = file.read(_LOCAL_HEADER)
            names = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
            start = info.header_offset + _LOCAL_HEADER + names + header.offset
            order = "F" if header.fortran else "C"
            return np.memmap(self.path, dtype=header.dtype, mode="r", offset=start, shape=header.shape, order=order)  # type: ignore[call-overload,no-any-return]

        return mapped


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]], *, overwrite: bool = False) -> None:
    """Write a compressed archive, whole or not at all.

    Raises:
        OutputError: the file exists and ``overwrite`` is not given, or its folder cannot be written.
    """
    check_free(path, overwrite=overwrite)
    archive = io.BytesIO()
    np.savez_compressed(archive, allow_pickle=False, **arrays)
    write_whole(path, archive.getbuffer())


def read_header(member: IO[bytes]) -> Header:
    """Header of an array in the npy format, from the beginning of a stream.

    Raises:
        ValueError: it is none, or of a version that is not read.
    """
    version = np.lib.format.read_magic(member)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of npy version {version[0]}.{version[1]}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(member)
    return Header(shape, dtype, fortran, member.tell())
