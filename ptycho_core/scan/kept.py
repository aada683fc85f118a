"""Patterns that are read from their file once: what was read is kept for who asks next, where it fits in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.scan.scan import Patterns, Scan

__all__ = ["KEPT_BYTES", "KeptPatterns", "kept"]

KEPT_BYTES: Final = 1 << 30
"""Patterns of a scan are kept up to this size, as float32."""


class KeptPatterns:
    """Patterns of which each frame is read once, until it is released; see ``ptycho_core.scan.scan.Patterns``.

    Threads may read at the same time. Two that ask for the same frame before it is there both read it.
    """

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        self._kept: dict[int, NDArray[np.float32]] = {}
        self.shape, self.dtype = patterns.shape, patterns.dtype

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._patterns)

    def read(self, frames: NDArray[np.integer[Any]] | slice) -> NDArray[np.float32]:
        """Counts (k, N, N) of the named frames, float32; the caller may change them."""
        numbers = np.arange(len(self))[frames]
        known = {number: self._kept.get(number) for number in numbers.tolist()}
        missing = np.array(sorted(number for number, counts in known.items() if counts is None), dtype=np.int64)
        if not len(numbers) or len(missing) == len(numbers):
            return self._keep(numbers, self._patterns.read(numbers))
        if len(missing):
            known |= zip(missing.tolist(), self._keep(missing, self._patterns.read(missing)), strict=True)
        return np.stack([known[number] for number in numbers.tolist()])  # type: ignore[misc]  # none is missing any more

    def _keep(self, numbers: NDArray[np.int64], counts: NDArray[np.float32]) -> NDArray[np.float32]:
        self._kept.update(zip(numbers.tolist(), counts.copy(), strict=True))  # a copy: the caller may change its own
        return counts

    def release(self, frames: NDArray[np.integer[Any]]) -> None:
        """Forget frames whose counts the engine holds now."""
        for number in frames.tolist():
            self._kept.pop(number, None)


def kept(scan: Scan, most: float = KEPT_BYTES) -> Scan:
    """The scan with patterns that are read once, if all of them fit into ``most`` bytes."""
    if 4 * np.prod(scan.patterns.shape, dtype=float) > min(most, KEPT_BYTES):
        return scan
    return replace(scan, patterns=KeptPatterns(scan.patterns))
