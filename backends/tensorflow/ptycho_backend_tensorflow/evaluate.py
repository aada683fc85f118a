"""The hook ``ptycho_evaluate``: forward intensities, loss terms and gradients of one batch, by automatic differentiation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from ptycho_backend_tensorflow.arrays import tensorflow_arrays
from ptycho_backend_tensorflow.compiled import compiled
from ptycho_backend_tensorflow.devices import complex_dtype, configured, real_dtype
from ptycho_backend_tensorflow.losses import data_sums, total_variation
from ptycho_core.contract import EvaluateJob, EvaluateResult, ExecutionPlan
from ptycho_core.engine.forward.far_field import FarField, shifted_probe
from ptycho_core.engine.state import Windows
from ptycho_core.physics import check_job, check_model, split_positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["evaluate"]

_FRAMES_AT_ONCE = 32
"""Bounds the memory of the graph; gradients of the parts add up."""

_DATA_TERMS = ("nll", "amplitude", "mae")


@dataclass(frozen=True)
class _Batch:
    """The job's arrays as tensors on the planned device."""

    transmission: tf.Tensor
    probe: tf.Tensor
    corners: tf.Tensor
    remainders: tf.Tensor
    background: tf.Tensor | None
    counts: tf.Tensor
    mask: tf.Tensor | None

    def good_pixels(self) -> int:
        good = int(tf.size(self.counts[0])) if self.mask is None else int(tf.math.count_nonzero(self.mask))
        return good * len(self.counts)


def evaluate(job: EvaluateJob, plan: ExecutionPlan) -> EvaluateResult:
    """Evaluate one batch on the planned device in the planned precision.

    Returns:
        As specified: intensities in float64, all four loss terms, gradients in the precision of the plan
        (of the positions in float64).

    Raises:
        DataError: if a shape does not fit, a number is not finite or negative where it counts, or a window leaves the object.
        SettingsError: if a loss term is unknown or its weight is not a finite number.
    """
    check_model(np.asarray(job.object), np.asarray(job.probe), job.positions, job.background)
    check_job(job)
    with configured(plan):
        modelled, losses, gradients = _run(_to_device(job, real_dtype(plan)), job)
    return EvaluateResult(modelled, losses, {name: gradient.numpy() for name, gradient in gradients.items()})


def _to_device(job: EvaluateJob, real: tf.DType) -> _Batch:
    corners, remainders = split_positions(job.positions)
    counts = np.asarray(job.counts, dtype=np.float64)
    if job.mask is not None:
        # A bad pixel may hold anything, and the gradient through NaN is NaN even where it is masked.
        counts = np.where(job.mask, counts, 0.0)

    def tensor(values: Any, dtype: tf.DType) -> tf.Tensor:  # noqa: ANN401 - whatever holds an array
        return tf.constant(np.asarray(values).astype(dtype.as_numpy_dtype))

    return _Batch(
        transmission=tensor(job.object, complex_dtype(real)),
        probe=tensor(job.probe, complex_dtype(real)),
        corners=tensor(corners, tf.int64),
        remainders=tensor(remainders, tf.float64),
        background=None if job.background is None else tensor(job.background, real),
        counts=tensor(counts, real),
        mask=None if job.mask is None else tensor(job.mask, tf.bool),
    )


def _run(batch: _Batch, job: EvaluateJob) -> tuple[NDArray[np.float64], dict[str, float], dict[str, tf.Tensor]]:
    """Intensities, loss terms and the gradients of the weighted sum."""
    pixels = batch.good_pixels()
    weights = tf.constant([job.weights.get(name, 0.0) / pixels for name in _DATA_TERMS], tf.float64)
    patterns, remainder_gradients = [], []
    losses = dict.fromkeys(_DATA_TERMS, 0.0)
    gradients: dict[str, tf.Tensor] = {}
    for first in range(0, len(batch.counts), _FRAMES_AT_ONCE):
        frames = slice(first, first + _FRAMES_AT_ONCE)
        windows = Windows(batch.corners[frames], batch.remainders[frames])
        leaves = (batch.transmission, batch.probe, windows, batch.background)
        modelled, sums, parts = _part(leaves, batch.counts[frames], batch.mask, weights, gradients=job.gradients)
        patterns.append(modelled.numpy())
        losses = {name: losses[name] + float(sums[name]) / pixels for name in losses}
        if job.gradients:
            remainder_gradients.append(parts.pop("positions"))
            gradients = {name: gradients[name] + part if gradients else part for name, part in parts.items()}
    if job.gradients:
        gradients["positions"] = tf.concat(remainder_gradients, 0)
    variation, slope = _variation(batch.transmission)
    if job.gradients and job.weights.get("tv", 0.0):
        gradients["object"] += tf.cast(job.weights["tv"], slope.dtype) * slope
    return np.concatenate(patterns).astype(np.float64), {**losses, "tv": float(variation)}, gradients


@compiled
def _part(
    leaves: tuple[tf.Tensor, tf.Tensor, Windows, tf.Tensor | None],
    counts: tf.Tensor,
    mask: tf.Tensor | None,
    weights: tf.Tensor,
    *,
    gradients: bool,
) -> tuple[tf.Tensor, dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """Intensities (frame, N, N) of some frames, the sums of the data terms, and the gradients of their weighted sum."""
    transmission, probe, windows, background = leaves
    named = {"object": transmission, "probe": probe, "positions": windows.remainders}
    if background is not None:
        named["background"] = background
    with tf.GradientTape() as tape:
        tape.watch(named)
        modelled = _intensities(transmission, probe, windows, background)
        sums = data_sums(modelled, counts, mask, _DATA_TERMS)
        # A weight of zero still gives a gradient, which is zero.
        loss = tf.reduce_sum(weights * tf.stack(list(sums.values())))
    return modelled, sums, tape.gradient(loss, named) if gradients else {}


@compiled
def _variation(transmission: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Total variation and its gradient."""
    with tf.GradientTape() as tape:
        tape.watch(transmission)
        variation = total_variation(transmission)
    return variation, tape.gradient(variation, transmission)


def _intensities(transmission: tf.Tensor, probe: tf.Tensor, windows: Windows, background: tf.Tensor | None) -> tf.Tensor:
    """Modelled counts (frame, N, N), zero frequency at ``[N//2, N//2]``, by the forward model that reconstructs too."""
    xp, forward, size = tensorflow_arrays(probe.dtype.real_dtype), FarField(), tf.shape(probe)[-1]
    # The few angles are computed in double precision, then rounded to that of the fields.
    ramps = tf.cast(xp.shift_ramps(windows.remainders, size), probe.dtype)
    patches = xp.gather(transmission, windows.corners, size)
    waves = forward.propagate(xp, shifted_probe(xp, probe, ramps) * patches[:, None])
    intensity = forward.measure(xp, waves, None)
    modelled = tf.signal.fftshift(intensity, axes=(-2, -1))
    return modelled if background is None else modelled + background
