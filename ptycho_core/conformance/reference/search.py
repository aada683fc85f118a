"""The misfits of a search for positions, frame by frame and place by place, and its epochs of rPIE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from ptycho_core.physics.forward import at_detector, from_detector
from ptycho_core.reconstruction.constants import COUNTS_FLOOR
from ptycho_core.reconstruction.position_search import LARGEST_PROBE_FACTOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Complex: TypeAlias = NDArray[np.complex128]
    Real: TypeAlias = NDArray[np.float64]
    Update: TypeAlias = Callable[[Any, NDArray[np.int64]], float]

    from ptycho_core.physics.near_field import Propagation
    from ptycho_core.reconstruction.position_search import Choose, Trial

__all__ = ["Placing", "low_passed", "probe_of_mean_pattern"]

_STILL = np.zeros(2)
"""Remainder of a place at whole pixels."""


def probe_of_mean_pattern(probe: Complex, counts: Real, mask: NDArray[np.bool_], way: Propagation | None = None) -> Complex:
    """The probe (mode, N, N) with the amplitude of the mean of ``counts`` (frame, N, N) on the detector, where it sends light."""
    waves, mean = at_detector(probe, _STILL, way), counts.mean(axis=0)
    for row, column in np.argwhere(mask):
        own = float((np.abs(waves[:, row, column]) ** 2).sum())
        if own > 0:
            waves[:, row, column] *= min(np.sqrt(mean[row, column] / own), LARGEST_PROBE_FACTOR)
    return from_detector(waves, _STILL, way)


def low_passed(transmission: Complex, cutoff: float) -> Complex:
    """``O - 1`` times ``exp(-q²/2 cutoff²)`` in Fourier space, one axis after the other, plus 1; as it is for a cutoff of 0."""
    found = transmission - 1
    for axis, length in enumerate(transmission.shape if cutoff else ()):
        # A Gaussian is one along each axis; as a circular convolution, which needs no other transform.
        frequencies = np.arange(length)
        frequencies = np.minimum(frequencies, length - frequencies) / length
        kernel = np.fft.ifft(np.exp(-(frequencies**2) / (2 * cutoff**2))).real
        rolled = np.stack([np.roll(kernel, place) for place in range(length)])
        found = np.moveaxis(np.tensordot(rolled, found, (1, axis)), 0, axis)
    return found + 1


class _State(Protocol):
    object: Complex
    probe: Complex
    positions: Real


class Placing:
    """See ``ptycho_core.reconstruction.position_search.Searching``.

    Args:
        state: object, probe and positions, which are changed.
        patterns: (frame, N, N), counts, 0 at bad pixels.
        mask: (N, N), True for good ones.
        update: moves the object of a state by a batch of frames and gives ``Σ|√I − √n|`` before.
        update_both: the same of object and probe.
        way: to the detector in the near field; None for the far field.
    """

    def __init__(
        self,
        state: _State,
        patterns: Real,
        mask: NDArray[np.bool_],
        update: Update,
        update_both: Update,
        way: Propagation | None = None,
    ) -> None:
        self.number, self.counts, self._way = len(patterns), patterns.sum(axis=(1, 2)), way
        self._patterns, self._mask, self._update, self._update_both = patterns, mask, update, update_both
        self.state = state
        self.state.probe = probe_of_mean_pattern(state.probe, patterns, mask, way)
        self.flatten()

    def flatten(self) -> None:
        """Begin again with a flat object."""
        self.state.object = np.ones_like(self.state.object)

    def misfits(self, frames: NDArray[np.int64], trial: Trial) -> Real:
        """``Σ (√I − √n)²``, in the far field over every second pixel from the zero frequency on, times 4: (frame, shift)."""
        size, counts, mask = len(self._mask), self._patterns, self._mask
        shared = 1.0 if trial.shared is None else trial.shared
        seen = low_passed(1 + shared * (self.state.object - 1), trial.cutoff)
        halved = size % 2 == 0 and self._way is None
        pixels = np.arange(size // 2 % 2, size, 2) if halved else np.arange(size)
        chosen, weight = np.ix_(pixels, pixels), 4 if halved else 1
        found = np.full((len(frames), len(trial.shifts)), np.inf)
        for line, frame in enumerate(frames):
            for place, shift in enumerate(trial.shifts):
                row, column = (int(value) for value in self.state.positions[frame] + shift)
                patch = seen[max(row, 0) : row + size, max(column, 0) : column + size]
                if min(row, column) < 0 or patch.shape != (size, size):
                    continue
                intensity = (np.abs(at_detector(self.state.probe * patch, _STILL, self._way)) ** 2).sum(axis=0)[chosen]
                difference = np.sqrt(intensity + COUNTS_FLOOR / weight) - np.sqrt(counts[frame][chosen])
                found[line, place] = weight * (mask[chosen] * difference**2).sum()
        return found

    def epoch(self, order: list[NDArray[np.int64]], trial: Trial | None = None, choose: Choose | None = None) -> float:
        """One epoch of rPIE with a fixed probe; ``choose`` gets each batch and its misfits first."""
        difference = 0.0
        for batch in order:
            if trial is not None and choose is not None:
                choose(batch, self.misfits(batch, trial))
            difference += self._update(self.state, batch)
        return self._misfit(difference, order)

    def probe_epoch(self, order: list[NDArray[np.int64]]) -> float:
        """One epoch of rPIE in which the probe is updated too."""
        return self._misfit(sum(self._update_both(self.state, batch) for batch in order), order)

    def _misfit(self, difference: float, order: list[NDArray[np.int64]]) -> float:
        return difference / max(float(np.sqrt(self._patterns[np.concatenate(order)]).sum()), 1.0)
