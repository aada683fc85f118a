"""Object, probe and, where asked, positions, background and flux fitted together by preconditioned L-BFGS.

The gradient of all frames is written by hand.  Each unknown is scaled by the root of its share of the curvature: the
object by the illumination ``sum |P|^2`` at each pixel, the probe by ``sum |O|^2``, a position by the slope of the probe, the
logarithm of the flux by the counts of a frame.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ptycho_core.engine.flux import best_steps
from ptycho_core.engine.regularization import total_variation
from ptycho_core.engine.saturation import bounded_above, where_free
from ptycho_core.engine.state import Fields, Measured, State, Windows, windows_at, windows_of
from ptycho_core.reconstruction.constants import COUNTS_FLOOR, ILLUMINATION_FLOOR
from ptycho_core.reconstruction.lbfgs import minimise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import Array, ArrayOps
    from ptycho_core.engine.forward.model import ForwardModel
    from ptycho_core.engine.losses import Loss
    from ptycho_core.engine.patterns import DevicePatterns, OnDevice

__all__ = ["Filters", "Joint", "frame_sums", "illumination_of", "score", "with_best_flux"]

CHUNK_PIXELS = 1 << 18
"""Detector pixels treated at once on a CPU: about the second-level cache of a core.  A GPU takes 64 times as many."""

PORTION = 256
"""Windows whose illumination is summed at once."""


def _portions(frames: OnDevice, chosen: NDArray[np.int64], state: State) -> list[NDArray[np.int64]]:
    """The ``chosen`` frames, as many at a time as are treated at once."""
    pixels = CHUNK_PIXELS if state.xp.is_cpu else CHUNK_PIXELS * 64
    length = max(1, pixels // (frames.size**2 * state.probe.shape[0]))
    return [chosen[start : start + length] for start in range(0, len(chosen), length)]


def illumination_of(state: State, frames: NDArray[np.int64]) -> Array:
    """``sum |P|^2`` over modes and ``frames`` at every object pixel: real (rows, columns)."""
    xp, size = state.xp, state.probe.shape[-1]
    power = xp.sum(xp.abs2(state.probe), 0)
    total, add = xp.zeros(tuple(state.object.shape)), xp.compiled(_add_everywhere)
    for start in range(0, len(frames), PORTION):
        windows = windows_at(xp, np.floor(state.positions[frames[start : start + PORTION]]), state.object, size)
        total = add(total, power, windows)
    return total


def _add_everywhere(xp: ArrayOps, total: Array, power: Array, windows: Windows) -> Array:
    return xp.scatter_add(total, xp.at_each(power, windows.corners), windows.corners)


def _seen(xp: ArrayOps, transmission: Array, windows: Windows, like: Array) -> Array:
    """Sum over the frames of what is in their windows: real (N, N)."""
    return xp.sum(xp.gather(transmission, windows.corners, xp.size(like)), 0)


def score(
    state: State, frames: OnDevice, chosen: NDArray[np.int64], *, forward: ForwardModel, likelihood: Loss
) -> tuple[float, float]:
    """(loss a frame, R) of the ``chosen`` frames, without changing anything."""
    xp, total, misfit = state.xp, 0.0, 0.0
    compare = xp.compiled(_score)
    for part, amplitudes in frames.in_turn(_portions(frames, chosen, state)):
        windows = windows_of(state, part, frames.size)
        measured = Measured(amplitudes, frames.mask, frames.ceiling)
        loss, absolute = compare(state.fields, windows, measured, forward=forward, likelihood=likelihood)
        total, misfit = total + float(loss), misfit + float(absolute)
    return total / max(len(chosen), 1), misfit / max(float(frames.amplitude_sums[chosen].sum()), 1.0)


def _score(
    xp: ArrayOps, fields: Fields, windows: Windows, measured: Measured, *, forward: ForwardModel, likelihood: Loss
) -> tuple[Array, Array]:
    waves = forward.propagate(xp, forward.exit_wave(xp, fields, windows).wave)
    intensity = bounded_above(xp, forward.measure(xp, waves, fields.background), measured, COUNTS_FLOOR)
    found = likelihood.compare(xp, intensity, measured)
    return found.loss, found.absolute


def frame_sums(state: State, frames: DevicePatterns, *, forward: ForwardModel) -> NDArray[np.float64]:
    """Of each frame ``Σ|√I − √n|`` and ``Σ√n`` over good pixels, of which R is made: (frame, 2)."""
    xp, everything = state.xp, np.ones((frames.size, frames.size), dtype=bool)
    found = np.stack([np.zeros(frames.number), frames.amplitude_sums], axis=1)
    for part, amplitudes in frames.in_turn(_portions(frames, np.arange(frames.number), state)):
        windows = windows_of(state, part, frames.size)
        waves = forward.propagate(xp, forward.exit_wave(xp, state.fields, windows).wave)
        intensity = forward.measure(xp, waves, state.background)
        intensity = bounded_above(xp, intensity, Measured(amplitudes, frames.mask, frames.ceiling), 0.0)
        difference = xp.abs(xp.sqrt(intensity) - amplitudes)
        difference = difference if frames.mask is None else difference * frames.mask
        found[part, 0] = xp.frame_sums(difference, everything)[0]
    return found


def with_best_flux(state: State, frames: OnDevice, chosen: NDArray[np.int64], *, forward: ForwardModel) -> State:
    """The state with the flux of the ``chosen`` frames that fits them best."""
    xp, found, steps = state.xp, state.copy(), state.xp.compiled(_best_steps)
    flux = np.ones(frames.number) if found.flux is None else found.flux
    for part, amplitudes in frames.in_turn(_portions(frames, chosen, state)):
        windows = windows_of(state, part, frames.size)
        change = steps(state.fields, windows, Measured(amplitudes, frames.mask, frames.ceiling), forward=forward)
        flux[part] *= np.exp(np.nan_to_num(xp.to_numpy(change).astype(np.float64)))
    found.flux = flux
    return found


def _best_steps(xp: ArrayOps, fields: Fields, windows: Windows, measured: Measured, *, forward: ForwardModel) -> Array:
    light = forward.measure(xp, forward.propagate(xp, forward.exit_wave(xp, fields, windows).wave), None)
    return best_steps(xp, light, fields.background, measured, COUNTS_FLOOR)


class Filters(NamedTuple):
    """Scales of the frequencies of object and probe, real (rows, columns) and (N, N) in FFT order, or None for 1."""

    object: Array | None
    probe: Array | None


class Joint:
    """The joint fit of a state to the frames ``used``.

    Attributes:
        misfit: R at the last evaluation.
    """

    def __init__(
        self,
        state: State,
        frames: OnDevice,
        used: NDArray[np.int64],
        *,
        forward: ForwardModel,
        likelihood: Loss,
        refine_probe: bool,
        refine_positions: bool,
        tv_weight: float,
        refine_flux: bool = False,
        refine_background: bool = True,
        filters: Filters | None = None,
    ) -> None:
        """Prepare the fit.

        ``tv_weight`` is relative to the photon noise: it is multiplied by the root of the typical illumination.
        A background is fitted where the state has one, unless ``refine_background`` is false.
        ``filters`` scale the frequencies, where a stop hides some.
        """
        self._xp = state.xp
        self._frames, self._used = frames, used
        # Frames that took no part so far have found no flux.
        self._start = with_best_flux(state, frames, used, forward=forward) if refine_flux else state.copy()
        self._forward, self._likelihood, self._refine_flux = forward, likelihood, refine_flux
        self._refine_probe, self._refine_positions = refine_probe, refine_positions
        self._refine_background = refine_background and state.background is not None
        self._filters = filters or Filters(None, None)
        self._whole = np.floor(state.positions)
        self.misfit = math.nan
        self._illumination = illumination_of(self._start, used)
        self._set_scales()
        counts = self._typical_illumination()
        self._tv_weight = tv_weight * math.sqrt(counts)
        # About the photon noise of one object pixel: smaller differences are noise, larger ones may be edges.
        self._tv_rounding = 0.5 / math.sqrt(counts)

    def iterate(self) -> Iterator[tuple[State, float]]:
        """Yield (state, loss a frame) after each iteration."""
        for step in minimise(self._evaluate, self._pack(), self._xp.dot):
            if step.stuck:
                return
            yield self._unpack(step.point), step.loss / max(len(self._used), 1)

    def illumination(self) -> NDArray[np.floating]:
        """``sum |P|^2`` over modes and used frames at every object pixel, at the start: (rows, columns)."""
        return self._xp.to_numpy(self._illumination)

    def _typical_illumination(self) -> float:
        """Counts that fell on an object pixel, well inside the scan: 0.7 quantile over the illuminated ones, at least 1."""
        illumination = self.illumination()
        illuminated = illumination[illumination > 0].astype(np.float64)
        return max(float(np.quantile(illuminated, 0.7)), 1.0) if illuminated.size else 1.0

    def _set_scales(self) -> None:
        xp, start, size, number = self._xp, self._start, self._frames.size, max(len(self._used), 1)
        self._object_scale = xp.rsqrt(self._illumination + ILLUMINATION_FLOOR * xp.max(self._illumination) + xp.tiny)
        seen = self._transmission_seen()
        self._probe_scale = xp.rsqrt(seen + ILLUMINATION_FLOOR * xp.max(seen) + xp.tiny)[None]
        frequencies = xp.fft_frequencies(size) * (2 * math.pi)
        spectrum = xp.sum(xp.abs2(xp.fft2_ortho(start.probe)), 0)
        curvature = xp.stack([xp.sum(spectrum * frequencies[:, None] ** 2), xp.sum(spectrum * frequencies**2)])
        self._position_scale = xp.rsqrt(0.5 * curvature * (xp.mean(seen) / number) + xp.tiny)
        self._flux_scale = xp.rsqrt(0.5 * xp.sum(spectrum) * (xp.mean(seen) / number) + xp.tiny)
        if start.background is not None and self._refine_background:
            share = size * size / math.prod(start.background.shape)
            self._background_scale = 1 / math.sqrt(number * share)

    def _transmission_seen(self) -> Array:
        """``sum |O|^2`` over the windows of the used frames: real (N, N)."""
        xp, start, size = self._xp, self._start, self._frames.size
        transmission, seen, look = xp.abs2(start.object), xp.zeros((size, size)), xp.compiled(_seen)
        like = seen
        for first in range(0, len(self._used), PORTION):
            windows = windows_at(xp, self._whole[self._used[first : first + PORTION]], start.object, size)
            seen = seen + look(transmission, windows, like)
        return seen

    def _pack(self) -> Array:
        xp, start = self._xp, self._start
        parts = [xp.as_real(self._unfiltered(xp.over_real(start.object, self._object_scale), self._filters.object))]
        if self._refine_probe:
            parts.append(xp.as_real(self._unfiltered(xp.over_real(start.probe, self._probe_scale), self._filters.probe)))
        if self._refine_positions:
            parts.append(xp.reshape(xp.from_numpy(start.positions - self._whole) / self._position_scale, (-1,)))
        if self._refine_flux and start.flux is not None:
            parts.append(xp.from_numpy(np.log(start.flux)) / self._flux_scale)
        if self._refine_background:
            # The background is the square of the unknown, so that it cannot become negative.
            parts.append(xp.reshape(xp.sqrt(xp.at_least(start.background, 0.0)), (-1,)) / self._background_scale)
        return xp.concat(parts)

    def _unpack(self, point: Array) -> State:
        xp, start = self._xp, self._start
        state = State(xp, start.object, start.probe, start.positions, start.background, start.flux)
        used = 2 * math.prod(start.object.shape)
        image = self._filtered(xp.as_complex(point[:used], tuple(start.object.shape)), self._filters.object)
        state.object = xp.times_real(image, self._object_scale)
        if self._refine_probe:
            length = 2 * math.prod(start.probe.shape)
            part = self._filtered(xp.as_complex(point[used : used + length], tuple(start.probe.shape)), self._filters.probe)
            state.probe, used = xp.times_real(part, self._probe_scale), used + length
        if self._refine_positions:
            length = 2 * len(start.positions)
            rest = xp.reshape(point[used : used + length], (-1, 2)) * self._position_scale
            state.positions, used = self._whole + xp.to_numpy(rest).astype(np.float64), used + length
        if self._refine_flux and start.flux is not None:
            length = len(start.flux)
            state.flux, used = (
                np.exp(xp.to_numpy(point[used : used + length] * self._flux_scale).astype(np.float64)),
                used + length,
            )
        if start.background is not None and self._refine_background:
            root = point[used:] * self._background_scale
            state.background = xp.reshape(root * root, tuple(start.background.shape))
        return state

    def _filtered(self, image: Array, by: Array | None) -> Array:
        """A complex image (…, rows, columns) with each frequency scaled by real (rows, columns); its own adjoint."""
        xp = self._xp
        return image if by is None else xp.ifft2(xp.times_real(xp.fft2(image), by))

    def _unfiltered(self, image: Array, by: Array | None) -> Array:
        """The inverse of `_filtered`."""
        xp = self._xp
        return image if by is None else xp.ifft2(xp.over_real(xp.fft2(image), by))

    def _pack_gradient(
        self, state: State, gradient: Fields, positions: NDArray[np.floating] | None, flux: NDArray[np.floating] | None
    ) -> Array:
        # dL/dRe z + i dL/dIm z = 2 dL/dz*
        xp = self._xp
        of_object, of_probe = self._filters
        parts = [xp.as_real(self._filtered(xp.times_real(gradient.object, 2 * self._object_scale), of_object))]
        if self._refine_probe:
            parts.append(xp.as_real(self._filtered(xp.times_real(gradient.probe, 2 * self._probe_scale), of_probe)))
        if positions is not None:
            parts.append(xp.reshape(xp.from_numpy(positions) * self._position_scale, (-1,)))
        if flux is not None:
            parts.append(xp.from_numpy(flux) * self._flux_scale)
        if self._refine_background:
            slope = 2 * xp.sqrt(state.background) * gradient.background
            parts.append(xp.reshape(slope, (-1,)) * self._background_scale)
        return xp.concat(parts)

    def _evaluate(self, point: Array) -> tuple[float, Array]:
        """Loss and gradient at ``point``, summed over the used frames."""
        xp, frames, state = self._xp, self._frames, self._unpack(point)
        background = xp.zeros_like(state.background) if self._refine_background else None
        gradient = Fields(xp.zeros_like(state.object), xp.zeros_like(state.probe), background)
        positions = np.zeros(state.positions.shape, xp.real_dtype) if self._refine_positions else None
        flux = np.zeros(len(state.positions), xp.real_dtype) if self._refine_flux else None
        add, choices = xp.compiled(_with_portion), self._choices(state)
        total = misfit = 0.0
        for part, amplitudes in frames.in_turn(_portions(frames, self._used, state)):
            windows = windows_of(state, part, frames.size, whole=self._whole[part], with_remainders=self._refine_positions)
            gradient, by, loss, absolute = add(
                gradient, state.fields, windows, Measured(amplitudes, frames.mask, frames.ceiling), **choices
            )
            if positions is not None:
                positions[part] = xp.to_numpy(by.positions)
            if flux is not None:
                flux[part] = xp.to_numpy(by.flux)
            total, misfit = total + float(loss), misfit + float(absolute)
        self.misfit = misfit / max(float(frames.amplitude_sums[self._used].sum()), 1.0)
        if self._tv_weight > 0:
            variation, slope = xp.compiled(total_variation)(state.object, xp.scalar(self._tv_rounding))
            total += self._tv_weight * float(variation)
            gradient = gradient._replace(object=gradient.object + self._tv_weight * slope)
        return total, self._pack_gradient(state, gradient, positions, flux)

    def _choices(self, state: State) -> dict[str, object]:
        """What the gradient of some frames is compiled for."""
        return {
            "forward": self._forward,
            "likelihood": self._likelihood,
            "refine_probe": self._refine_probe,
            "refine_positions": self._refine_positions,
            "refine_flux": self._refine_flux,
            "constant_background": state.background is not None
            and self._refine_background
            and math.prod(state.background.shape) == 1,
        }


class _Slopes(NamedTuple):
    """Derivatives of the loss by the positions, real (frame, 2), and by the flux's logarithm, real (frame,), or None."""

    positions: Array | None
    flux: Array | None


