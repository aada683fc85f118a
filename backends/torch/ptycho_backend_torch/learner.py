"""What learns: the network, and where asked the probes and scales of its scans; its loss on a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ptycho_backend_torch.arrays import Corners, gather, mode_sum, shift_ramps, squared_modulus
from ptycho_backend_torch.estimate import Estimate, Illumination, estimate_object, group_windows, shifted_probe
from ptycho_backend_torch.losses import data_sums, total_variation
from ptycho_backend_torch.merging import merge_patches
from ptycho_backend_torch.networks import as_used, build_network
from ptycho_backend_torch.patches import predict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_backend_torch.sample import Sample
    from ptycho_core.model import Model

__all__ = ["Learner", "Outcome"]

FLAT_SHARES = tuple(0.7 + 0.025 * step for step in range(17))
"""Amplitudes of the flat object that are tried, over the one that keeps the counts."""


@dataclass(frozen=True)
class Outcome:
    """A batch's loss, a scalar with its graph, and what else is told of it: plain numbers.

    Attributes:
        loss: weighted sum of the loss terms.
        difference: Σ|√I − √n| over good pixels.
        amplitudes: Σ√n over good pixels.
        deviation: mean over the patches of their standard deviation within the illumination, over their mean modulus there.
        terms: the unweighted loss terms by name, scalars with their graph.
        modelled: real (frame, N, N), modelled counts in the order of the FFT.
        patches: complex (frame, N, N), merged as the loss sees them.
    """

    loss: torch.Tensor
    difference: float
    amplitudes: float
    deviation: float
    terms: Mapping[str, torch.Tensor]
    modelled: torch.Tensor
    patches: torch.Tensor


class Learner:
    """The trained tensors of a model on a device, and the loss that they minimise."""

    def __init__(
        self,
        model: Model,
        weights: Mapping[str, float],
        device: torch.device,
        dtype: torch.dtype,
        *,
        mixed: bool,
        compiled: bool = False,
    ) -> None:
        self.description, self.facts, self.mixed = model.network, model.facts, mixed
        self.loss_weights = {name: value for name, value in weights.items() if value > 0}
        self.network = build_network(model.network, model.weights, device, dtype)
        self.passes = as_used(self.network, compiled=compiled)
        probes = torch.as_tensor(model.physics["probe"], device=device).to(dtype.to_complex())
        # In units of its own root mean square a probe can share the network's learning rate.
        self.unit = squared_modulus(probes).sum(1).mean((1, 2)).sqrt()[:, None, None, None]
        self.probe = torch.view_as_real(probes / self.unit).contiguous().requires_grad_(bool(model.facts["train_probe"]))
        scale = torch.as_tensor(model.physics["log_scale"], device=device).to(dtype)
        self.log_scale = scale.clone().requires_grad_(bool(model.facts["train_scale"]))

    def leaves(self) -> dict[str, torch.Tensor]:
        """The tensors that learn, by name: those of the network, then of the physics."""
        found = {f"network.{name}": value for name, value in self.network.named_weights().items()}
        found |= {"physics.probe": self.probe, "physics.log_scale": self.log_scale}
        return {name: value for name, value in found.items() if value.requires_grad}

    def exact(self) -> dict[str, npt.NDArray[Any]]:
        """What a model file would round: probes, their unit and scales, and weights that are not float32."""
        named = {"probe": self.probe, "unit": self.unit, "log_scale": self.log_scale}
        if self.unit.dtype != torch.float32:
            named |= self.network.named_weights()
        return {name: value.detach().contiguous().cpu().numpy().copy() for name, value in named.items()}

    @torch.no_grad()
    def restore(self, exact: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what `exact` gave."""
        named = {"probe": self.probe, "unit": self.unit, "log_scale": self.log_scale} | self.network.named_weights()
        for name, value in exact.items():
            named[name].copy_(torch.as_tensor(value))

    def probes(self, scan: int) -> torch.Tensor:
        """The probe (mode, N, N) of a scan, as it is now."""
        return torch.view_as_complex(self.probe[scan]) * self.unit[scan] * torch.exp(self.log_scale[scan] / 2)

    def weights_now(self) -> dict[str, npt.NDArray[np.float32]]:
        """The network's weights for a model file."""
        return {name: _float32(value) for name, value in self.network.named_weights().items()}

    def physics_now(self) -> dict[str, npt.NDArray[Any]]:
        """Probes and scales for a model file; the scale is not part of the probe."""
        probe = torch.view_as_complex(self.probe.detach()) * self.unit
        return {"probe": probe.cpu().numpy().astype(np.complex64), "log_scale": _float32(self.log_scale)}

    def outcome(
        self, sample: Sample, scan: int, groups: npt.NDArray[np.int64], read: npt.NDArray[np.float32] | None = None
    ) -> Outcome:
        """The loss of a batch of groups (group, C) of a scan.

        ``read`` is what `DevicePatterns.read` gave for it, where that was ahead.
        """
        frames = groups.reshape(-1)
        amplitudes = sample.frames.amplitudes(frames, read)
        remainders = sample.positions[frames] - sample.corners[frames]
        with torch.no_grad():
            light = Illumination.at(self.probes(scan), remainders, sample.frames.mask)
            estimate = self._estimate(sample, scan, groups, amplitudes, light)
        patches = predict(self.passes, estimate, self.description, mixed=self.mixed).flatten(0, 1)
        deviation = _deviation(patches.detach(), light.weight)
        patches = self._merged(patches, sample.corners[groups], light.weight)
        terms = {}
        difference = torch.zeros(())
        physical = self._physical()
        with torch.set_grad_enabled(torch.is_grad_enabled() and bool(physical)):
            shifted = self._shifted(scan, remainders, light) if torch.is_grad_enabled() else light.shifted
            modelled = mode_sum(squared_modulus(torch.fft.fft2(shifted * patches[:, None], norm="ortho")))
            pixels = len(frames) * (amplitudes[0].numel() if sample.good is None else int(sample.good.sum()))
            sums = data_sums(modelled, amplitudes.square(), sample.good, names=dict.fromkeys((*physical, "mae")))
            difference = sums["mae"].detach()
            terms = {name: sums[name] / pixels for name in physical}
        if "tv" in self.loss_weights:
            terms["tv"] = total_variation(patches)
        if "realspace" in self.loss_weights:
            terms["realspace"] = _realspace(patches, sample, frames, light.weight)
        loss = torch.stack([self.loss_weights[name] * value.double() for name, value in terms.items()]).sum()
        summed = float(sample.frames.amplitude_sums[frames].sum())
        return Outcome(loss, float(difference), summed, deviation, terms, modelled.detach(), patches.detach())

    def _estimate(
        self, sample: Sample, scan: int, groups: npt.NDArray[np.int64], amplitudes: torch.Tensor, light: Illumination
    ) -> Estimate:
        """The estimate for a batch; remembered where it is the same in every epoch."""
        if groups.shape[1] == 1 and not self._probe_learns and sample.remembers():
            return sample.remembered(groups[:, 0], self.probes(scan), self.description)
        return estimate_object(amplitudes, sample.corners[groups], light, sample.frames.mask, self.description)

    def _physical(self) -> tuple[str, ...]:
        """The terms that compare patterns, in one order in every process: they are summed in it."""
        return tuple(name for name in ("nll", "amplitude", "mae") if name in self.loss_weights)

    @property
    def _probe_learns(self) -> bool:
        return self.probe.requires_grad or self.log_scale.requires_grad

    @torch.no_grad()
    def flat_loss(self, sample: Sample, scan: int, frames: npt.NDArray[np.int64]) -> float:
        """The loss of the best flat object: what a collapsed network reaches."""
        probe, amplitudes = self.probes(scan), sample.frames.amplitudes(frames)
        far = squared_modulus(torch.fft.fft2(probe, norm="ortho")).sum(0)
        power = float((far if sample.good is None else far[sample.good]).sum(dtype=torch.float64))
        weight = squared_modulus(probe).sum(0)
        pixels = len(frames) * (far.numel() if sample.good is None else int(sample.good.sum()))
        physical = self._physical()
        found = []
        for share in FLAT_SHARES:
            factor = share**2 * float(sample.frames.counts[frames].mean()) / power
            sums = data_sums((far * factor).expand_as(amplitudes), amplitudes.square(), sample.good, names=physical)
            total = sum(self.loss_weights[name] * float(value) / pixels for name, value in sums.items())
            if "realspace" in self.loss_weights:
                flat = torch.full_like(amplitudes, math.sqrt(factor)).to(probe.dtype)
                total += self.loss_weights["realspace"] * float(_realspace(flat, sample, frames, weight / weight.max()))
            found.append(total)
        return min(found)

    def _shifted(self, scan: int, remainders: npt.NDArray[np.float64], light: Illumination) -> torch.Tensor:
        """The illumination with a graph, where probe or scale learn."""
        if not self._probe_learns:
            return light.shifted
        probe = self.probes(scan)
        return shifted_probe(
            probe, shift_ramps(torch.as_tensor(remainders, dtype=probe.real.dtype, device=probe.device), probe.shape[-1])
        )

    def _merged(self, patches: torch.Tensor, corners: npt.NDArray[np.int64], weight: torch.Tensor) -> torch.Tensor:
        size, how = patches.shape[-1], self.facts["merge"]
        if how == "none" or (how == "group" and corners.shape[1] == 1):
            return patches
        if how == "group":
            windows, shape = group_windows(corners, patches, size)
        else:
            places = corners.reshape(-1, 2) - corners.reshape(-1, 2).min(axis=0)
            windows = Corners(places, patches, size)
            shape = (int(places[:, 0].max()) + size, int(places[:, 1].max()) + size)
        return merge_patches(patches, weight, windows, shape)


