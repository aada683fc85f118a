"""Scan positions refined against the patterns by Gauss-Newton steps.

The derivative of a frame's wave with respect to its position is the object times the derivative of the shifted probe, which
is exact in Fourier space.  The linearised amplitudes then give two equations a frame (compare Dwivedi et al.,
Ultramicroscopy 192 (2018) 29, and Odstrcil et al., Opt. Express 26 (2018) 3108).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from ptycho_core.reconstruction.constants import DAMPING, LARGEST_STEP

__all__ = ["gauss_newton_steps", "probe_slopes"]


def probe_slopes(probe: torch.Tensor, ramps: torch.Tensor) -> torch.Tensor:
    """Derivatives of the shifted probe by row and column position: complex (2, frame, mode, N, N)."""
    size = probe.shape[-1]
    frequencies = torch.fft.fftfreq(size, device=probe.device, dtype=probe.real.dtype) * (-2j * math.pi)
    spectrum = torch.fft.fft2(probe)[None] * ramps
    found: torch.Tensor = torch.fft.ifft2(torch.stack([spectrum * frequencies[:, None], spectrum * frequencies]))
    return found


def gauss_newton_steps(
    waves: torch.Tensor, modelled: torch.Tensor, residual: torch.Tensor, slopes: torch.Tensor, patches: torch.Tensor
) -> npt.NDArray[np.float64]:
    """Position changes (frame, 2) in pixels that best explain the residual amplitudes, frame by frame.

    Args:
        waves: complex (frame, mode, N, N) at the detector.
        modelled: real (frame, N, N), ``sqrt(I)``.
        residual: real (frame, N, N), measured minus modelled amplitudes, zero at bad pixels.
        slopes: as from `probe_slopes`.
        patches: complex (frame, N, N), the object in each window.
    """
    changes = torch.fft.fft2(slopes * patches[:, None], norm="ortho")
    jacobian = (changes * waves.conj()).real.sum(2) / modelled
    first, second = jacobian.flatten(2)
    wanted = residual.flatten(1)
    a, b, c = (first * first).sum(1), (first * second).sum(1), (second * second).sum(1)
    u, v = (first * wanted).sum(1), (second * wanted).sum(1)
    damping = DAMPING * (a + c).mean() + torch.finfo(a.dtype).tiny
    a, c = a + damping, c + damping
    determinant = a * c - b * b
    steps = torch.stack([(c * u - b * v) / determinant, (a * v - b * u) / determinant], 1)
    found: npt.NDArray[np.float64] = np.nan_to_num(steps.double().cpu().numpy()).clip(-LARGEST_STEP, LARGEST_STEP)
    return found
