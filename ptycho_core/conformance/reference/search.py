"""The misfits of a search for positions, frame by frame and place by place, and its epochs of rPIE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from ptycho_core.physics.forward import at_detector, from_detector
from ptycho_core.physics.losses import bounded_above
from ptycho_core.reconstruction.constants import COUNTS_FLOOR
from ptycho_core.reconstruction.position_search import LARGEST_PROBE_FACTOR, in_middle_half, padded_length

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Complex: TypeAlias = NDArray[np.complex128]
    Real: TypeAlias = NDArray[np.float64]
    Update: TypeAlias = Callable[[Any, NDArray[np.int64]], float]

    from ptycho_core.physics.near_field import Propagation
    from ptycho_core.reconstruction.position_search import Choose, Trial

__all__ = ["Placing", "low_passed", "probe_of_mean_pattern"]

LEVEL = 0.9999
"""Part of the level from which on counts have reached it."""

_STILL = np.zeros(2)
"""Remainder of a place at whole pixels."""


def probe_of_mean_pattern(
    probe: Complex, counts: Real, mask: NDArray[np.bool_], way: Propagation | None = None, saturation: float | None = None
) -> Complex:
    """The probe (mode, N, N) with the amplitude of the mean of ``counts`` (frame, N, N) on the detector, where it sends light.

    Where a frame has reached the ``saturation`` it loses none.
    """
    waves, mean = at_detector(probe, _STILL, way), counts.mean(axis=0)
    for row, column in np.argwhere(mask):
        own = float((np.abs(waves[:, row, column]) ** 2).sum())
        if own > 0:
            factor = min(np.sqrt(mean[row, column] / own), LARGEST_PROBE_FACTOR)
            reached = saturation and counts[:, row, column].max() >= LEVEL * saturation
            waves[:, row, column] *= max(factor, 1.0) if reached else factor
    return from_detector(waves, _STILL, way)


def low_passed(transmission: Complex, cutoff: float) -> Complex:
    """``O - 1`` times ``exp(-q²/2 cutoff²)`` in Fourier space, one axis after the other, plus 1; as it is for a cutoff of 0."""
    rows, columns = transmission.shape
    found = np.pad(transmission - 1, [(0, padded_length(length) - length) for length in transmission.shape])
    for axis, length in enumerate(found.shape if cutoff else ()):
        # A Gaussian is one along each axis; as a circular convolution, which needs no other transform.
        frequencies = np.arange(length)
        frequencies = np.minimum(frequencies, length - frequencies) / length
        kernel = np.fft.ifft(np.exp(-(frequencies**2) / (2 * cutoff**2))).real
        rolled = np.stack([np.roll(kernel, place) for place in range(length)])
        found = np.moveaxis(np.tensordot(rolled, found, (1, axis)), 0, axis)
    return found[:rows, :columns] + 1


class _State(Protocol):
    object: Complex
    probe: Complex
    positions: Real
    flux: Real | None


class Placing:
    """See ``ptycho_core.reconstruction.position_search.Searching``.

    Args:
        state: object, probe and positions, which are changed.
        patterns: (frame, N, N), counts, 0 at bad pixels.
        mask: (N, N), True for good ones.
        update: moves the object of a state by a batch of frames and gives ``Σ|√I − √n|`` before.
        update_both: the same of object and probe.
        way: to the detector in the near field; None for the far field.
        saturation: the count at which the detector ends, 0 or None for none.
        refine_flux: whether each trial has the flux that fits it best, if no pixel can be saturated.
    """

    def __init__(
        self,
        state: _State,
        patterns: Real,
        mask: NDArray[np.bool_],
        update: Update,
        update_both: Update,
        way: Propagation | None = None,
        saturation: float | None = None,
        refine_flux: bool = False,
    ) -> None:
        self._saturation, self._refine_flux = saturation, refine_flux
        self.number, self.counts, self._way = len(patterns), patterns.sum(axis=(1, 2)), way
        self._patterns, self._mask, self._update, self._update_both = patterns, mask, update, update_both
        self.state = state
        self.state.probe = probe_of_mean_pattern(state.probe, patterns, mask, way, saturation)
        self._light = np.fft.ifftshift((np.abs(at_detector(self.state.probe, _STILL, way)) ** 2).sum(axis=0))
        self._flux = state.flux
        self.flatten()

    def flatten(self) -> None:
        """Begin again with a flat object, and the flux as it was."""
        self.state.object = np.ones_like(self.state.object)
        self.state.flux = None if self._flux is None else self._flux.copy()

    def misfits(self, frames: NDArray[np.int64], trial: Trial) -> Real:
        """``Σ (√I − √n)²``, in the far field over every second pixel from the zero frequency on, times 4: (frame, shift).

        Where that is enough, over those of the middle half, of an exit wave that is sampled at every second pixel.
        """
        size = len(self._mask)
        shared = 1.0 if trial.shared is None else trial.shared
        seen = low_passed(1 + shared * (self.state.object - 1), trial.cutoff)
        halved, probe, span = size % 2 == 0 and self._way is None, self.state.probe, size // 2
        if halved and size % 8 == 0 and in_middle_half(self._light, trial.cutoff):
            comb = np.zeros((size, size))
            comb[::2, ::2] = 4
            probe, span = probe * comb, size // 4
        pixels = np.arange(size // 2 - span + span % 2, size // 2 + span, 2) if halved else np.arange(size)
        chosen, weight = np.ix_(pixels, pixels), 4 if halved else 1
        found = np.full((len(frames), len(trial.shifts)), np.inf)
        for line, frame in enumerate(frames):
            for place, shift in enumerate(trial.shifts):
                row, column = (int(value) for value in self.state.positions[frame] + shift)
                patch = seen[max(row, 0) : row + size, max(column, 0) : column + size]
                if min(row, column) < 0 or patch.shape != (size, size):
                    continue
                light = weight * (np.abs(at_detector(probe * patch, _STILL, self._way)) ** 2).sum(axis=0)[chosen]
                found[line, place] = self._misfit_of(
                    frame, light, weight * self._patterns[frame][chosen], self._mask[chosen], weight
                )
        return found

    def _misfit_of(self, frame: int, light: Real, counts: Real, good: NDArray[np.bool_], weight: int) -> float:
        """Of modelled ``light`` without the frame's flux, both it and ``counts`` so many times as large as they are."""
        level = weight * self._saturation if self._saturation else np.inf
        if self._refine_flux and np.isinf(level):
            root = np.sqrt(light[good])
            light = light * ((root * np.sqrt(counts[good])).sum() / (root**2).sum()) ** 2
        elif self.state.flux is not None:
            light = light * self.state.flux[frame]
        light = light if np.isinf(level) else bounded_above(light, counts, level, COUNTS_FLOOR)
        return float((good * (np.sqrt(light + COUNTS_FLOOR) - np.sqrt(counts)) ** 2).sum())

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
