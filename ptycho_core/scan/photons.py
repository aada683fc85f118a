"""Patterns in their own units, brought to counts by the mean number of photons in one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.scan.patterns import ArrayPatterns

if TYPE_CHECKING:
    from ptycho_core.scan.scan import Scan

__all__ = ["with_photons"]

_LARGEST = float(np.finfo(np.float64).max)


def with_photons(scan: Scan, photons: float, why: str) -> Scan:
    """The scan with patterns of so many counts on average, and a probe that belongs to them as it did before.

    The patterns are an ``ArrayPatterns``, and are gone through once. A probe in the counts of the stored patterns is multiplied
    by the root of the same factor, so that the object stays as it is; any other probe finds its scale later.

    Args:
        scan: as its file is read.
        photons: mean over the frames of the counts in good pixels, above 0.
        why: who states it, for the notes.

    Raises:
        DataError: the patterns hold no counts, or as ``Patterns.read``.
    """
    patterns = scan.patterns
    assert isinstance(patterns, ArrayPatterns)
    stored = patterns.mean_counts()
    if not np.isfinite(stored):
        raise DataError(f"The counts of a pattern of {scan.source}, shape {patterns.shape}, add up beyond {_LARGEST:.3g}.")
    if not stored > 0:
        raise DataError(f"The patterns of {scan.source}, shape {scan.patterns.shape}, hold no counts at all.")
    factor = photons / stored
    probe = scan.probe
    if probe is not None and scan.probe_scaled:
        probe = (probe * np.sqrt(factor)).astype(probe.dtype)
    background = None if scan.background is None else scan.background * factor
    note = f"Counts: {photons:g} in a pattern on average, as {why}; what is stored is multiplied by {factor:.6g}."
    return replace(
        scan,
        patterns=patterns.scaled(factor),
        probe=probe,
        counts_factor=factor,
        background=background,
        notes=(*scan.notes, note),
    )
