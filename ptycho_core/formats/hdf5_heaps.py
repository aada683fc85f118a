"""Where HDF5 keeps texts of any length: heaps, a damaged one of which would keep its library busy without end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ptycho_core.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_heaps"]

_MOST: Final = 2**24
"""Bytes of a file that are looked through: heaps lie among what is written first."""

_START: Final = b"GCOL\x01\x00\x00\x00"
_HEAD: Final = 16
_LEAST: Final = 4096


def check_heaps(path: Path) -> None:
    """Refuse a file with a heap in which something has no length, over which HDF5 never comes.

    Raises:
        DataError: it has one.
    """
    with path.open("rb") as file:
        data = file.read(_MOST)
    place = data.find(_START)
    while place >= 0:
        size = int.from_bytes(data[place + 8 : place + _HEAD], "little")
        if size >= _LEAST and _stands_still(data, place + _HEAD, place + size):
            raise DataError(f"{path} is damaged: the texts in it cannot be read.", remedy="Copy or download it again.")
        place = data.find(_START, place + 1)


def _stands_still(data: bytes, first: int, end: int) -> bool:
    """Whether the way from object to object of a heap ends at one of length 0 that is free space."""
    while first + _HEAD <= min(end, len(data)):
        index = int.from_bytes(data[first : first + 2], "little")
        size = int.from_bytes(data[first + 8 : first + _HEAD], "little")
        step = _HEAD + (size + 7) // 8 * 8 if index else size
        if step == 0:
            return True
        first += step
    return False
