"""What the network sees of a group of patterns: an estimate of the object after a few update steps from flat.

``specs/network.md`` defines it. Everything is in the order of the FFT at the detector and without gradients; the loops run in
place, since the memory traffic of small transforms costs more than their arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ptycho_backend_torch.arrays import Corners, gather, mode_sum, scatter_add, shift_ramps, squared_modulus

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Estimate", "Illumination", "estimate_object", "group_windows", "shifted_probe"]

SMALLEST = 0.1
"""Counts added to modelled intensities before their root is taken: where hardly a count is modelled, the phase is not known."""


STEP_GAIN = 4.0
"""Steps are small beside the estimate; the network sees them enlarged."""


def shifted_probe(probe: torch.Tensor, ramps: torch.Tensor) -> torch.Tensor:
    """The probe (mode, N, N) at every frame, moved by ``ramps``: (frame, mode, N, N)."""
    found: torch.Tensor = torch.fft.ifft2(torch.fft.fft2(probe)[None] * ramps)
    return found


class Illumination(NamedTuple):
    """The probe of a batch of frames.

    Attributes:
        probe: complex (mode, N, N), as it is where the position has no remainder.
        shifted: complex (frame, mode, N, N).
        weight: real (N, N), intensity of the unshifted probe, greatest 1.
        power: counts that an empty object sends to the good pixels.
    """

    probe: torch.Tensor
    shifted: torch.Tensor
    weight: torch.Tensor
    power: float

    @classmethod
    def at(cls, probe: torch.Tensor, remainders: npt.NDArray[np.float64], mask: torch.Tensor | None) -> Illumination:
        """The illumination for remainders (frame, 2) of the positions; ``mask`` is real (N, N) in the order of the FFT."""
        size = probe.shape[-1]
        ramps = shift_ramps(torch.as_tensor(remainders, dtype=probe.real.dtype, device=probe.device), size)
        weight = squared_modulus(probe).sum(0)
        far = squared_modulus(torch.fft.fft2(probe, norm="ortho")).sum(0)
        power = float((far if mask is None else far * mask).sum(dtype=torch.float64))
        return cls(probe, shifted_probe(probe, ramps).contiguous(), weight / weight.max(), power)


class Estimate(NamedTuple):
    """What is known of a batch of groups before the network.

    Attributes:
        patches: complex (group, C, N, N), the object in each window, its phase turned so that the group's mean under the
            illumination is real.
        step: complex (group, C, N, N), the update that would follow, turned alike.
        weight: real (N, N), intensity of the illumination, greatest 1.
    """

    patches: torch.Tensor
    step: torch.Tensor
    weight: torch.Tensor

    def features(self) -> torch.Tensor:
        """The network's input: real (group, 5 C, N, N).

        For all C patterns the real parts of estimate less one, the imaginary parts, then those of the step, enlarged, and the
        root of the illumination.
        """
        root = self.weight.sqrt().expand(self.patches.shape)
        patches, step = self.patches, self.step
        given = [patches.real - 1, patches.imag, step.real * STEP_GAIN, step.imag * STEP_GAIN, root]
        return torch.cat(given, 1)


def group_windows(corners: npt.NDArray[np.int64], like: torch.Tensor, size: int) -> tuple[Corners, tuple[int, int]]:
    """Windows of groups, corners (group, C, 2), each group on a square canvas of its own, stacked along the rows.

    Returns:
        The windows of all frames in order, and the shape (group · side, side) of the stacked canvases.
    """
    places = corners - corners.min(axis=1, keepdims=True)
    side = size + int(places.max(initial=0))
    places[:, :, 0] += np.arange(len(corners))[:, None] * side
    return Corners(places.reshape(-1, 2), like, size), (len(corners) * side, side)


@torch.no_grad()
def estimate_object(
    amplitudes: torch.Tensor,
    corners: npt.NDArray[np.int64],
    light: Illumination,
    mask: torch.Tensor | None,
    description: Mapping[str, Any],
) -> Estimate:
    """Estimate the object of each group from its counts and the known probe.

    Args:
        amplitudes: real (group · C, N, N), roots of the counts.
        corners: (group, C, 2), whole-pixel corners of the windows.
        light: of these frames.
        mask: real (N, N), 1 for good pixels, or None.
        description: of the network: ``estimate`` says how many steps, their regularisation and momentum.
    """
    groups, frames = corners.shape[:2]
    asked = description["estimate"]
    windows, shape = (None, None) if frames == 1 else group_windows(corners, light.probe, amplitudes.shape[-1])
    step = _Step(amplitudes, light, mask, windows, shape, groups, float(asked["alpha"]))
    counts = amplitudes.square().view(groups, -1).sum(1) / frames
    size = amplitudes.shape[-1]
    patches = (counts / light.power).sqrt().to(light.probe.dtype).repeat_interleave(frames)[:, None, None].expand(-1, size, size)
    patches = patches.contiguous()
    change = torch.zeros_like(patches)
    for _ in range(int(asked["steps"])):
        change = step.of(patches).add_(change, alpha=float(asked["momentum"]))
        patches += change
    return _turned(patches, step.of(patches), light, groups, frames)


class _Step:
    """One preconditioned gradient step of the amplitude misfit, for all windows of all groups at once.

    ``Σ_j conj(P_j) F⁻¹[(√n / √I − 1) F_j] / (Σ_j |P_j|² + α max Σ_j |P_j|²)``, summed over the modes and over the windows of the
    group that overlap: rPIE's denominator (Maiden et al., Optica 4 (2017) 736) for simultaneous updates.
    """

    def __init__(
        self,
        amplitudes: torch.Tensor,
        light: Illumination,
        mask: torch.Tensor | None,
        windows: Corners | None,
        shape: tuple[int, int] | None,
        groups: int,
        alpha: float,
    ) -> None:
        self._amplitudes, self._mask, self._windows, self._shape = amplitudes, mask, windows, shape
        self._probe = light.shifted
        lit = mode_sum(squared_modulus(light.shifted))
        if windows is not None and shape is not None:
            canvas = torch.zeros(shape, dtype=lit.dtype, device=lit.device)
            scatter_add(canvas, lit, windows)
            greatest = canvas.view(groups, -1).amax(1).repeat_interleave(len(lit) // groups)
            lit = gather(canvas, windows, lit.shape[-1])
        else:
            greatest = lit.view(groups, -1).amax(1)
        inverse = (lit + alpha * greatest[:, None, None]).reciprocal_()
        # A lazily conjugated factor would be resolved again in every product.
        self._back = light.shifted.conj().resolve_conj() * inverse.to(light.shifted.dtype)[:, None]

    def of(self, patches: torch.Tensor) -> torch.Tensor:
        """The step (frame, N, N) at patches (frame, N, N)."""
        waves = torch.fft.fft2(self._probe * patches[:, None], norm="ortho")
        factor = mode_sum(squared_modulus(waves)).add_(SMALLEST).rsqrt_().mul_(self._amplitudes).sub_(1)
        if self._mask is not None:
            factor *= self._mask
        waves.mul_(factor.to(waves.dtype)[:, None])
        step = mode_sum(torch.fft.ifft2(waves, norm="ortho").mul_(self._back))
        if self._windows is None or self._shape is None:
            return step
        canvas = torch.zeros(self._shape, dtype=step.dtype, device=step.device)
        scatter_add(canvas, step, self._windows)
        return gather(canvas, self._windows, step.shape[-1])


def _turned(patches: torch.Tensor, step: torch.Tensor, light: Illumination, groups: int, frames: int) -> Estimate:
    size = patches.shape[-1]
    lit = light.weight.to(patches.dtype)
    mean = (patches * lit).view(groups, -1).sum(1)
    turn = (mean.conj() / mean.abs().clamp_min(torch.finfo(mean.real.dtype).tiny))[:, None, None, None]
    shape = (groups, frames, size, size)
    return Estimate(patches.view(shape) * turn, step.view(shape) * turn, light.weight)
