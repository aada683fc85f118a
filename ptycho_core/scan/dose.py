"""How much the dose of frames varies, beyond what photon noise and the object explain.

The counts of a frame are the object's transmission, averaged over the spot. So the counts of frames at distance h vary together
as the autocorrelation of the probe's intensity does at h, even for an object that changes from pixel to pixel. What each frame
varies by alone is found by maximum likelihood: ``log counts ~ N(mean, s² K + σ²)``, with K that autocorrelation,
as wide as the grain of the object makes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.scan.canvas import nearest_distances, probe_width

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["unexplained"]

_MOST: Final = 200
"""Frames that are compared: those in the middle of the scan."""

_FEWEST: Final = 30

_CLOSE: Final = 0.5
"""Neighboring frames see about the same where their distance is below this part of the probe's width."""

_GRAINS: Final = (0.0, 2.0, 4.0)
"""Pixels over which an object is alike: the most likely is taken."""

_SCALES: Final = np.geomspace(1e-8, 1.0, 33)
"""Variances s² that are tried."""

_BLOCK: Final = 48
"""Most frames of which each is held against each."""

_SURE: Final = 4.0
"""Difference of log likelihoods above which frames do vary."""


def unexplained(
    positions: NDArray[np.float64], counts: NDArray[np.float64], probe: NDArray[np.complexfloating[Any, Any]]
) -> float:
    """The relative deviation of the dose of frames.

    Args:
        positions: (frame, 2), pixels.
        counts: (frame,), photons, above 0.
        probe: (mode, N, N).

    Returns:
        The deviation, beyond photon noise; 0 where it is not sure, and where frames lie too far apart to be compared.
    """
    middle = np.abs(positions - np.median(positions, axis=0)).max(axis=1)
    chosen = np.argsort(middle, kind="stable")[:_MOST]
    places, photons = positions[chosen], counts[chosen]
    if len(chosen) < _FEWEST:
        return 0.0
    step = float(np.median(nearest_distances(places)))
    if not 0 < step < _CLOSE * probe_width(probe):
        return 0.0
    logs = np.log(photons) - np.log(photons).mean()
    noise = float((1 / photons).mean())
    grid = (1.5 * noise + 1e-4) * np.geomspace(1, 1e4, 61)
    likely = np.max([_of_blocks(places, logs, probe, grain, grid) for grain in _GRAINS], axis=0)
    best = int(np.argmax(likely))
    if likely[best] - likely[0] < _SURE:
        return 0.0
    return float(np.sqrt(max(grid[best] - noise, 0)))


def _of_blocks(
    places: NDArray[np.float64],
    values: NDArray[np.float64],
    probe: NDArray[np.complexfloating[Any, Any]],
    grain: float,
    own: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Log likelihood for each own variance, of all blocks together, each of frames that lie side by side."""
    found = np.zeros((len(_SCALES), len(own)))
    for block in _blocks(places, np.arange(len(places))):
        shifts = places[block, None] - places[block]
        found += _likelihoods(_autocorrelation(probe, shifts, grain), values[block], own)
    likely: NDArray[np.float64] = found.max(axis=0)
    return likely


def _blocks(places: NDArray[np.float64], frames: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The frames in parts of ``_BLOCK`` at most, cut across the longer side; larger matrices would keep all processors busy."""
    if len(frames) <= _BLOCK:
        return [frames]
    axis = int(np.argmax(np.ptp(places[frames], axis=0)))
    order, half = frames[np.argsort(places[frames, axis], kind="stable")], len(frames) // 2
    return [*_blocks(places, order[:half]), *_blocks(places, order[half:])]


def _likelihoods(together: NDArray[np.float64], values: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log likelihood (scale, own) of values (frame,) for each s² of ``_SCALES`` and σ² of ``own``; K is ``together``."""
    along, vectors = np.linalg.eigh(together + 100.0)  # a common mean, as good as free
    parts = (vectors.T @ values) ** 2
    variances = _SCALES[:, None, None] * np.maximum(along, 0) + own[:, None]
    found: NDArray[np.float64] = -0.5 * (parts / variances + np.log(variances)).sum(axis=-1)
    return found


def _autocorrelation(
    probe: NDArray[np.complexfloating[Any, Any]], shifts: NDArray[np.float64], grain: float
) -> NDArray[np.float64]:
    """Autocorrelation of the intensity of a probe (mode, N, N), with an object of some grain, at shifts (…, 2); 1 at 0."""
    intensity = (np.abs(probe.astype(np.complex128)) ** 2).sum(axis=0)
    twice = 2 * len(intensity)
    rows, columns = np.fft.fftfreq(twice)[:, None], np.fft.rfftfreq(twice)[None, :]
    smooth = np.exp(-2 * (np.pi * grain) ** 2 * (rows**2 + columns**2))
    image = np.fft.irfft2(np.abs(np.fft.rfft2(intensity, (twice, twice))) ** 2 * smooth, (twice, twice))
    corner = np.floor(shifts).astype(np.int64)
    row, column = np.moveaxis(shifts - corner, -1, 0)
    found = np.zeros(row.shape)
    for down in (0, 1):
        for right in (0, 1):
            part = (row if down else 1 - row) * (column if right else 1 - column)
            found += part * image[(corner[..., 0] + down) % twice, (corner[..., 1] + right) % twice]
    near = (np.abs(shifts) < len(intensity)).all(axis=-1)
    return np.where(near, found / image[0, 0], 0.0)
