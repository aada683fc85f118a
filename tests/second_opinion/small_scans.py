"""Small scans with a known truth, as arrays: every part of the forward model away from what it is when left out."""

from dataclasses import dataclass

import numpy as np

from ptycho_core.physics.forward import intensities

__all__ = ["SmallScan", "small_scan"]


@dataclass
class SmallScan:
    """Counts (frame, N, N), float32, and what they come from; ``guess`` is a probe to start with."""

    counts: np.ndarray
    mask: np.ndarray
    positions: np.ndarray
    object: np.ndarray
    probe: np.ndarray
    guess: np.ndarray
    background: np.ndarray

    def __len__(self):
        return len(self.counts)

    @property
    def shape(self):
        return self.counts.shape

    def read(self, frames):
        """Counts of some frames."""
        return self.counts[frames]


def small_scan(size=16, side=6, photons=2e4, modes=1, level=0.0, seed=0):
    """A raster of ``side`` x ``side`` frames; ``level`` is the mean of a background that is brightest off the centre.

    The mask has no symmetry: neither transposed nor turned nor in the order of the FFT is it the same.
    """
    random = np.random.default_rng(seed)
    place = size / 8 * np.stack(np.meshgrid(*2 * [np.arange(side)], indexing="ij"), axis=-1).reshape(-1, 2)
    positions = place + random.uniform(0, 1, place.shape) + 3
    rows, columns = np.ceil(positions.max(axis=0)).astype(int) + size + [4, 7]
    r, c = np.mgrid[:rows, :columns] * 16 / size
    thing = (0.8 + 0.15 * np.sin(r / 2.5) * np.cos(c / 3)) * np.exp(0.6j * np.sin(r / 4 + c / 3))
    y, x = (np.mgrid[:size, :size] - size / 2 + 0.3) * 16 / size
    first = np.exp(-(y**2 + 0.7 * x**2) / 12 + 0.06j * (y**2 + 2 * x**2))
    probe = np.stack([first, 0.4 * first * x / 3])[:modes]
    probe *= np.sqrt(photons / (np.abs(probe) ** 2).sum())
    spot = np.exp(-((y - 2) ** 2 + (x + 4) ** 2) / 20)
    background = level * spot / spot.mean()
    mask = random.random((size, size)) > 0.06
    mask[size // 2 + 1, size // 2 :] = False
    counts = random.poisson(intensities(thing, probe, positions, background)).astype(np.float32)
    guess = probe * np.exp(0.02j * (y**2 + x**2)) * (1 + 0.1 * np.sin(y))
    return SmallScan(np.where(mask, counts, 0), mask, positions, thing, probe, guess, background)
