"""Detector pixels added up to larger ones: the window in the object becomes smaller, the object's pixels stay."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.scan.size import followed_probe, with_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.scan.scan import Geometry, Patterns, Scan

    ComplexArray = NDArray[np.complexfloating[Any, Any]]

__all__ = ["probe_for", "with_bin"]


def with_bin(scan: Scan, number: int) -> Scan:
    """The scan with ``number`` x ``number`` detector pixels added up to one; a pixel is good where all of them are.

    The patterns are cut to a multiple first; zero frequency stays in the pixel ``[N//2, N//2]``.

    Raises:
        DataError: no pixel is left, or none that is good.
    """
    if number == 1:
        return scan
    size = scan.size // number
    if size == 0:
        raise DataError(f"{scan.source}: patterns of {scan.size} pixels cannot be binned by {number}.", source="data.bin")
    scan = with_size(scan, size * number)
    before, first = scan.size, scan.size // 2 - size // 2
    mask: NDArray[np.bool_] = np.asarray(_blocks(scan.mask, number).all(axis=(-3, -1)))
    if not mask.any():
        raise DataError(f"{scan.source}: no pixel is good once {number} x {number} are binned.", source="data.bin")
    it = scan.geometry
    return replace(
        scan,
        patterns=_Binned(scan.patterns, number, mask),
        positions=scan.positions + first,
        bin=number,
        mask=mask,
        background=None if scan.background is None else np.where(mask, _blocks(scan.background, number).sum(axis=(-3, -1)), 0.0),
        probe=None if scan.probe is None else _middle(scan.probe, size),
        geometry=None if it is None else _coarser(it, number),
        notes=(*scan.notes, f"Bin: {number} x {number} pixels of {before} x {before} are added up, {size} x {size} remain."),
    )


def _coarser(it: Geometry, number: int) -> Geometry:
    width = it.detector_pixel_width_m
    return replace(
        it,
        detector_pixel_size_m=it.detector_pixel_size_m * number,
        detector_pixel_width_m=None if width is None else width * number,
    )


def probe_for(scan: Scan, probe: ComplexArray) -> ComplexArray:
    """A probe (mode, M, M) out of another file, for a scan whose patterns were cropped, padded or binned.

    One that belongs to the patterns of the scan's file follows them; any other stays as it is.
    """
    whole = scan.size * scan.bin
    if probe.shape[-1] == scan.size:
        return probe
    followed = followed_probe(probe, scan.stored_size or whole, whole)
    return _middle(followed, scan.size) if followed.shape[-1] == whole else followed


def _middle(probe: ComplexArray, size: int) -> ComplexArray:
    """The middle (mode, size, size) of a probe, pixel ``[M // 2]`` becoming pixel ``[size // 2]``."""
    first = probe.shape[-1] // 2 - size // 2
    return np.ascontiguousarray(probe[:, first : first + size, first : first + size])


class _Binned:
    """Patterns binned; see ``ptycho_core.scan.scan.Patterns``."""

    def __init__(self, stored: Patterns, number: int, mask: NDArray[np.bool_]) -> None:
        self._stored, self._number, self._mask = stored, number, mask
        self.shape: tuple[int, int, int] = (len(stored), mask.shape[0], mask.shape[1])
        self.dtype = stored.dtype

    def __len__(self) -> int:
        return len(self._stored)

    def read(self, frames: NDArray[np.integer[Any]] | slice) -> NDArray[np.float32]:
        found: NDArray[np.float32] = _blocks(self._stored.read(frames), self._number).sum(axis=(-3, -1), dtype=np.float32)
        found[:, ~self._mask] = 0
        return found


def _blocks(values: NDArray[Any], number: int) -> NDArray[Any]:
    """(…, row, in row, column, in column)."""
    rows, columns = (length // number for length in values.shape[-2:])
    return values.reshape(*values.shape[:-2], rows, number, columns, number)
