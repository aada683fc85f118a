"""MATLAB's files of version 5, read with care: numbers and the fields of structs, one variable at a time.

A file is a head of 128 bytes and then elements, each with its type and length: a matrix, or one that is compressed. A matrix has
flags, dimensions and a name, and then numbers, or the matrices of a struct's fields ("MAT-File Format", MathWorks). SciPy reads
these files too, but what is damaged can end the process.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.guard import check_declared, guarded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Mat5File"]

_HEAD: Final = 128
_ORDER_AT: Final = 126
_MATRIX: Final = 14
_COMPRESSED: Final = 15
_MOST_VARIABLES: Final = 4096
_ENOUGH: Final = 1024
"""Bytes at the beginning of a matrix in which its name is."""

_STORED: Final = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types in which numbers are stored, which may be smaller than those of their class."""

_CLASSES: Final = {
    6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8",
}  # fmt: skip
_STRUCT: Final = 2
_COMPLEX: Final = 0x0800


@dataclass(frozen=True)
class _Variable:
    """Where a variable lies in the file."""

    place: int
    size: int
    compressed: bool


class Mat5File:
    """The variables of a file of version 5.

    Args:
        path: the file.

    Raises:
        DataError: it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._variables: dict[str, _Variable] = {}
        with guarded(f"{path} is damaged: it", kind="MATLAB data of version 5"):
            self._list()

    def _list(self) -> None:
        with self.path.open("rb") as file:
            head = file.read(_HEAD)
            self._order = "<" if head[_ORDER_AT:] == b"IM" else ">"
            at = _HEAD
            while len(tag := file.read(8)) == 8 and len(self._variables) < _MOST_VARIABLES:
                kind, size = struct.unpack(f"{self._order}2I", tag)
                if kind in (_MATRIX, _COMPRESSED):
                    found = _Variable(at + 8, size, kind == _COMPRESSED)
                    start = file.read(min(size, _ENOUGH))
                    if (name := self._name(start, found)) is not None:
                        self._variables[name] = found
                at += 8 + size
                file.seek(at)

    def _name(self, start: bytes, found: _Variable) -> str | None:
        """The name of a variable whose matrix begins so; None where it has none."""
        if found.compressed:
            start = zlib.decompressobj().decompress(start, _ENOUGH)[8:]
        parts = list(islice(self._elements(start), 3))
        return parts[2][1].decode("latin-1") if len(parts) == 3 else None

    def _elements(self, content: bytes) -> Iterator[tuple[int, bytes]]:
        """Type and content of each element that is whole."""
        at = 0
        while at + 8 <= len(content):
            kind, size = struct.unpack_from(f"{self._order}2I", content, at)
            if kind >> 16:  # up to four bytes lie in the place of the length
                kind, size, begin, after = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            else:
                begin, after = at + 8, at + 8 + size + -size % 8
            if begin + size > len(content):
                return
            yield kind, content[begin : begin + size]
            at = after

    def __contains__(self, name: str) -> bool:
        """Whether there is a variable of that name; of ``struct.field`` whether that field is there."""
        first, _, rest = name.partition(".")
        return first in self._variables and (not rest or self._find(name) is not None)

    def values(self, name: str) -> NDArray[Any]:
        """The numbers of a variable or a field ``struct.field``, with axes as in MATLAB; at least two.

        Raises:
            DataError: it is missing, no numbers, or damaged.
        """
        found = self._find(name) if name.partition(".")[0] in self._variables else None
        if found is None:
            raise DataError(f"{self.path} has no variable '{name}' that holds numbers.")
        with guarded(f"{self.path}: '{name}'"):
            return self._numbers(found)

    def _find(self, name: str) -> bytes | None:
        """The matrix of a variable or field; None where there is none."""
        first, *fields = name.split(".")
        with guarded(f"{self.path}: '{name}'"):
            content: bytes | None = self._content(first)
            for field in fields:
                content = None if content is None else self._field(content, field)
        return content

    def _content(self, name: str) -> bytes:
        found = self._variables[name]
        what = f"{self.path}: '{name}'"
        with self.path.open("rb") as file:
            file.seek(found.place)
            if not found.compressed:
                return file.read(found.size)
            packed = file.read(found.size)
        unpacking = zlib.decompressobj()
        kind, size = struct.unpack(f"{self._order}2I", unpacking.decompress(packed, 8))
        if kind != _MATRIX:
            raise DataError(f"{what} is no matrix.")
        check_declared(what, (size,), 1, len(packed))
        return unpacking.decompress(unpacking.unconsumed_tail, size) if size else b""

    def _field(self, content: bytes, wanted: str) -> bytes | None:
        """The matrix of a field of a struct of one element."""
        parts = self._elements(content)
        head = [part for _, part in islice(parts, 5)]
        if len(head) < 5 or head[0][:1] == b"" or self._class(head[0])[0] != _STRUCT:
            return None
        length = struct.unpack(f"{self._order}i", head[3][:4])[0]
        if length < 1 or math.prod(self._dimensions(head[1])) != 1:
            return None
        names = [head[4][at : at + length].split(b"\0")[0].decode("latin-1") for at in range(0, len(head[4]), length)]
        for name, (kind, part) in zip(names, parts, strict=False):
            if name == wanted:
                return part if kind == _MATRIX and part else None
        return None

    def _class(self, flags: bytes) -> tuple[int, bool]:
        """Class of a matrix, and whether it is complex."""
        word = struct.unpack(f"{self._order}I", flags[:4])[0]
        return word & 0xFF, bool(word & _COMPLEX)

    def _dimensions(self, part: bytes) -> tuple[int, ...]:
        return tuple(int(one) for one in np.frombuffer(part, f"{self._order}i4"))

    def _numbers(self, content: bytes) -> NDArray[Any]:
        """The numbers of a matrix.

        Raises:
            ValueError: it holds something else, or another number of them than its dimensions say.
        """
        parts = list(islice(self._elements(content), 5))
        kind, paired = self._class(parts[0][1])
        if kind not in _CLASSES or len(parts) < (5 if paired else 4):
            raise ValueError("it holds no numbers, or is cut off")
        shape = self._dimensions(parts[1][1])
        found = [self._column(*part).astype(_CLASSES[kind]) for part in parts[3 : 5 if paired else 4]]
        if min(shape, default=0) < 1 or any(len(one) != math.prod(shape) for one in found):
            raise ValueError(f"it should hold numbers of shape {shape}, and holds {len(found[0])}")
        values = found[0] + np.complex64(1j) * found[1] if paired else found[0]
        return values.reshape(shape, order="F")

    def _column(self, kind: int, part: bytes) -> NDArray[Any]:
        if kind not in _STORED:
            raise ValueError(f"its numbers are of type {kind}, which is not known")
        return np.frombuffer(part, np.dtype(_STORED[kind]).newbyteorder(self._order))  # type: ignore[arg-type]
