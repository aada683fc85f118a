"""Epochs of the regularised ptychographical iterative engine in small batches, with momentum.

rPIE and momentum: Maiden, Johnson & Li, Optica 4 (2017) 736.  Here the numerators and the illumination of a batch are
summed before they are divided, so that overlapping windows of one batch do not step too far whatever the batch size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from ptycho_core.reconstruction.constants import BATCHES_PER_KICK, FRICTION, KICK, PROBE_ALPHA, SMALLEST
from ptycho_core.reconstruction.schedule import keep_inside
from ptycho_torch.positions import gauss_newton_steps, probe_slopes
from ptycho_torch.propagation import (
    Model,
    Windows,
    gather,
    mode_sum,
    propagate,
    scatter_add,
    shift_ramps,
    squared_modulus,
    windows_at,
)

if TYPE_CHECKING:
    from ptycho_torch.coarse import CoarseFrames
    from ptycho_torch.frames import Frames

__all__ = ["Momentum", "pie_epoch"]


class Momentum:
    """Velocity of object and probe: every 20 batches they move on by a part of their smoothed recent change."""

    def __init__(self, model: Model) -> None:
        self._batches = 0
        self._object, self._probe = model.object.clone(), model.probe.clone()
        self._object_velocity = torch.zeros_like(model.object)
        self._probe_velocity = torch.zeros_like(model.probe)

    def after_batch(self, model: Model, refine_probe: bool) -> None:
        """Count a batch and, after every twentieth, move ``model`` on."""
        self._batches += 1
        if self._batches % BATCHES_PER_KICK:
            return
        self._object_velocity = FRICTION * self._object_velocity + (model.object - self._object)
        model.object = model.object + KICK * self._object_velocity
        self._object = model.object.clone()
        if refine_probe:
            self._probe_velocity = FRICTION * self._probe_velocity + (model.probe - self._probe)
            model.probe = model.probe + KICK * self._probe_velocity
            self._probe = model.probe.clone()


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
    """Update ``model`` in place by every batch of ``order``.

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
    size = frames.size
    illumination = torch.zeros(model.object.shape, dtype=model.object.real.dtype, device=model.object.device)
    misfit = torch.zeros((), dtype=torch.float64, device=model.object.device)
    for batch, amplitudes in frames.in_turn(order):
        windows = windows_at(model.positions[batch], model.object, size, with_remainders=position_step > 0)
        ramps = None if windows.remainders is None else shift_ramps(windows.remainders, size)
        probes, patches, waves, intensity = propagate(model.object, model.probe, windows, ramps, model.background)
        modelled = (intensity + SMALLEST).sqrt_()
        residual = amplitudes - modelled
        if frames.mask is not None:
            residual = residual * frames.mask
        misfit += residual.abs().sum()
        change = torch.fft.ifft2((residual / modelled)[:, None] * waves, norm="ortho")
        steps = None
        if position_step > 0 and ramps is not None:
            steps = gauss_newton_steps(waves, modelled, residual, probe_slopes(model.probe, ramps), patches)
        if refine_probe:
            _update_probe(model, change, patches, ramps)
        _update_object(model, change, probes, windows, illumination, object_alpha)
        if steps is not None:
            moved = model.positions[batch] + position_step * steps
            model.positions[batch] = keep_inside(moved, _shape(model), size)
        if momentum is not None:
            momentum.after_batch(model, refine_probe)
    used = np.concatenate(order)
    return float(misfit) / max(float(frames.amplitude_sums[used].sum()), 1.0)


def _update_object(
    model: Model, change: torch.Tensor, probes: torch.Tensor, windows: Windows, illumination: torch.Tensor, alpha: float
) -> None:
    """Add ``sum_b conj(P) change / ((1 - alpha) sum_b |P|^2 + alpha max |P|^2)``; ``illumination`` is zero before and after.

    Only the batch's windows are touched, so that the cost does not grow with the object.
    """
    size = change.shape[-1]
    power = mode_sum(squared_modulus(probes))
    scatter_add(illumination, power.expand(len(change), size, size), windows)
    # Where no light falls at all (a probe file with zeros only) nothing is divided by zero.
    floor = alpha * power.max() + torch.finfo(power.dtype).tiny
    below = (1 - alpha) * gather(illumination, windows, size) + floor
    scatter_add(model.object, mode_sum(probes.conj() * change) / below, windows)
    if windows.flat is not None:
        illumination.zero_()
    else:
        for row, column in windows.corners:
            illumination[row : row + size, column : column + size].zero_()


def _update_probe(model: Model, change: torch.Tensor, patches: torch.Tensor, ramps: torch.Tensor | None) -> None:
    """Add ``sum_b conj(O) change / ((1 - beta) sum_b |O|^2 + beta max)``, brought back to the unshifted probe."""
    gradient = patches.conj()[:, None] * change
    total = gradient.sum(0) if ramps is None else _unshifted_sum(gradient, ramps)
    power = squared_modulus(patches).sum(0)
    below = (1 - PROBE_ALPHA) * power + PROBE_ALPHA * power.max() + torch.finfo(power.dtype).tiny
    model.probe = model.probe + total / below


def _shape(model: Model) -> tuple[int, int]:
    return int(model.object.shape[0]), int(model.object.shape[1])


def _unshifted_sum(gradient: torch.Tensor, ramps: torch.Tensor) -> torch.Tensor:
    """Sum over the frames, each moved back to the unshifted probe."""
    found: torch.Tensor = torch.fft.ifft2((torch.fft.fft2(gradient) * ramps.conj()).sum(0))
    return found