def _realspace(patches: torch.Tensor, sample: Sample, frames: npt.NDArray[np.int64], weight: torch.Tensor) -> torch.Tensor:
    """Mean of ``|O e^{iφ} − label|`` under the illumination, φ the best phase of each patch, taken as a constant; float64."""
    assert sample.labels is not None
    windows = Corners(sample.corners[frames], sample.labels, patches.shape[-1])
    labels = gather(sample.labels, windows, patches.shape[-1])
    with torch.no_grad():
        turn = (labels * patches.conj() * weight).sum((1, 2))
        turn = turn / turn.abs().clamp_min(torch.finfo(weight.dtype).tiny)
    distance = squared_modulus(patches * turn[:, None, None] - labels)
    rounded = (distance + ROUNDING**2).sqrt() - ROUNDING
    return (rounded * weight).sum(dtype=torch.float64) / (weight.sum(dtype=torch.float64) * len(frames))


ROUNDING = 1e-6
"""Below this a distance of two complex numbers counts as its square, so that its gradient at zero is zero."""


def _deviation(patches: torch.Tensor, weight: torch.Tensor) -> float:
    share = weight / weight.sum()
    mean = (patches * share).sum((1, 2), keepdim=True)
    spread = (squared_modulus(patches - mean) * share).sum((1, 2)).sqrt()
    modulus = (patches.abs() * share).sum((1, 2))
    return float((spread / modulus.clamp_min(torch.finfo(spread.dtype).tiny)).mean())


def _float32(value: torch.Tensor) -> npt.NDArray[np.float32]:
    return value.detach().to(torch.float32).contiguous().cpu().numpy().copy()
