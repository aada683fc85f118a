"""The forward model as plain differentiable PyTorch.

Same conventions as ``ptycho_core.physics`` (``specs/forward-model.md``): orthonormal FFT, zero frequency at ``[N//2, N//2]``,
windows at whole pixels, the remainder by a Fourier shift of the probe.
"""

from __future__ import annotations

import math

import torch

__all__ = ["far_field_intensities", "fourier_shift", "intensities", "object_windows"]


def object_windows(transmission: torch.Tensor, corners: torch.Tensor, size: int) -> torch.Tensor:
    """Cut (frame, N, N) windows out of the (rows, columns) object; differentiable in the object.

    Args:
        transmission: complex (rows, columns).
        corners: int64 (frame, 2), (row, column) of each window's first pixel; the caller has checked that they lie inside.
        size: N.
    """
    steps = torch.arange(size, device=transmission.device)
    rows = (corners[:, :1] + steps) * transmission.shape[1]
    columns = corners[:, 1:] + steps
    return transmission.reshape(-1)[rows[:, :, None] + columns[:, None, :]]


def fourier_shift(field: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
    """Move periodic fields (..., N, N) by (frame, 2) pixels, (row, column): (frame, ..., N, N).

    Differentiable in both. For even N the Nyquist frequency counts as -1/2, see ``ptycho_core.physics.shift``.
    The few angles are computed in the precision of ``displacement``, then rounded to that of the field.
    """
    frequencies = torch.fft.fftfreq(field.shape[-1], device=field.device, dtype=displacement.dtype)
    angles = -2 * math.pi * displacement[:, :, None] * frequencies
    ramps = torch.complex(torch.cos(angles), torch.sin(angles))
    ramp = (ramps[:, 0, :, None] * ramps[:, 1, None, :]).to(field.dtype)
    ramp = ramp.reshape(len(ramp), *(1,) * (field.ndim - 2), *field.shape[-2:])
    shifted: torch.Tensor = torch.fft.ifft2(torch.fft.fft2(field) * ramp)
    return shifted


def far_field_intensities(exit_waves: torch.Tensor) -> torch.Tensor:
    """Intensities (frame, N, N) of exit waves (frame, mode, N, N), summed over modes, zero frequency at ``[N//2, N//2]``."""
    waves = torch.view_as_real(torch.fft.fft2(exit_waves, norm="ortho"))
    patterns: torch.Tensor = torch.fft.fftshift(waves.square().sum(dim=(1, -1)), dim=(-2, -1))
    return patterns


def intensities(
    transmission: torch.Tensor,
    probe: torch.Tensor,
    corners: torch.Tensor,
    remainders: torch.Tensor,
    background: torch.Tensor | None = None,
) -> torch.Tensor:
    """Modelled mean counts ``Σ_m |FFT2_ortho(shift(P_m) · O[window])|² + background``, differentiable in all but ``corners``.

    Args:
        transmission: the object, complex (rows, columns).
        probe: complex (mode, N, N), scaled to counts.
        corners: int64 (frame, 2), whole pixels of the positions, (row, column).
        remainders: real (frame, 2), the rest of the positions, in [0, 1); best in float64 also for a single-precision object.
        background: real (N, N), counts, or None.

    Returns:
        Real (frame, N, N), counts, in the precision of the object.
    """
    windows = object_windows(transmission, corners, probe.shape[-1])
    modelled = far_field_intensities(fourier_shift(probe, remainders) * windows[:, None])
    return modelled if background is None else modelled + background
