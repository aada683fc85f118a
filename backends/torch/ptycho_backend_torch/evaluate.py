"""The hook ``ptycho_evaluate``: forward intensities, loss terms and gradients of one batch, by automatic differentiation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ptycho_backend_torch.arrays import TorchArrays
from ptycho_backend_torch.devices import configured, real_dtype
from ptycho_backend_torch.losses import data_sums, total_variation
from ptycho_core.contract import EvaluateJob, EvaluateResult, ExecutionPlan
from ptycho_core.engine.forward.far_field import FarField, shifted_probe
from ptycho_core.physics import check_job, check_model, split_positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["evaluate"]

_FRAMES_AT_ONCE = 32
"""Bounds the memory of the graph; gradients of the parts add up."""


@dataclass(frozen=True)
class _Batch:
    """The job's arrays as tensors on the planned device; those with a gradient are leaves."""

    transmission: torch.Tensor
    probe: torch.Tensor
    corners: NDArray[np.int64]
    remainders: torch.Tensor
    background: torch.Tensor | None
    counts: torch.Tensor
    mask: torch.Tensor | None

    def leaves(self) -> dict[str, torch.Tensor]:
        named = {"object": self.transmission, "probe": self.probe, "positions": self.remainders}
        return named if self.background is None else {**named, "background": self.background}

    def good_pixels(self) -> int:
        good = self.counts[0].numel() if self.mask is None else int(self.mask.sum())
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
    with configured(plan) as device:
        batch = _to_device(job, device, real_dtype(plan))
        modelled, losses = _run(batch, job)
        gradients = {name: _to_numpy(leaf.grad) for name, leaf in batch.leaves().items() if leaf.grad is not None}
    return EvaluateResult(modelled, losses, gradients)


def _to_device(job: EvaluateJob, device: torch.device, real: torch.dtype) -> _Batch:
    corners, remainders = split_positions(job.positions)
    counts = np.asarray(job.counts, dtype=np.float64)
    if job.mask is not None:
        # A bad pixel may hold anything, and the gradient through NaN is NaN even where it is masked.
        counts = np.where(job.mask, counts, 0.0)

    def tensor(values: Any, dtype: torch.dtype, *, leaf: bool = False) -> torch.Tensor:  # noqa: ANN401 - array or tensor
        return torch.tensor(np.asarray(values), dtype=dtype, device=device).requires_grad_(leaf and job.gradients)

    return _Batch(
        transmission=tensor(job.object, real.to_complex(), leaf=True),
        probe=tensor(job.probe, real.to_complex(), leaf=True),
        corners=corners,
        remainders=tensor(remainders, torch.float64, leaf=True),
        background=None if job.background is None else tensor(job.background, real, leaf=True),
        counts=tensor(counts, real),
        mask=None if job.mask is None else tensor(job.mask, torch.bool),
    )


def _run(batch: _Batch, job: EvaluateJob) -> tuple[NDArray[np.float64], dict[str, float]]:
    """Intensities and loss terms; leaves the gradients of the weighted sum in the leaves."""
    pixels = batch.good_pixels()
    patterns = []
    losses = dict.fromkeys(("nll", "amplitude", "mae"), 0.0)
    for first in range(0, len(batch.counts), _FRAMES_AT_ONCE):
        frames = slice(first, first + _FRAMES_AT_ONCE)
        modelled = _intensities(batch, frames)
        means = {name: value / pixels for name, value in data_sums(modelled, batch.counts[frames], batch.mask).items()}
        patterns.append(modelled.detach())
        losses = {name: losses[name] + float(means[name].detach()) for name in losses}
        if job.gradients:
            _weighted_sum(means, job).backward()  # type: ignore[no-untyped-call]
    variation = total_variation(batch.transmission)
    if job.gradients and job.weights.get("tv", 0.0):
        (job.weights["tv"] * variation).backward()  # type: ignore[no-untyped-call]
    return torch.cat(patterns).double().cpu().numpy(), {**losses, "tv": float(variation.detach())}


def _intensities(batch: _Batch, frames: slice) -> torch.Tensor:
    """Modelled counts (frame, N, N), zero frequency at ``[N//2, N//2]``, by the propagation that reconstructs too."""
    xp, forward = TorchArrays(batch.probe.device, batch.probe.real.dtype), FarField()
    size = batch.probe.shape[-1]
    # The few angles are computed in double precision, then rounded to that of the fields.
    ramps = xp.shift_ramps(batch.remainders[frames], size).to(batch.probe.dtype)
    patches = xp.gather(batch.transmission, xp.corners(batch.corners[frames], batch.transmission, size), size)
    waves = forward.propagate(xp, shifted_probe(xp, batch.probe, ramps) * patches[:, None])
    intensity = forward.measure(xp, waves, None)
    modelled: torch.Tensor = torch.fft.fftshift(intensity, dim=(-2, -1))
    return modelled if batch.background is None else modelled + batch.background


def _weighted_sum(means: dict[str, torch.Tensor], job: EvaluateJob) -> torch.Tensor:
    """The weighted data terms; a weight of zero still gives a gradient, which is zero."""
    return torch.stack([job.weights.get(name, 0.0) * value for name, value in means.items()]).sum()


def _to_numpy(gradient: torch.Tensor) -> NDArray[Any]:
    return np.asarray(gradient.cpu().resolve_conj().numpy())
