"""The verb ``evaluate`` on the operations of a framework: intensities, loss terms and gradients of one batch.

The gradients are the hand-written ones that reconstruct; a batch of a training is that of its objective.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ptycho_core.contract import EvaluateBatchJob, EvaluateJob, EvaluateResult
from ptycho_core.engine.device_scan import DeviceScan
from ptycho_core.engine.forward import forward_of
from ptycho_core.engine.losses import BUILT_IN, built_in, good, weights_of
from ptycho_core.engine.objective import Objective
from ptycho_core.engine.regularization import mean_variation, total_variation
from ptycho_core.engine.saturation import bounded_above, ceiling, where_free
from ptycho_core.engine.state import Fields, Measured, Windows, windows_at
from ptycho_core.physics import DATA_TERMS, INTENSITY_FLOOR, VARIATION_ROUNDING
from ptycho_core.physics.near_field import way_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import Array, ArrayOps
    from ptycho_core.engine.forward.model import ForwardModel

__all__ = ["evaluate"]

FRAMES_AT_ONCE = 32
"""Bounds the memory; gradients of the parts add up."""


def evaluate(job: EvaluateJob | EvaluateBatchJob, xp: ArrayOps) -> EvaluateResult:
    """Evaluate one batch, of arrays or of a training.

    Returns:
        As specified: intensities in float64, zero frequency at ``[N // 2, N // 2]``. Of arrays all four loss terms, and gradients
        in the precision of the operations, of the positions in float64. Of a training the terms with a weight, gradients of all
        that learns, and merged patches.

    Raises:
        DataError: if the scan's patterns cannot be used; the message names the frame.
    """
    if isinstance(job, EvaluateBatchJob):
        return _of_training(job, xp)
    return _of_arrays(job, xp)


def _of_training(job: EvaluateBatchJob, xp: ArrayOps) -> EvaluateResult:
    losses = job.losses or built_in()
    objective = Objective(xp, job.model, losses, weights_of(job.settings["training"], losses), mixed=False)
    outcome = objective.outcome(DeviceScan(xp, job.data.scans[job.scan]), job.scan, job.groups, learn=job.gradients)
    gradients: dict[str, NDArray[Any]] = {}
    if outcome.gradient is not None:
        for name, value in objective.trainable.named(outcome.gradient).items():
            if name.startswith("network.") or objective.physical:  # else the loss does not reach it
                gradients[name] = value[..., 0] + 1j * value[..., 1] if name == "physics.probe" else value
    return EvaluateResult(
        _centered(xp.to_numpy(outcome.modelled)), outcome.terms, gradients, np.array(xp.to_numpy(outcome.patches))
    )


class _Part(NamedTuple):
    """What some frames give: modelled counts, sums of the data terms, and derivatives ``dL/d conj``, if they are wanted.

    Attributes:
        positions: real (frame, 2).
        background: real (N, N).
        flux: real (frame,), by its logarithm.
    """

    modelled: Array
    sums: dict[str, Array]
    object: Array | None
    probe: Array | None
    positions: Array | None
    background: Array | None
    flux: Array | None


def _of_arrays(job: EvaluateJob, xp: ArrayOps) -> EvaluateResult:
    mask = None if job.mask is None else np.fft.ifftshift(job.mask)
    good = job.probe.shape[-1] ** 2 if mask is None else int(mask.sum())
    pixels = good * len(job.positions)
    weights = tuple(xp.scalar(job.weights.get(name, 0.0) / pixels) for name in DATA_TERMS)
    modelled, slopes, by_flux, losses = [], [], [], dict.fromkeys(DATA_TERMS, 0.0)
    total: dict[str, Array] = {}
    background = None if job.background is None else xp.from_numpy(np.fft.ifftshift(job.background))
    fields = Fields(xp.from_numpy(np.array(job.object)), xp.from_numpy(np.array(job.probe)), background)
    for part in _parts(job, fields, mask, weights, xp):
        modelled.append(xp.to_numpy(part.modelled))
        losses = {name: losses[name] + float(part.sums[name]) / pixels for name in losses}
        if part.positions is not None:
            slopes.append(xp.to_numpy(part.positions))
            by_flux += [] if part.flux is None else [xp.to_numpy(part.flux)]
            found = {"object": part.object, "probe": part.probe, "background": part.background}
            total = {name: total[name] + one if total else one for name, one in found.items() if one is not None}
    losses["tv"] = float(mean_variation(xp, fields.object))
    gradients: dict[str, NDArray[Any]] = {}
    if job.gradients:
        weight = job.weights.get("tv", 0.0) / np.size(job.object)
        if weight:
            slope = total_variation(xp, fields.object, xp.scalar(VARIATION_ROUNDING))[1]
            total["object"] = total["object"] + xp.times_real(slope, xp.scalar(weight))
        # d/d Re + i d/d Im is twice the derivative by the conjugate.
        gradients = {name: 2 * xp.to_numpy(total[name]) for name in ("object", "probe")}
        gradients["positions"] = np.concatenate(slopes).astype(np.float64)
        if fields.background is not None:
            gradients["background"] = np.fft.fftshift(xp.to_numpy(total["background"]))
        if job.flux is not None:
            gradients["flux"] = np.concatenate(by_flux).astype(np.float64) / np.asarray(job.flux)
    return EvaluateResult(_centered(np.concatenate(modelled)), losses, gradients)


def _parts(
    job: EvaluateJob, fields: Fields, mask: NDArray[np.bool_] | None, weights: tuple[Array, ...], xp: ArrayOps
) -> Iterator[_Part]:
    """The batch, a few frames at a time."""
    part, size = xp.compiled(_part), int(job.probe.shape[-1])
    forward = forward_of(xp, way_of(job.propagation), size)
    counts = np.fft.ifftshift(np.asarray(job.counts, dtype=np.float64), axes=(-2, -1))
    if mask is not None:
        counts = np.where(mask, counts, 0.0)  # a bad pixel may hold anything
    good = None if mask is None else xp.from_numpy(mask.astype(np.float64))
    for first in range(0, len(counts), FRAMES_AT_ONCE):
        frames = slice(first, first + FRAMES_AT_ONCE)
        windows = windows_at(xp, np.asarray(job.positions, np.float64)[frames], fields.object, size, with_remainders=True)
        if job.flux is not None:
            windows = windows._replace(flux=xp.from_numpy(np.asarray(job.flux, np.float64)[frames]))
        measured = Measured(xp.from_numpy(np.sqrt(counts[frames])), good, ceiling(xp, job.saturation))
        yield part(fields, measured, windows, weights, forward=forward, gradients=job.gradients)


def _part(
    xp: ArrayOps,
    fields: Fields,
    measured: Measured,
    windows: Windows,
    weights: tuple[Array, ...],
    *,
    forward: ForwardModel,
    gradients: bool,
) -> _Part:
    exits = forward.exit_wave(xp, fields, windows)
    waves = forward.propagate(xp, exits.wave, exits.ramps)
    modelled = forward.measure(xp, waves, fields.background)
    floored = bounded_above(xp, modelled, measured, INTENSITY_FLOOR) + INTENSITY_FLOOR
    amplitudes, mask = measured.amplitudes, measured.mask

    losses = [kind() for kind in BUILT_IN]
    sums = {loss.name: xp.sum64(good(loss.values(xp, floored, amplitudes), mask)) for loss in losses}
    if not gradients:
        return _Part(modelled, sums, None, None, None, None, None)
    slopes = [weight * loss.derivative(xp, floored, amplitudes) for loss, weight in zip(losses, weights, strict=True)]
    factor = where_free(xp, good(sum(slopes), mask), modelled, measured, INTENSITY_FLOOR)
    wave = forward.propagate_adjoint(xp, forward.measure_adjoint(xp, factor, waves), exits.ramps)
    with_flux = windows.flux is not None
    by = forward.exit_adjoint(xp, exits, wave, fields.probe, with_probe=True, with_positions=True, with_flux=with_flux)
    changed = xp.scatter_add(xp.zeros_like(fields.object), by.patches, windows.corners)
    by_background = None if fields.background is None else xp.sum(factor, 0)
    return _Part(modelled, sums, changed, by.probe, by.positions, by_background, by.flux)


def _centered(modelled: NDArray[Any]) -> NDArray[np.float64]:
    """Zero frequency at ``[N // 2, N // 2]``."""
    return np.fft.fftshift(modelled.astype(np.float64), axes=(-2, -1))
