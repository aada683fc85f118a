"""What kind of file a file is, by its first bytes: for what is read, and for saying what another file is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ptycho_core.errors import DataError
from ptycho_core.files.plain import plain_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["HDF5", "LISTED", "MATLAB", "NPY", "TIFF", "ZIP", "another_kind", "is_hdf5", "is_zip", "kind_of"]

HDF5: Final = "HDF5"
NPY: Final = "npy (one NumPy array)"
ZIP: Final = "zip (npz is one)"
TIFF: Final = "TIFF"
MATLAB: Final = "MATLAB data (version 5)"
_TEXT: Final = "text"
_UNKNOWN: Final = "data of a kind that is not known here"

_FIRST_BYTES: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x89HDF\r\n\x1a\n", HDF5),
    (b"\x93NUMPY", NPY),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"II+\x00", TIFF),
    (b"MM\x00+", TIFF),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"\x1f\x8b", "gzip, compressed data"),
    (b"BZh", "bzip2, compressed data"),
    (b"\xfd7zXZ\x00", "xz, compressed data"),
    (b"\x28\xb5\x2f\xfd", "zstd, compressed data"),
    (b"7z\xbc\xaf\x27\x1c", "7z, compressed data"),
    (b"Rar!", "RAR, compressed data"),
    (b"MATLAB 5.0 MAT-file", MATLAB),
    (b"SIMPLE  =", "FITS"),
    (b"###CBF", "CBF"),
    (b"CDF\x01", "NetCDF"),
    (b"CDF\x02", "NetCDF"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"%PDF", "PDF"),
    *((bytes((0x80, version)), "a Python pickle, which is never loaded") for version in range(2, 6)),
)
"""How files of each kind begin; the first that fits counts."""

LISTED: Final = "'ptycho formats' lists what is read."

_WAYS_ON: Final = {
    "gzip, compressed data": "Unpack it first.",
    "bzip2, compressed data": "Unpack it first.",
    "xz, compressed data": "Unpack it first.",
    "zstd, compressed data": "Unpack it first.",
    "7z, compressed data": "Unpack it first.",
    "RAR, compressed data": "Unpack it first.",
    "a Python pickle, which is never loaded": "Store its arrays with numpy.savez.",
}
_LATER: Final = (512, 1024, 2048, 4096)
"""Where HDF5 may begin too, after a block of the user's own, as MATLAB 7.3 writes it."""


def kind_of(path: Path) -> str:
    """What a file is, in a few words.

    Raises:
        DataError: it does not exist, is no plain file, or cannot be read.
    """
    plain_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(max(_LATER) + 8)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not start:
        return "nothing: it is empty"
    for first, kind in _FIRST_BYTES:
        if start.startswith(first):
            return kind
    if any(start.startswith(_FIRST_BYTES[0][0], place) for place in _LATER):
        return HDF5
    if start[257:262] == b"ustar":
        return "tar, several files in one"
    return _TEXT if _is_text(start) else _UNKNOWN


def is_zip(path: Path) -> bool:
    """Whether a file begins as a zip archive does; False for one that cannot be read."""
    return _is(path, ZIP)


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does; False for one that cannot be read."""
    return _is(path, HDF5)


def another_kind(path: Path, said: str, remedy: str = LISTED) -> DataError:
    """The error for a file of another kind.

    Args:
        path: the file.
        said: what it is not, to follow its name, such as ``is not an npz file``.
        remedy: what to do where nothing better is known for what it is.
    """
    kind = kind_of(path)
    return DataError(f"{path} {said}: it holds {kind}.", remedy=_WAYS_ON.get(kind, remedy))


def _is(path: Path, kind: str) -> bool:
    try:
        return kind_of(path) == kind
    except DataError:
        return False


def _is_text(start: bytes) -> bool:
    """Whether bytes are text in UTF-8, which may be cut inside its last character."""
    if b"\x00" in start:
        return False
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        return len(start) > max(_LATER) and error.start > len(start) - 4
    return True
