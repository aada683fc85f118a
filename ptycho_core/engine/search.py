"""Misfits of frames many pixels away, for a search that Gauss-Newton steps, which are local, cannot make.

Where positions are off by more than a speckle the misfit of a frame has many minima.  It has few on an object without its fine
structure, so trials are made on a low-passed object; ``docs/physics.md`` has the equations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ptycho_core.engine.pie import pie_epoch
from ptycho_core.engine.state import Fields, Measured, State, Windows, windows_at
from ptycho_core.reconstruction.constants import COUNTS_FLOOR
from ptycho_core.reconstruction.position_search import LARGEST_PROBE_FACTOR, SEARCH_ALPHA

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import Array, ArrayOps
    from ptycho_core.engine.forward.model import ForwardModel
    from ptycho_core.engine.patterns import DevicePatterns, OnDevice
    from ptycho_core.reconstruction.position_search import Choose, Trial

__all__ = ["Placing", "low_passed", "probe_of_mean_pattern"]

PORTION_PIXELS: Final = 1 << 18
"""Pixels of trials computed at once on a CPU: about the second-level cache of a core.  A GPU takes 64 times as many."""

SUMMED_FRAMES: Final = 64
"""Frames summed at once."""


def probe_of_mean_pattern(state: State, frames: OnDevice, forward: ForwardModel) -> Array:
    """The probe (mode, N, N) whose pattern is the mean one of the scan, with the phase that it has.

    ``P_m <- F^-1[F P_m sqrt(mean n / sum_m |F P_m|^2)]`` at good pixels, with a factor of `LARGEST_PROBE_FACTOR` at most.
    """
    xp, total = state.xp, np.zeros((frames.size, frames.size))
    portions = np.array_split(np.arange(frames.number), -(-frames.number // SUMMED_FRAMES))
    for _, amplitudes in frames.in_turn(portions):
        total += xp.to_numpy(xp.sum(amplitudes * amplitudes, 0))
    waves = forward.propagate(xp, state.probe)
    own = xp.to_numpy(xp.sum(xp.abs2(waves), 0)).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.sqrt(np.where(own > 0, total / frames.number / own, 1.0)).clip(0.0, LARGEST_PROBE_FACTOR)
    if frames.mask is not None:
        factor[xp.to_numpy(frames.mask) == 0] = 1.0
    return forward.propagate_adjoint(xp, xp.times_real(waves, xp.from_numpy(factor)))


def low_passed(xp: ArrayOps, transmission: Array, cutoff: float, shared: NDArray[np.float64] | None = None) -> Array:
    """``shared (O - 1)`` (rows, columns) times ``exp(-q^2 / 2 cutoff^2)`` at spatial frequencies ``q``, cycles a pixel, plus 1.

    A ``cutoff`` of 0 leaves all frequencies.
    """
    if shared is not None:
        transmission = xp.times_real(transmission - 1, xp.from_numpy(shared)) + 1
    if not cutoff:
        return transmission
    rows, columns = (np.fft.fftfreq(length) for length in tuple(transmission.shape))
    damping = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * cutoff**2))
    return xp.ifft2(xp.times_real(xp.fft2(transmission - 1), xp.from_numpy(damping))) + 1


class Placing:
    """A state whose positions are searched; see `ptycho_core.reconstruction.position_search.Searching`.

    Attributes:
        state: a copy of the one given, with a flat object and the probe of the mean pattern, which stays as it is.
    """

    def __init__(self, state: State, frames: DevicePatterns, forward: ForwardModel) -> None:
        self._frames, self._forward, self._xp = frames, forward, state.xp
        self.number, self.counts = frames.number, frames.counts
        self.state = state.copy()
        self.state.probe = probe_of_mean_pattern(state, frames, forward)
        self.flatten()
        self._trials = _Trials(self.state, frames.mask, forward)

    def flatten(self) -> None:
        """Begin again with a flat object."""
        self.state.object = self._xp.zeros_like(self.state.object) + 1

    def misfits(self, frames: NDArray[np.int64], trial: Trial) -> NDArray[np.float64]:
        """``sum_pixels mask (sqrt(I) - sqrt(n))^2`` of frames at trial places: (frame, shift), infinite off the object."""
        portions = np.array_split(frames, -(-len(frames) // SUMMED_FRAMES))
        found = [self._trials.misfits(self.state, batch, read, trial) for batch, read in self._frames.in_turn(portions)]
        return np.concatenate(found)

    def epoch(self, order: list[NDArray[np.int64]], trial: Trial | None = None, choose: Choose | None = None) -> float:
        """One epoch of rPIE with a fixed probe; ``choose`` gets each batch and its misfits before the batch's turn.

        Returns:
            R over the frames of the epoch, each before its own update.
        """

        def place(batch: NDArray[np.int64], amplitudes: Array) -> None:
            if trial is not None and choose is not None:
                choose(batch, self._trials.misfits(self.state, batch, amplitudes, trial))

        return self._pie_epoch(order, before=place)

    def probe_epoch(self, order: list[NDArray[np.int64]]) -> float:
        """One epoch of rPIE in which the probe is updated too; returns R."""
        return self._pie_epoch(order, refine_probe=True)

    def _pie_epoch(
        self,
        order: list[NDArray[np.int64]],
        *,
        refine_probe: bool = False,
        before: Callable[[NDArray[np.int64], Array], None] | None = None,
    ) -> float:
        return pie_epoch(
            self.state,
            self._frames,
            order,
            forward=self._forward,
            object_alpha=SEARCH_ALPHA,
            refine_probe=refine_probe,
            position_step=0.0,
            momentum=None,
            before=before,
        )


class _Trials:
    """What a trial is compared with.

    Of a far-field pattern every second pixel is taken, along each axis: a probe that fills less than half of its window is
    sampled by them, and they cost little more than a quarter.
    """

    def __init__(self, state: State, mask: Array | None, forward: ForwardModel) -> None:
        self._forward, self._size = forward, int(state.probe.shape[-1])
        self._folds = forward.folds and self._size % 2 == 0
        self._mask, self._background = mask, state.background
        if self._folds:
            self._mask = None if mask is None else mask[::2, ::2]
            if self._background is not None:
                whole = self._background.shape[-1] == 1
                self._background = 4 * (self._background if whole else self._background[::2, ::2])

    def misfits(self, state: State, frames: NDArray[np.int64], amplitudes: Array, trial: Trial) -> NDArray[np.float64]:
        """See `Placing.misfits`; positions of ``state`` are whole pixels."""
        xp, size, number = state.xp, self._size, len(trial.shifts)
        if self._folds:
            amplitudes = 2 * amplitudes[:, ::2, ::2]
        transmission = low_passed(xp, state.object, trial.cutoff, trial.shared)
        largest = np.array(tuple(transmission.shape)) - size
        fields = Fields(transmission, state.probe, self._background)
        compare, found = xp.compiled(_misfits), np.empty((len(frames), number))
        pixels = PORTION_PIXELS * (1 if xp.is_cpu else 64) // int(np.prod(tuple(state.probe.shape)))
        step = max(1, pixels // number)
        for start in range(0, len(frames), step):
            places = state.positions[frames[start : start + step], None, :] + trial.shifts
            inside = ((places >= 0) & (places <= largest)).all(2)
            windows = windows_at(xp, places.clip(0, largest).reshape(-1, 2), transmission, size)
            if state.flux is not None:
                windows = windows._replace(flux=xp.from_numpy(np.repeat(state.flux[frames[start : start + step]], number)))
            measured = Measured(amplitudes[start : start + step], self._mask)
            choices = {
                "forward": self._forward,
                "trials": number,
                "folded": self._folds,
                "size": size // 2 if self._folds else size,
            }
            values = xp.to_numpy(compare(fields, measured, windows, **choices))
            found[start : start + step] = np.where(inside, values, np.inf)
        return found


def _misfits(
    xp: ArrayOps,
    fields: Fields,
    measured: Measured,
    windows: Windows,
    *,
    forward: ForwardModel,
    trials: int,
    folded: bool,
    size: int,
) -> Array:
    """Real (frame, trial); ``size`` is N, or half of it where waves are folded."""
    waves, ramps = (exits := forward.exit_wave(xp, fields, windows)).wave, exits.ramps
    if folded:
        halves = waves[..., :size, :] + waves[..., size:, :]
        waves = halves[..., :size] + halves[..., size:]
    modelled = xp.root_of_sum(forward.measure(xp, forward.propagate(xp, waves, ramps), fields.background), COUNTS_FLOOR)
    difference = xp.reshape(modelled, (-1, trials, size, size)) - measured.amplitudes[:, None]
    if measured.mask is not None:
        difference = difference * measured.mask
    return xp.sum(difference * difference, (2, 3))
