"""Epochs of the regularised ptychographical iterative engine in small batches, with momentum.

rPIE and momentum: Maiden, Johnson & Li, Optica 4 (2017) 736.  Here the numerators and the illumination of a batch are
summed before they are divided, so that overlapping windows of one batch do not step too far whatever the batch size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho_core.reconstruction.constants import BATCHES_PER_KICK, FRICTION, KICK, PROBE_ALPHA, SMALLEST
from ptycho_core.reconstruction.schedule import keep_inside
from ptycho_tensorflow.compiled import compiled
from ptycho_tensorflow.positions import gauss_newton_steps, probe_slopes
from ptycho_tensorflow.propagation import (
    Model,
    Windows,
    gather,
    ifft2_ortho,
    mode_sum,
    propagate,
    scatter_add,
    shift_ramps,
    squared_modulus,
    windows_at,
)

if TYPE_CHECKING:
    from ptycho_tensorflow.coarse import CoarseFrames
    from ptycho_tensorflow.frames import Frames

__all__ = ["Momentum", "pie_epoch"]


class Momentum:
    """Velocity of object and probe: every 20 batches they move on by a part of their smoothed recent change."""

    def __init__(self, model: Model) -> None:
        self._batches = 0
        self._object, self._probe = model.object, model.probe
        self._object_velocity = tf.zeros_like(model.object)
        self._probe_velocity = tf.zeros_like(model.probe)

    def after_batch(self, model: Model, refine_probe: bool) -> None:
        """Count a batch and, after every twentieth, move ``model`` on."""
        self._batches += 1
        if self._batches % BATCHES_PER_KICK:
            return
        self._object_velocity = FRICTION * self._object_velocity + (model.object - self._object)
        self._object = model.object = model.object + KICK * self._object_velocity
        if refine_probe:
            self._probe_velocity = FRICTION * self._probe_velocity + (model.probe - self._probe)
            self._probe = model.probe = model.probe + KICK * self._probe_velocity


def pie_epoch(
    model: Model,
    frames: Frames | CoarseFrames,
    order: list[npt.NDArray[np.int64]],
    *,
    object_alpha: float,
    refine_probe: bool,
    position_step: float,
    momentum: Momentum | None,
) -> float:
    """Update ``model`` by every batch of ``order``.

    Args:
        model: object, probe and positions.
        frames: the measured patterns.
        order: frame numbers, batch by batch.
        object_alpha: 0 to 1, see the module's source.
        refine_probe: whether the probe is updated.
        position_step: factor on the Gauss-Newton steps of the positions; 0 leaves them.
        momentum: told of every batch, or None.

    Returns:
        R over the frames of the epoch, each before its own update.
    """
    alpha = tf.constant(object_alpha, model.object.dtype.real_dtype)
    misfits: list[tf.Tensor] = []
    for batch, amplitudes in frames.in_turn(order):
        windows = windows_at(model.positions[batch], model.object, with_remainders=position_step > 0)
        fields = _Fields(model.object, model.probe, model.background)
        measured = _Measured(amplitudes, frames.mask)
        updated = _update(fields, measured, windows, alpha, refine_probe=refine_probe, refine_positions=position_step > 0)
        model.object, model.probe = updated.object, updated.probe
        misfits.append(updated.misfit)
        if updated.steps is not None:
            moved = model.positions[batch] + position_step * updated.steps.numpy()
            model.positions[batch] = keep_inside(moved, tuple(model.object.shape), frames.size)
        if momentum is not None:
            momentum.after_batch(model, refine_probe)
    used = np.concatenate(order)
    return float(sum(map(float, misfits))) / max(float(frames.amplitude_sums[used].sum()), 1.0)


class _Fields(NamedTuple):
    """The fields of a model."""

    object: tf.Tensor
    probe: tf.Tensor
    background: tf.Tensor | None


class _Measured(NamedTuple):
    """Amplitudes of a batch, real (frame, N, N), and the mask, real (N, N), both in FFT order."""

    amplitudes: tf.Tensor
    mask: tf.Tensor | None


class _Updated(NamedTuple):
    """Fields after a batch, the sum of its absolute amplitude differences before, and steps of positions (frame, 2)."""

    object: tf.Tensor
    probe: tf.Tensor
    misfit: tf.Tensor
    steps: tf.Tensor | None


@compiled
def _update(
    fields: _Fields, measured: _Measured, windows: Windows, alpha: tf.Tensor, *, refine_probe: bool, refine_positions: bool
) -> _Updated:
    """One batch: object and, where asked, probe and steps of the positions, all from the fields as they were."""
    ramps = None if windows.remainders is None else shift_ramps(windows.remainders, tf.shape(fields.probe)[-1])
    probes, patches, waves, intensity = propagate(fields.object, fields.probe, windows, ramps, fields.background)
    modelled = tf.sqrt(intensity + SMALLEST)
    residual = measured.amplitudes - modelled
    if measured.mask is not None:
        residual = residual * measured.mask
    misfit = tf.cast(tf.reduce_sum(tf.abs(residual)), tf.float64)
    change = ifft2_ortho(tf.cast(residual / modelled, waves.dtype)[:, None] * waves)
    steps = None
    if refine_positions and ramps is not None:
        steps = gauss_newton_steps(waves, modelled, residual, probe_slopes(fields.probe, ramps), patches)
    probe = _updated_probe(fields.probe, change, patches, ramps) if refine_probe else fields.probe
    return _Updated(_updated_object(fields.object, change, probes, windows, alpha), probe, misfit, steps)


def _updated_object(
    transmission: tf.Tensor, change: tf.Tensor, probes: tf.Tensor, windows: Windows, alpha: tf.Tensor
) -> tf.Tensor:
    """Add ``sum_b conj(P) change / ((1 - alpha) sum_b |P|^2 + alpha max |P|^2)``."""
    size = tf.shape(change)[-1]
    power = mode_sum(squared_modulus(probes))
    everywhere = tf.broadcast_to(power, [tf.shape(change)[0], size, size])
    illumination = scatter_add(tf.zeros(tf.shape(transmission), power.dtype), everywhere, windows)
    # Where no light falls at all (a probe file with zeros only) nothing is divided by zero.
    floor = alpha * tf.reduce_max(power) + np.finfo(power.dtype.as_numpy_dtype).tiny
    below = (1 - alpha) * gather(illumination, windows, size) + floor
    return scatter_add(transmission, mode_sum(tf.math.conj(probes) * change) * tf.cast(1 / below, change.dtype), windows)


def _updated_probe(probe: tf.Tensor, change: tf.Tensor, patches: tf.Tensor, ramps: tf.Tensor | None) -> tf.Tensor:
    """Add ``sum_b conj(O) change / ((1 - beta) sum_b |O|^2 + beta max)``, brought back to the unshifted probe."""
    gradient = tf.math.conj(patches)[:, None] * change
    total = tf.reduce_sum(gradient, 0) if ramps is None else _unshifted_sum(gradient, ramps)
    power = tf.reduce_sum(squared_modulus(patches), 0)
    below = (1 - PROBE_ALPHA) * power + PROBE_ALPHA * tf.reduce_max(power) + np.finfo(power.dtype.as_numpy_dtype).tiny
    return probe + total * tf.cast(1 / below, total.dtype)


def _unshifted_sum(gradient: tf.Tensor, ramps: tf.Tensor) -> tf.Tensor:
    """Sum over the frames, each moved back to the unshifted probe."""
    return tf.signal.ifft2d(tf.reduce_sum(tf.signal.fft2d(gradient) * tf.math.conj(ramps), 0))
