"""Misfits of frames many pixels away, for a search that Gauss-Newton steps, which are local, cannot make.

Where positions are off by more than a speckle the misfit of a frame has many minima.  It has few on an object without its fine
structure, so trials are made on a low-passed object; ``docs/physics.md`` has the equations.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ptycho_core.engine.flux import best_factor
from ptycho_core.engine.pie import pie_epoch
from ptycho_core.engine.saturation import bounded_above
from ptycho_core.engine.state import Fields, Measured, State, Windows, windows_at
from ptycho_core.reconstruction.constants import COUNTS_FLOOR
from ptycho_core.reconstruction.position_search import LARGEST_PROBE_FACTOR, SEARCH_ALPHA, in_middle_half, padded_length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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

    ``P_m <- F^-1[F P_m sqrt(mean n / sum_m |F P_m|^2)]`` at good pixels, with a factor of `LARGEST_PROBE_FACTOR` at most, and of
    at least 1 where a frame is saturated: the mean is a lower bound there.
    """
    xp, total = state.xp, np.zeros((frames.size, frames.size))
    most = np.zeros_like(total)
    portions = np.array_split(np.arange(frames.number), -(-frames.number // SUMMED_FRAMES))
    for _, amplitudes in frames.in_turn(portions):
        total += xp.to_numpy(xp.sum(amplitudes * amplitudes, 0))
        if frames.ceiling is not None:
            np.maximum(most, xp.to_numpy(xp.max(amplitudes, 0)), out=most)
    waves = forward.propagate(xp, state.probe)
    own = xp.to_numpy(xp.sum(xp.abs2(waves), 0)).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.sqrt(np.where(own > 0, total / frames.number / own, 1.0)).clip(0.0, LARGEST_PROBE_FACTOR)
    if frames.ceiling is not None:
        factor = np.where(most >= float(frames.ceiling), np.maximum(factor, 1.0), factor)
    if frames.mask is not None:
        factor[xp.to_numpy(frames.mask) == 0] = 1.0
    return forward.propagate_adjoint(xp, xp.times_real(waves, xp.from_numpy(factor)))


def low_passed(xp: ArrayOps, transmission: Array, cutoff: float, shared: NDArray[np.float64] | None = None) -> Array:
    """``shared (O - 1)`` (rows, columns) times ``exp(-q^2 / 2 cutoff^2)`` at spatial frequencies ``q``, cycles a pixel, plus 1.

    A ``cutoff`` of 0 leaves all frequencies.  Beyond its edge the object is 1, up to a length that transforms quickly.
    """
    if shared is not None:
        transmission = xp.times_real(transmission - 1, xp.from_numpy(shared)) + 1
    if not cutoff:
        return transmission
    rows, columns = tuple(transmission.shape)
    high, wide = padded_length(rows), padded_length(columns)
    part = (np.fft.fftfreq(high)[:, None] ** 2 + np.fft.fftfreq(wide) ** 2) / (2 * cutoff**2)
    damping = np.exp(-np.minimum(part, 50.0))  # numbers so small that a CPU treats them one by one slow a transform down
    spectrum = xp.fft2(xp.pad(transmission - 1, (0, high - rows), (0, wide - columns)))
    return xp.ifft2(xp.times_real(spectrum, xp.from_numpy(damping)))[:rows, :columns] + 1


class Placing:
    """A state whose positions are searched; see `ptycho_core.reconstruction.position_search.Searching`.

    Attributes:
        state: a copy of the one given, with a flat object and the probe of the mean pattern, which stays as it is.
    """

    def __init__(self, state: State, frames: DevicePatterns, forward: ForwardModel, *, refine_flux: bool = False) -> None:
        self._frames, self._forward, self._xp, self._refine_flux = frames, forward, state.xp, refine_flux
        self.number, self.counts = frames.number, frames.counts
        self.state = state.copy()
        self.state.probe = probe_of_mean_pattern(state, frames, forward)
        self._flux = state.flux
        self.flatten()
        self._trials = _Trials(self.state, frames, forward, refine_flux=refine_flux)

    def flatten(self) -> None:
        """Begin again with a flat object, and the flux as it was."""
        self.state.object = self._xp.zeros_like(self.state.object) + 1
        self.state.flux = None if self._flux is None else self._flux.copy()

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
            refine_flux=self._refine_flux,
        )


class _View(NamedTuple):
    """How a trial looks at a pattern; see `_Trials`.

    Attributes:
        stride: pixels of the window from one sample of the exit wave to the next.
        fold: 2 where every second pixel of the detector is taken, along each axis, else 1.
        size: pixels along a side that are compared.
        kept: (size,), their places along an axis of the pattern; None for all.
        mask: real (size, size), or None.
        background: as that of a state, or None.
    """

    stride: int
    fold: int
    size: int
    kept: NDArray[np.int64] | None
    mask: Array | None
    background: Array | None


class _Trials:
    """What a trial is compared with.

    Of a far-field pattern every second pixel is taken, along each axis: a probe that fills less than half of its window is
    sampled by them, and they cost little more than a quarter.  Where probe and low-passed object send hardly any light outside
    of the middle half of the detector, that half is compared alone, which every second pixel of the exit wave gives.
    """

    def __init__(self, state: State, frames: OnDevice, forward: ForwardModel, *, refine_flux: bool) -> None:
        self._forward, self._frames = forward, frames
        # Where the beam is saturated a factor would be that of the scattered light alone: the flux of the epochs is better.
        self._refine_flux = refine_flux and frames.ceiling is None
        self._background, self._size = state.background, frames.size
        self._fold = 2 if forward.folds and self._size % 2 == 0 else 1
        xp = state.xp
        self._views = {stride: self._view(xp, stride) for stride in ((1, 2) if forward.folds and self._size % 8 == 0 else (1,))}
        self._light = xp.to_numpy(xp.sum(xp.abs2(forward.propagate(xp, state.probe)), 0)).astype(np.float64)

    def _view(self, xp: ArrayOps, stride: int) -> _View:
        """What every pixel ``stride`` of the exit wave shows."""
        size = self._size // (stride * self._fold)
        if stride * self._fold == 1:
            return _View(stride, self._fold, size, None, self._frames.mask, self._background)
        kept = self._fold * np.rint(np.fft.fftfreq(size, 1 / size)).astype(np.int64) % self._size
        mask = None if self._frames.mask is None else xp.columns(self._frames.mask, kept)
        background = self._background
        if background is not None:
            background = self._fold**2 * (background if background.shape[-1] == 1 else xp.columns(background, kept))
        return _View(stride, self._fold, size, kept, mask, background)

    def misfits(self, state: State, frames: NDArray[np.int64], amplitudes: Array, trial: Trial) -> NDArray[np.float64]:
        """See `Placing.misfits`; positions of ``state`` are whole pixels."""
        xp, number = state.xp, len(trial.shifts)
        stride = 2 if 2 in self._views and in_middle_half(self._light, trial.cutoff) else 1
        view = self._views[stride]
        if view.kept is not None:
            amplitudes = view.fold * xp.columns(amplitudes, view.kept)
        ceiling = self._frames.ceiling if self._frames.ceiling is None else view.fold * self._frames.ceiling
        transmission = low_passed(xp, state.object, trial.cutoff, trial.shared)
        shape, probe = np.array(tuple(transmission.shape)), state.probe
        largest = shape - self._size
        if stride > 1:  # each sample stands for a square of pixels
            transmission, probe = _in_phases(xp, transmission), stride * probe[:, ::stride, ::stride]
        fields = Fields(transmission, probe, view.background)
        compare, found = xp.compiled(_misfits), np.empty((len(frames), number))
        choices = {"forward": self._forward, "fold": view.fold, "size": view.size, "refine_flux": self._refine_flux}
        for part, tried in self._portions(xp, len(frames), number, int(np.prod(tuple(probe.shape)))):
            places = state.positions[frames[part], None, :] + trial.shifts[tried]
            inside = ((places >= 0) & (places <= largest)).all(2)
            corners = places.clip(0, largest).reshape(-1, 2)
            if stride > 1:
                corners = corners // stride + (corners % stride) * -(-shape // stride)
            windows = windows_at(xp, corners, transmission, self._size // stride)
            if state.flux is not None and not self._refine_flux:
                windows = windows._replace(flux=xp.from_numpy(state.flux[frames[part]]))
            measured = Measured(amplitudes[part], view.mask, ceiling)
            values = xp.to_numpy(compare(fields, measured, windows, trials=inside.shape[1], **choices))
            found[part, tried] = np.where(inside, values, np.inf)
        return found

    @staticmethod
    def _portions(xp: ArrayOps, frames: int, trials: int, pixels: int) -> Iterator[tuple[slice, slice]]:
        """Frames and trials of them, so many as are computed at once; ``pixels`` are those of a wave."""
        most = max(1, PORTION_PIXELS * (1 if xp.is_cpu else 64) // pixels)
        parts, together = -(-trials // most), max(1, most // trials)
        ends = np.linspace(0, trials, parts + 1).astype(int)
        for start in range(0, frames, together):
            for first, last in pairwise(ends):
                yield slice(start, start + together), slice(first, last)


def _in_phases(xp: ArrayOps, canvas: Array) -> Array:
    """A canvas (rows, columns), even rows before odd ones, columns too: every second pixel of a window is a window of it."""
    canvas = xp.concat([canvas[0::2], canvas[1::2]], 0)
    return xp.concat([canvas[:, 0::2], canvas[:, 1::2]], 1)


def _misfits(
    xp: ArrayOps,
    fields: Fields,
    measured: Measured,
    windows: Windows,
    *,
    forward: ForwardModel,
    trials: int,
    fold: int,
    size: int,
    refine_flux: bool,
) -> Array:
    """Real (frame, trial); ``size`` is that of what is compared, and the flux of ``windows`` real (frame,).

    Where the flux is fitted, each trial has the factor that fits it best.
    """
    waves, ramps = (exits := forward.exit_wave(xp, fields, windows._replace(flux=None))).wave, exits.ramps
    if fold == 2:
        halves = waves[..., :size, :] + waves[..., size:, :]
        waves = halves[..., :size] + halves[..., size:]
    light = forward.measure(xp, forward.propagate(xp, waves, ramps), None)
    light = xp.reshape(light, (-1, trials, size, size))
    amplitudes, mask = measured.amplitudes[:, None], measured.mask
    measured = measured._replace(amplitudes=amplitudes)
    if windows.flux is not None:
        light = light * windows.flux[:, None, None, None]
    if refine_flux:
        light = light * best_factor(xp, light, fields.background, measured)
    light = light if fields.background is None else light + fields.background
    difference = xp.root_of_sum(bounded_above(xp, light, measured, COUNTS_FLOOR), COUNTS_FLOOR) - amplitudes
    if mask is not None:
        difference = difference * mask
    return xp.sum(difference * difference, (2, 3))
