"""Detector pixels added up to larger ones.

In the far field the window in the object becomes smaller, and the object's pixels stay; in the near field the window stays, and
the object's pixels become larger with those of the detector.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.scan.blocks import averaged, blocks
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
    before = scan.size
    mask: NDArray[np.bool_] = np.asarray(blocks(scan.mask, number).all(axis=(-3, -1)))
    if not mask.any():
        raise DataError(f"{scan.source}: no pixel is good once {number} x {number} are binned.", source="data.bin")
    it, near, guess = scan.geometry, scan.propagation is not None, scan.object_guess
    if guess is not None and near:
        guess = averaged(guess, number)
    return replace(
        scan,
        patterns=_Binned(scan.patterns, number, mask),
        positions=scan.positions / number if near else scan.positions + (before // 2 - size // 2),
        bin=number,
        mask=mask,
        background=None if scan.background is None else np.where(mask, blocks(scan.background, number).sum(axis=(-3, -1)), 0.0),
        probe=None if scan.probe is None else _binned_probe(scan.probe, size, near=near),
        object_guess=guess,
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
    size, near = scan.size - 2 * scan.margin, scan.propagation is not None
    whole = size * scan.bin
    if probe.shape[-1] not in (size, scan.size):
        probe = followed_probe(probe, scan.stored_size or whole, whole, near=near)
        probe = _binned_probe(probe, size, near=near) if probe.shape[-1] == whole else probe
    return followed_probe(probe, size, scan.size, near=near) if scan.margin else probe


def _binned_probe(probe: ComplexArray, size: int, *, near: bool) -> ComplexArray:
    """A probe (mode, M, M) for patterns of ``size`` pixels that were binned; in the near field it keeps its counts."""
    if not near:
        return _middle(probe, size)
    number = probe.shape[-1] // size
    return averaged(probe, number) * np.asarray(number, dtype=probe.real.dtype)


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
        found: NDArray[np.float32] = blocks(self._stored.read(frames), self._number).sum(axis=(-3, -1), dtype=np.float32)
        found[:, ~self._mask] = 0
        return found