def _with_portion(
    xp: ArrayOps,
    gradient: Fields,
    fields: Fields,
    windows: Windows,
    measured: Measured,
    *,
    forward: ForwardModel,
    likelihood: Loss,
    refine_probe: bool,
    refine_positions: bool,
    refine_flux: bool,
    constant_background: bool,
) -> tuple[Fields, _Slopes, Array, Array]:
    """``gradient`` with that of a few frames added, what belongs to each of them, loss, sum of absolute amplitude differences."""
    exits = forward.exit_wave(xp, fields, windows)
    waves = forward.propagate(xp, exits.wave)
    intensity = forward.measure(xp, waves, fields.background)
    bounded = bounded_above(xp, intensity, measured, COUNTS_FLOOR)
    loss, factor, absolute = likelihood.compare(xp, bounded, measured)
    factor = where_free(xp, factor, intensity, measured, COUNTS_FLOOR)
    by_background = gradient.background
    if by_background is not None:
        by_pixel = xp.sum(factor, 0)
        by_background = by_background + (xp.sum(by_pixel) if constant_background else by_pixel)
    back = forward.propagate_adjoint(xp, forward.measure_adjoint(xp, factor, waves))
    by = forward.exit_adjoint(
        xp, exits, back, fields.probe, with_probe=refine_probe, with_positions=refine_positions, with_flux=refine_flux
    )
    by_object = xp.scatter_add(gradient.object, by.patches, windows.corners)
    by_probe = gradient.probe if by.probe is None else gradient.probe + by.probe
    return Fields(by_object, by_probe, by_background), _Slopes(by.positions, by.flux), loss, absolute
