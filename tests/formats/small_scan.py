"""A small scan, which tests write in the layouts of other programs, and what must come back."""

from dataclasses import dataclass, field

import numpy as np

FRAMES, SIZE = 12, 16
ENERGY, DISTANCE, PITCH = 8800.0, 1.92, 75e-6
WAVELENGTH = 6.62607015e-34 * 299792458.0 / (ENERGY * 1.602176634e-19)
PIXEL = WAVELENGTH * DISTANCE / (SIZE * PITCH)
"""Object pixel in metres."""


def _counts():
    return np.random.default_rng(5).poisson(30, (FRAMES, SIZE, SIZE)).astype(np.uint16)


def _pixels():
    """Taller than wide, so that a swap shows; no two steps alike, so that a flip does."""
    return np.random.default_rng(6).uniform(0, [40, 20], (FRAMES, 2))


@dataclass
class SmallScan:
    """Counts (frame, row, column), uint16; positions (frame, 2) in object pixels and in metres, (row, column) of corners."""

    counts: np.ndarray = field(default_factory=_counts)
    positions: np.ndarray = field(default_factory=_pixels)

    @property
    def metres(self):
        return self.positions * PIXEL


def assert_same(scan, small, *, frames=slice(None), within=1e-6):
    """Frames are the same on good pixels, in any order of reading; positions are, up to a common shift, in pixels."""
    counts, positions = small.counts[frames], small.positions[frames]
    assert scan.patterns.shape == counts.shape
    found, good = scan.patterns.read(slice(None)), scan.mask
    np.testing.assert_array_equal(found[:, good], counts[:, good])
    order = np.random.default_rng(0).permutation(len(counts))
    np.testing.assert_array_equal(scan.patterns.read(order), found[order])
    apart = scan.positions - positions
    np.testing.assert_allclose(apart - apart.mean(axis=0), 0, atol=within)
