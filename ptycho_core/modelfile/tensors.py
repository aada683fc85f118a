"""Arrays as safetensors and back; complex arrays travel as pairs of real numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.modelfile.text import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Layout", "decode", "encode", "layouts"]

_STORED = {
    "float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
_PARTS = {"complex64": "float32", "complex128": "float64"}
_HEADER_LENGTH = 8
"""Bytes of the number that says how long the header of a safetensors file is."""


class Layout(NamedTuple):
    """Type and shape of a tensor: ``dtype`` as NumPy names it, of the array itself and not of its stored form."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"

    @staticmethod
    def known(dtype: str) -> bool:
        """Whether a model file can hold arrays of that type."""
        return dtype in _STORED or dtype in _PARTS

    @property
    def stored(self) -> tuple[str, tuple[int, ...]]:
        """As it stands in safetensors: a complex array has a last axis of 2, real and imaginary."""
        if self.dtype in _PARTS:
            return _STORED[_PARTS[self.dtype]], (*self.shape, 2)
        return _STORED[self.dtype], self.shape

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def layouts(arrays: Mapping[str, NDArray[Any]], where: str) -> dict[str, Layout]:
    """The layout of each array, sorted by name.

    Raises:
        DataError: an array is of a type that a model file cannot hold.
    """
    found = {}
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        if not Layout.known(array.dtype.name):
            kinds = ", ".join((*_STORED, *_PARTS))
            raise DataError(f"{where}: tensor '{name}' is of type {array.dtype}; a model file holds {kinds}.")
        found[name] = Layout(array.dtype.name, tuple(array.shape))
    return found


def encode(arrays: Mapping[str, NDArray[Any]], where: str) -> bytes:
    """Arrays as safetensors: little-endian, rows first; the same arrays give the same bytes.

    Args:
        arrays: by name.
        where: what is to be written, for messages.

    Raises:
        DataError: an array holds values that are not finite, or is of a type that a model file cannot hold.
    """
    from safetensors.numpy import save

    table = layouts(arrays, where)
    _check_finite(arrays, where)
    plain = {}
    for name, layout in table.items():
        # The library takes the memory as it lies, so it has to lie rows first; asarray keeps the shape of a scalar.
        array = np.asarray(arrays[name], dtype=layout.dtype, order="C")
        part = _PARTS.get(layout.dtype)
        plain[name] = array if part is None else np.stack([array.real, array.imag], axis=-1)
    return save(plain)


def decode(data: bytes, table: Mapping[str, Layout], where: str) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file, which must be exactly those of a table.

    Args:
        data: the file.
        table: layout of each array by name.
        where: file and member, for messages.

    Returns:
        Arrays by name, in the order of the table, finite, writable.

    Raises:
        DataError: one is missing, extra, of another shape or type, not finite, or the file is of another length.
    """
    _check_header(data, table, where)
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        stored = load(data)
    except SafetensorError as error:
        raise DataError(f"{where} is damaged: {error}.") from error
    arrays: dict[str, NDArray[Any]] = {}
    for name, layout in table.items():
        own = np.array(stored[name])  # a copy: aligned memory that may be written
        arrays[name] = own.view(layout.dtype).reshape(layout.shape)
    _check_finite(arrays, where)
    return arrays


def _check_header(data: bytes, table: Mapping[str, Layout], where: str) -> None:
    length = int.from_bytes(data[:_HEADER_LENGTH], "little")
    if len(data) < _HEADER_LENGTH or length > len(data) - _HEADER_LENGTH:
        raise DataError(f"{where} is no safetensors file: its header declares {length} bytes, the member has {len(data)}.")
    header = parse_json(data[_HEADER_LENGTH : _HEADER_LENGTH + length], f"{where}: the header")
    header.pop("__metadata__", None)
    missing, extra = [name for name in table if name not in header], [name for name in header if name not in table]
    if missing:
        raise DataError(f"{where}: tensor '{missing[0]}', {table[missing[0]]}, is in the manifest but missing here.")
    if extra:
        raise DataError(f"{where}: tensor '{extra[0]}' is extra: the manifest has none of that name.")
    for name, layout in table.items():
        entry = header[name] if isinstance(header[name], dict) else {}
        kind, shape = layout.stored
        if entry.get("shape") != list(shape):
            raise DataError(f"{where}: tensor '{name}' has shape {entry.get('shape')} here, the manifest asks for {list(shape)}.")
        if entry.get("dtype") != kind:
            raise DataError(f"{where}: tensor '{name}' has type {entry.get('dtype')} here, the manifest asks for {kind}.")
    expected = _HEADER_LENGTH + length + sum(layout.size for layout in table.values())
    if expected != len(data):
        raise DataError(f"{where} has {len(data)} bytes; its header and the shapes of its tensors make {expected}.")


def _check_finite(arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    """Refuse values that are not finite, naming the tensor."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            count = int((~np.isfinite(array)).sum())
            raise DataError(f"{where}: tensor '{name}' of shape {array.shape} holds {count} value(s) that are not finite.")
