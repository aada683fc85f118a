"""Object, probe and, where asked, positions and background fitted together by preconditioned L-BFGS.

The gradient of all frames is written by hand.  Each unknown is scaled by the root of its share of the curvature: the
object by the illumination ``sum |P|^2`` at each pixel, the probe by ``sum |O|^2``, a position by the slope of the probe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from ptycho_core.reconstruction.constants import WEAK
from ptycho_core.reconstruction.lbfgs import minimise
from ptycho_torch.likelihood import amplitude_loss, poisson_loss
from ptycho_torch.propagation import Model, gather, mode_sum, propagate, scatter_add, shift_ramps, squared_modulus, windows_at
from ptycho_torch.regularisation import total_variation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ptycho_torch.frames import Frames

__all__ = ["Joint", "chunk_length", "illumination_of", "score"]

CHUNK_PIXELS = 1 << 18
"""Detector pixels treated at once; about the second-level cache of a CPU core."""


def chunk_length(size: int, modes: int, device: torch.device) -> int:
    """Frames treated at once."""
    pixels = CHUNK_PIXELS if device.type == "cpu" else CHUNK_PIXELS * 64
    return max(1, pixels // (size * size * modes))


def illumination_of(model: Model, frames: npt.NDArray[np.int64]) -> torch.Tensor:
    """``sum |P|^2`` over modes and ``frames`` at every object pixel: real (rows, columns)."""
    size = model.probe.shape[-1]
    power = squared_modulus(model.probe).sum(0)
    total = torch.zeros(model.object.shape, dtype=power.dtype, device=power.device)
    for start in range(0, len(frames), 256):
        windows = windows_at(np.floor(model.positions[frames[start : start + 256]]), model.object, size)
        scatter_add(total, power.expand(len(windows.corners), size, size), windows)
    return total


@dataclass
class Gradient:
    """Derivatives ``dL/d conj`` of object, probe, and (real) of positions and background."""

    object: torch.Tensor
    probe: torch.Tensor
    positions: torch.Tensor | None
    background: torch.Tensor | None


def _dot(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(torch.dot(first, second))


def _losses(likelihood: str) -> Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    return poisson_loss if likelihood == "poisson" else amplitude_loss


def score(model: Model, frames: Frames, chosen: npt.NDArray[np.int64], likelihood: str) -> tuple[float, float]:
    """(loss a frame, R) of the ``chosen`` frames, without changing anything."""
    total, misfit = 0.0, 0.0
    length = chunk_length(frames.size, len(model.probe), model.object.device)
    for part, amplitudes in frames.in_turn([chosen[start : start + length] for start in range(0, len(chosen), length)]):
        windows = windows_at(model.positions[part], model.object, frames.size)
        ramps = None if windows.remainders is None else shift_ramps(windows.remainders, frames.size)
        intensity = propagate(model.object, model.probe, windows, ramps, model.background).intensity
        loss, _, absolute = _losses(likelihood)(intensity, amplitudes, frames.mask)
        total, misfit = total + float(loss), misfit + float(absolute)
    return total / max(len(chosen), 1), misfit / max(float(frames.amplitude_sums[chosen].sum()), 1.0)


class Joint:
    """The joint fit of a model to the frames ``used``.

    Attributes:
        misfit: R at the last evaluation.
    """

    def __init__(
        self,
        model: Model,
        frames: Frames,
        used: npt.NDArray[np.int64],
        *,
        likelihood: str,
        refine_probe: bool,
        refine_positions: bool,
        tv_weight: float,
    ) -> None:
        """``tv_weight`` is relative to the photon noise: it is multiplied by the root of the typical illumination."""
        self._start, self._frames, self._used = model.copy(), frames, used
        self._loss = _losses(likelihood)
        self._refine_probe, self._refine_positions = refine_probe, refine_positions
        self._whole = np.floor(model.positions)
        self.misfit = math.nan
        self._set_scales()
        counts = self._typical_illumination()
        self._tv_weight = tv_weight * math.sqrt(counts)
        # About the photon noise of one object pixel: smaller differences are noise, larger ones may be edges.
        self._tv_rounding = 0.5 / math.sqrt(counts)

    def _typical_illumination(self) -> float:
        """Counts that fell on an object pixel, well inside the scan: 0.7 quantile over the illuminated ones, at least 1."""
        lit = self._illumination[self._illumination > 0]
        return max(float(np.quantile(lit.double().cpu().numpy(), 0.7)), 1.0) if lit.numel() else 1.0

    def _set_scales(self) -> None:
        model, size = self._start, self._frames.size
        tiny = torch.finfo(model.object.real.dtype).tiny
        self._illumination = illumination_of(model, self._used)
        self._object_scale = (self._illumination + WEAK * self._illumination.max() + tiny).rsqrt()
        transmission = squared_modulus(model.object)
        seen = torch.zeros((size, size), dtype=transmission.dtype, device=transmission.device)
        for start in range(0, len(self._used), 256):
            part = self._used[start : start + 256]
            windows = windows_at(self._whole[part], model.object, size)
            seen += gather(transmission, windows, size).sum(0)
        self._probe_scale = (seen + WEAK * seen.max() + tiny).rsqrt()[None]
        frequencies = torch.fft.fftfreq(size, device=model.object.device, dtype=transmission.dtype) * (2 * math.pi)
        spectrum = squared_modulus(torch.fft.fft2(model.probe, norm="ortho")).sum(0)
        typical = seen.mean() / max(len(self._used), 1)
        curvature = torch.stack([(spectrum * frequencies[:, None] ** 2).sum(), (spectrum * frequencies**2).sum()])
        self._position_scale = (0.5 * curvature * typical + tiny).rsqrt()
        if model.background is not None:
            share = size * size / model.background.numel()
            self._background_scale = 1 / math.sqrt(max(len(self._used), 1) * share)

    def iterate(self) -> Iterator[tuple[Model, float]]:
        """Yield (model, loss a frame) after each iteration."""
        for step in minimise(self._evaluate, self._pack(), _dot):
            if step.stuck:
                return
            yield self._unpack(step.point), step.loss / max(len(self._used), 1)

    def _pack(self) -> torch.Tensor:
        start = self._start
        parts = [torch.view_as_real((start.object / self._object_scale).contiguous()).reshape(-1)]
        if self._refine_probe:
            parts.append(torch.view_as_real((start.probe / self._probe_scale).contiguous()).reshape(-1))
        if self._refine_positions:
            rest = torch.as_tensor(start.positions - self._whole, dtype=parts[0].dtype, device=parts[0].device)
            parts.append((rest / self._position_scale).reshape(-1))
        if start.background is not None:
            # The background is the square of the unknown, so that it cannot become negative.
            parts.append(start.background.clamp_min(0).sqrt().reshape(-1) / self._background_scale)
        return torch.cat(parts)

    def _unpack(self, point: torch.Tensor) -> Model:
        start = self._start
        model = Model(start.object, start.probe, start.positions, start.background)
        used = 2 * start.object.numel()
        model.object = self._object_scale * torch.view_as_complex(point[:used].view(*start.object.shape, 2))
        if self._refine_probe:
            length = 2 * start.probe.numel()
            part = point[used : used + length].view(*start.probe.shape, 2)
            model.probe, used = self._probe_scale * torch.view_as_complex(part), used + length
        if self._refine_positions:
            length = 2 * len(start.positions)
            rest = point[used : used + length].view(-1, 2) * self._position_scale
            model.positions, used = self._whole + rest.double().cpu().numpy(), used + length
        if start.background is not None:
            root = point[used:] * self._background_scale
            model.background = (root * root).view(start.background.shape)
        return model

    def _pack_gradient(self, model: Model, gradient: Gradient) -> torch.Tensor:
        # dL/dRe z + i dL/dIm z = 2 dL/dz*
        parts = [torch.view_as_real(2 * self._object_scale * gradient.object).reshape(-1)]
        if self._refine_probe:
            parts.append(torch.view_as_real(2 * self._probe_scale * gradient.probe).reshape(-1))
        if gradient.positions is not None:
            parts.append((gradient.positions * self._position_scale).reshape(-1))
        if gradient.background is not None and model.background is not None:
            root = model.background.sqrt()
            parts.append((2 * root * gradient.background).reshape(-1) * self._background_scale)
        return torch.cat(parts)

    def _evaluate(self, point: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Loss and gradient at ``point``, summed over the used frames."""
        model = self._unpack(point)
        background = None if model.background is None else torch.zeros_like(model.background)
        positions = None
        if self._refine_positions:
            positions = torch.zeros(model.positions.shape, dtype=point.dtype, device=point.device)
        gradient = Gradient(torch.zeros_like(model.object), torch.zeros_like(model.probe), positions, background)
        length = chunk_length(self._frames.size, len(model.probe), point.device)
        total, misfit = 0.0, 0.0
        parts = [self._used[start : start + length] for start in range(0, len(self._used), length)]
        for part, amplitudes in self._frames.in_turn(parts):
            loss, absolute = self._add_chunk(model, part, amplitudes, gradient)
            total, misfit = total + loss, misfit + absolute
        self.misfit = misfit / max(float(self._frames.amplitude_sums[self._used].sum()), 1.0)
        if self._tv_weight > 0:
            variation, slope = total_variation(model.object, self._tv_rounding)
            total += self._tv_weight * float(variation)
            gradient.object += self._tv_weight * slope
        return total, self._pack_gradient(model, gradient)

    def _add_chunk(
        self, model: Model, part: npt.NDArray[np.int64], amplitudes: torch.Tensor, gradient: Gradient
    ) -> tuple[float, float]:
        """Add the gradient of a few frames; returns (loss, sum of absolute amplitude differences)."""
        size = self._frames.size
        windows = windows_at(
            model.positions[part], model.object, size, whole=self._whole[part], with_remainders=self._refine_positions
        )
        ramps = None if windows.remainders is None else shift_ramps(windows.remainders, size)
        probes, patches, waves, intensity = propagate(model.object, model.probe, windows, ramps, model.background)
        loss, factor, absolute = self._loss(intensity, amplitudes, self._frames.mask)
        if gradient.background is not None:
            summed = factor.sum(0)
            gradient.background += summed if gradient.background.shape == summed.shape else summed.sum()
        back = torch.fft.ifft2(factor[:, None] * waves, norm="ortho")
        scatter_add(gradient.object, mode_sum(probes.conj() * back), windows)
        if self._refine_probe or self._refine_positions:
            seen = patches.conj()[:, None] * back
            if ramps is None:
                gradient.probe += seen.sum(0)
            else:
                spectrum = torch.fft.fft2(seen)
                unshifted = spectrum * ramps.conj()
                gradient.probe += torch.fft.ifft2(unshifted.sum(0))
                if gradient.positions is not None:
                    chosen = torch.as_tensor(part, device=gradient.positions.device)
                    gradient.positions[chosen] = self._slopes(model, unshifted)
        return float(loss), float(absolute)

    def _slopes(self, model: Model, unshifted: torch.Tensor) -> torch.Tensor:
        """dL/d position (frame, 2): ``2 Re sum conj(dL/dP*) dP/d position``, summed in Fourier space (Parseval)."""
        size = self._frames.size
        frequencies = torch.fft.fftfreq(size, device=unshifted.device, dtype=unshifted.real.dtype) * (2 * math.pi)
        # conj(g) * (-i w) P: its real part is w Im(conj(g) P)
        product = (unshifted.conj() * torch.fft.fft2(model.probe)).imag.sum(1)
        rows = (product.sum(2) * frequencies).sum(1)
        columns = (product.sum(1) * frequencies).sum(1)
        return torch.stack([rows, columns], 1) * (2 / size**2)
