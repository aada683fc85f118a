"""Epochs of the regularized ptychographical iterative engine in small batches, with momentum.

rPIE and momentum: Maiden, Johnson & Li, Optica 4 (2017) 736.  Here the numerators and the illumination of a batch are
summed before they are divided, so that overlapping windows of one batch do not step too far whatever the batch size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ptycho_core.engine.flux import flux_steps, moved
from ptycho_core.engine.positions import bounded, gauss_newton_steps
from ptycho_core.engine.saturation import bounded_above
from ptycho_core.engine.state import Fields, Measured, State, Windows, windows_of
from ptycho_core.reconstruction.constants import COUNTS_FLOOR, PROBE_ALPHA
from ptycho_core.reconstruction.schedule import keep_inside

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import Array, ArrayOps
    from ptycho_core.engine.forward.model import Exit, ForwardModel
    from ptycho_core.engine.patterns import OnDevice

__all__ = ["BATCHES_PER_KICK", "Momentum", "pie_epoch"]

BATCHES_PER_KICK: Final = 20
MOMENTUM_DECAY: Final = 0.5
MOMENTUM_STEP: Final = 0.5
"""Momentum: every 20 batches the velocity is halved, gains the change since, and half of it is added."""


class Momentum:
    """Velocity of object and probe: every 20 batches they move on by a part of their smoothed recent change."""

    def __init__(self, state: State) -> None:
        xp = state.xp
        self._batches = 0
        self._object, self._probe = xp.copy(state.object), xp.copy(state.probe)
        self._object_velocity, self._probe_velocity = xp.zeros_like(state.object), xp.zeros_like(state.probe)

    def after_batch(self, state: State, *, refine_probe: bool) -> None:
        """Count a batch and, after every twentieth, move ``state`` on."""
        self._batches += 1
        if self._batches % BATCHES_PER_KICK:
            return
        # A large object is a large array: what is not needed any more makes room at once.
        self._object = state.object - self._object
        self._object_velocity = MOMENTUM_DECAY * self._object_velocity + self._object
        state.object = state.object + MOMENTUM_STEP * self._object_velocity
        self._object = state.xp.copy(state.object)
        if refine_probe:
            self._probe_velocity = MOMENTUM_DECAY * self._probe_velocity + (state.probe - self._probe)
            state.probe = state.probe + MOMENTUM_STEP * self._probe_velocity
            self._probe = state.xp.copy(state.probe)


def pie_epoch(
    state: State,
    frames: OnDevice,
    order: list[NDArray[np.int64]],
    *,
    forward: ForwardModel,
    object_alpha: float,
    refine_probe: bool,
    position_step: float,
    momentum: Momentum | None,
    before: Callable[[NDArray[np.int64], Array], None] | None = None,
    refine_flux: bool = False,
) -> float:
    """Update ``state`` by every batch of ``order``.

    Args:
        state: object, probe and positions.
        frames: the measured patterns.
        order: frame numbers, batch by batch.
        forward: what takes object and probe to the detector.
        object_alpha: 0 to 1, see the module's source.
        refine_probe: whether the probe is updated.
        position_step: factor on the Gauss-Newton steps of the positions; 0 leaves them.
        momentum: counts every batch; None for none.
        before: gets each batch and its amplitudes before its turn, and may move its positions.
        refine_flux: whether the flux of each frame is updated.

    Returns:
        R over the frames of the epoch, each before its own update.
    """
    xp = state.xp
    update, alpha = xp.compiled(_update), xp.scalar(object_alpha)
    choices = {
        "forward": forward,
        "refine_probe": refine_probe,
        "refine_positions": position_step > 0,
        "refine_flux": refine_flux,
    }
    misfits: list[Array] = []
    misfit = 0.0
    for batch, amplitudes in frames.in_turn(order):
        if before is not None:
            before(batch, amplitudes)
        windows = windows_of(state, batch, frames.size, with_remainders=position_step > 0)
        updated = update(state.fields, Measured(amplitudes, frames.mask, frames.ceiling), windows, alpha, **choices)
        state.object, state.probe = updated.object, updated.probe
        misfits.append(updated.misfit)
        if len(misfits) == BATCHES_PER_KICK:
            # A GPU is not made to wait at each batch; numbers that stay on a CPU lie between large arrays, whose room is lost.
            misfit, misfits = sum(map(float, misfits), misfit), []
        if updated.steps is not None:
            places = state.positions[batch] + position_step * bounded(xp.to_numpy(updated.steps))
            state.positions[batch] = keep_inside(places, tuple(state.object.shape), frames.size)
        if updated.flux is not None and state.flux is not None:
            state.flux[batch] = moved(state.flux[batch], xp.to_numpy(updated.flux))
        if momentum is not None:
            momentum.after_batch(state, refine_probe=refine_probe)
    used = np.concatenate(order)
    return sum(map(float, misfits), misfit) / max(float(frames.amplitude_sums[used].sum()), 1.0)


class _Updated(NamedTuple):
    """Fields after a batch, the sum of its absolute amplitude differences before, and steps.

    Attributes:
        steps: real (frame, 2), of the positions, or None.
        flux: real (frame,), of the flux's logarithm, or None.
    """

    object: Array
    probe: Array
    misfit: Array
    steps: Array | None
    flux: Array | None


def _update(
    xp: ArrayOps,
    fields: Fields,
    measured: Measured,
    windows: Windows,
    alpha: Array,
    *,
    forward: ForwardModel,
    refine_probe: bool,
    refine_positions: bool,
    refine_flux: bool,
) -> _Updated:
    """One batch: object and, where asked, probe and steps of positions and flux, all from the fields as they were."""
    exits = forward.exit_wave(xp, fields, windows)
    waves = forward.propagate(xp, exits.wave, exits.ramps)
    intensity = bounded_above(xp, forward.measure(xp, waves, fields.background), measured, COUNTS_FLOOR)
    modelled = xp.root_of_sum(intensity, COUNTS_FLOOR)
    residual = measured.amplitudes - modelled
    if measured.mask is not None:
        residual = residual * measured.mask
    misfit = xp.sum(xp.abs(residual))
    change = forward.propagate_adjoint(xp, forward.measure_adjoint(xp, residual / modelled, waves), exits.ramps)
    steps = flux = None
    if refine_flux:
        flux = flux_steps(xp, forward.measure(xp, waves, None), modelled, residual, measured.mask)
    if refine_positions:
        changes = forward.position_derivative(xp, exits, fields.probe)
        steps = gauss_newton_steps(xp, waves, modelled, residual, changes)
    by = forward.exit_adjoint(xp, exits, change, fields.probe, with_probe=refine_probe, with_positions=False)
    probe = fields.probe if by.probe is None else _updated_probe(xp, fields.probe, by.probe, exits)
    return _Updated(_updated_object(xp, fields.object, by.patches, exits, windows, alpha), probe, misfit, steps, flux)


def _updated_object(
    xp: ArrayOps,
    transmission: Array,
    change: Array,
    exits: Exit,
    windows: Windows,
    alpha: Array,
) -> Array:
    """Add ``sum_b conj(P) change / ((1 - alpha) sum_b |P|^2 + alpha max |P|^2)``."""
    power = xp.mode_sum(xp.abs2(exits.probes))
    illumination = xp.overlap_sum(xp.at_each(power, windows.corners), windows.corners, transmission)
    # Where no light falls at all (a probe file with zeros only) nothing is divided by zero.
    floor = alpha * xp.max(power) + xp.tiny
    below = (1 - alpha) * illumination + floor
    return xp.scatter_add(transmission, xp.times_real(change, 1 / below), windows.corners)


def _updated_probe(xp: ArrayOps, probe: Array, change: Array, exits: Exit) -> Array:
    """Add ``sum_b conj(O) change / ((1 - beta) sum_b f |O|^2 + beta max)``, ``f`` the flux."""
    power = xp.abs2(exits.patches)
    power = xp.sum(power if exits.roots is None else power * exits.roots[:, 0] * exits.roots[:, 0], 0)
    below = (1 - PROBE_ALPHA) * power + PROBE_ALPHA * xp.max(power) + xp.tiny
    return probe + xp.times_real(change, 1 / below)
