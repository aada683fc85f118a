"""Detector pixels added up to larger ones.

In the far field the window in the object becomes smaller, and the object's pixels stay; in the near field the window stays, and
the object's pixels become larger with those of the detector.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.scan.size import followed_probe, with_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.scan.scan import Patterns, Scan

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
    before = scan.size
    mask: NDArray[np.bool_] = np.asarray(_blocks(scan.mask, number).all(axis=(-3, -1)))
    if not mask.any():
        raise DataError(f"{scan.source}: no pixel is good once {number} x {number} are binned.", source="data.bin")
    it, near, guess = scan.geometry, scan.propagation is not None, scan.object_guess
    if guess is not None and near:
        guess = _averaged(guess[: guess.shape[0] // number * number, : guess.shape[1] // number * number], number)
    return replace(
        scan,
        patterns=_Binned(scan.patterns, number, mask),
        positions=scan.positions / number if near else scan.positions + (before // 2 - size // 2),
        bin=number,
        mask=mask,
        probe=None if scan.probe is None else _binned_probe(scan.probe, size, near=near),
        object_guess=guess,
        geometry=None if it is None else replace(it, detector_pixel_size_m=it.detector_pixel_size_m * number),
        notes=(*scan.notes, f"Bin: {number} x {number} pixels of {before} x {before} are added up, {size} x {size} remain."),
    )


def probe_for(scan: Scan, probe: ComplexArray) -> ComplexArray:
    """A probe (mode, M, M) out of another file, for a scan whose patterns were cropped, padded or binned.

    One that belongs to the patterns of the scan's file follows them; any other stays as it is.
    """
    whole, near = scan.size * scan.bin, scan.propagation is not None
    if probe.shape[-1] == scan.size:
        return probe
    followed = followed_probe(probe, scan.stored_size or whole, whole, near=near)
    return _binned_probe(followed, scan.size, near=near) if followed.shape[-1] == whole else followed


def _binned_probe(probe: ComplexArray, size: int, *, near: bool) -> ComplexArray:
    """A probe (mode, M, M) for patterns of ``size`` pixels that were binned; in the near field it keeps its counts."""
    if not near:
        return _middle(probe, size)
    number = probe.shape[-1] // size
    return _averaged(probe, number) * np.asarray(number, dtype=probe.real.dtype)


def _averaged(values: ComplexArray, number: int) -> ComplexArray:
    """The mean of ``number`` x ``number`` neighbors on the last two axes, whose lengths are multiples of it."""
    return np.asarray(_blocks(values, number).mean(axis=(-3, -1)), dtype=values.dtype)


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
