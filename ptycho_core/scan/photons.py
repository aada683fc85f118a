"""Patterns in units of their own, brought to counts by the mean number of photons in one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.scan.scan import Patterns, Scan, mean_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["with_photons"]


def with_photons(scan: Scan, photons: float, why: str) -> Scan:
    """The scan with patterns of so many counts on average, and a probe that belongs to them as it did before.

    The patterns are read once. A probe in the counts of the stored patterns is multiplied by the root of the same factor, so that
    the object stays as it is; any other probe finds its scale later.

    Args:
        scan: as its file is read.
        photons: mean over the frames of the counts in good pixels, above 0.
        why: who states it, for the notes.

    Raises:
        DataError: the patterns hold no counts, or as ``Patterns.read``.
    """
    stored = mean_counts(scan)
    if not stored > 0:
        raise DataError(f"The patterns of {scan.source}, shape {scan.patterns.shape}, hold no counts at all.")
    factor = photons / stored
    probe = scan.probe
    if probe is not None and scan.probe_scaled:
        probe = (probe * np.sqrt(factor)).astype(probe.dtype)
    note = f"Counts: {photons:g} in a pattern on average, as {why}; what is stored is multiplied by {factor:.6g}."
    return replace(scan, patterns=_Scaled(scan.patterns, factor), probe=probe, counts_factor=factor, notes=(*scan.notes, note))


class _Scaled:
    """Patterns times a factor; see ``ptycho_core.scan.scan.Patterns``."""

    def __init__(self, stored: Patterns, factor: float) -> None:
        self._stored, self._factor = stored, np.float32(factor)
        self.shape, self.dtype = stored.shape, stored.dtype

    def __len__(self) -> int:
        return len(self._stored)

    def read(self, frames: NDArray[np.integer[Any]] | slice) -> NDArray[np.float32]:
        counts = self._stored.read(frames)
        return np.multiply(counts, self._factor, out=counts)
