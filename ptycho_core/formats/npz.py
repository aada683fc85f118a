"""NumPy archives member by member: headers first, values when asked for, never a pickled object."""

from __future__ import annotations

import io
import zipfile
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.files.place import check_free
from ptycho_core.files.whole import replace_file, write_whole
from ptycho_core.formats.guard import check_declared, guarded
from ptycho_core.formats.kinds import ZIP, another_kind, is_zip, kind_of
from ptycho_core.formats.npy import Header, check_plain, read_header, read_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.contents import PatternStream
    from ptycho_core.scan.scan import Steps

__all__ = ["Header", "NpzFile", "is_zip", "stream_npz", "write_npz"]

_LOCAL_HEADER = 30
"""Bytes of a zip member's local header before its name (APPNOTE.TXT 4.3.7)."""

_MOST_MEMBERS: Final = 4096
_SHOWN: Final = 30
_LONGEST_NAME: Final = 80
_LONGEST_TEXT: Final = 2**16
_AGAIN = "Copy or download it again."


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
        self._infos: dict[str, zipfile.ZipInfo] = {}
        if kind_of(path) != ZIP:
            raise another_kind(path, "is not an npz file")
        with guarded(f"{path} is cut off or damaged: it", _AGAIN, kind="npz"), zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            if len(infos) > _MOST_MEMBERS:
                raise DataError(f"{path} lists {len(infos)} arrays; at most {_MOST_MEMBERS} are read.")
            for info in infos:
                self._add(archive, info)

    def _add(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        """Take a member in, after all that can be checked without its values."""
        name = info.filename.removesuffix(".npy")
        what = f"{self.path}: {_quoted(name)}"
        if name in self.headers:
            raise DataError(f"{what} is there twice.", remedy="Give each array another name.")
        with guarded(f"{self.path} is cut off or damaged: {_quoted(name)}", _AGAIN, kind="npz"), archive.open(info) as member:
            header = read_header(member)
        check_plain(what, header)
        if header.size != info.file_size:
            raise DataError(
                f"{what} should hold {header.size} bytes for its shape {header.shape} but has {info.file_size};"
                " the file is damaged."
            )
        if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
            raise DataError(f"{what} is stored as it is, and has {info.compress_size} bytes instead of {info.file_size}.")
        self.headers[name], self._infos[name] = header, info

    def __contains__(self, name: str) -> bool:
        """Whether there is an array of that name."""
        return name in self.headers

    @property
    def names(self) -> str:
        """The names of the arrays, for messages."""
        shown = [_quoted(name) for name in list(self.headers)[:_SHOWN]]
        return ", ".join([*shown, *(["…"] if len(self.headers) > _SHOWN else [])]) or "nothing"

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
            DataError: it is damaged, or much larger than what is stored of it or than the memory there is.
        """
        header, info = self.headers[name], self._infos[name]
        check_declared(f"{self.path}: '{name}'", header.shape, header.dtype.itemsize, info.compress_size)
        what = f"{self.path}: '{name}', shape {header.shape},"
        with guarded(what), zipfile.ZipFile(self.path) as archive, archive.open(info) as member:
            values = read_values(member)
        if (values.shape, values.dtype) != (header.shape, header.dtype):
            raise DataError(f"{self.path} has changed since this job looked at it.", remedy="Start the job again.")
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
        if (length := self.headers[name].dtype.itemsize) > _LONGEST_TEXT:
            raise DataError(f"{self.path}: '{name}' is a text of {length} bytes; at most {_LONGEST_TEXT} are read.")
        with guarded(f"{self.path}: '{name}'"):
            return _string(self.array(name))

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
        with np.errstate(over="ignore"):
            return float(self.array(name).reshape(()))

    def lazy(self, name: str) -> Callable[[], NDArray[Any]]:
        """A function that gives one array: mapped from the file where it is stored as it is, else unpacked whole."""
        info, header = self._infos[name], self.headers[name]
        if info.compress_type != zipfile.ZIP_STORED or 0 in header.shape:
            return lambda: self.array(name)

        def mapped() -> NDArray[Any]:
            with guarded(f"{self.path}: '{name}', shape {header.shape},", _AGAIN):
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


def stream_npz(path: Path, arrays: Mapping[str, NDArray[Any] | PatternStream], progress: Steps | None = None) -> None:
    """Write an archive of any size, whole or not at all: patterns in pieces, and as they are, so that they can be mapped.

    Args:
        path: the file; an existing one is replaced.
        arrays: by name.
        progress: called with how many of how many patterns are written.

    Raises:
        DataError: as ``Patterns.read``.
        OutputError: the file cannot be written; what was there before is untouched.
    """

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, values in arrays.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    if isinstance(values, np.ndarray):
                        np.lib.format.write_array(member, values, allow_pickle=False)
                    else:
                        _write_pieces(member, values, progress)

    replace_file(path, write)


def _write_pieces(member: IO[bytes], stream: PatternStream, progress: Steps | None) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(stream.dtype), "fortran_order": False, "shape": stream.shape}
    np.lib.format.write_array_header_1_0(member, header)
    for _, values in stream.pieces(progress):
        member.write(np.ascontiguousarray(values).data)


def _quoted(name: str) -> str:
    """A name for a message."""
    return f"'{name}'" if len(name) <= _LONGEST_NAME else f"'{name[:_LONGEST_NAME]}…'"


def _string(values: NDArray[Any]) -> str:
    """The text of an array of one; NumPy takes numbers for characters that are none.

    Raises:
        UnicodeError: it is no text.
    """
    if values.dtype.kind == "S":
        return values.tobytes().rstrip(b"\0").decode("utf-8", "replace")
    return values.astype(values.dtype.newbyteorder("<")).tobytes().decode("utf-32-le").rstrip("\0")
