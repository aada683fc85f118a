"""Far-field propagation of probe times object, for batches of scan positions.

Fields are complex tensors with the zero frequency of the detector at ``[0, 0]`` (the order of the FFT); frames are
brought into that order once, on reading.  Model of one frame with its window's ``[0, 0]`` corner at ``position``:

``psi_m = shift(P_m, position - floor(position)) * O[window]``,  ``I = sum_m |FFT2_ortho(psi_m)|^2 + background``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

__all__ = [
    "Model",
    "Propagated",
    "Windows",
    "gather",
    "mode_sum",
    "propagate",
    "scatter_add",
    "shift_ramps",
    "shifted_probe",
    "squared_modulus",
    "windows_at",
]


@dataclass
class Model:
    """What is reconstructed.

    Attributes:
        object: complex (rows, columns).
        probe: complex (mode, N, N); its squared modulus sums to the mean counts of a pattern of an empty object.
        positions: float64 NumPy (frame, 2), row and column of the window's ``[0, 0]`` corner, in object pixels.
        background: real (1, 1) or (N, N) counts a pixel in FFT order, or None for none.
    """

    object: torch.Tensor
    probe: torch.Tensor
    positions: npt.NDArray[np.float64]
    background: torch.Tensor | None = None

    def copy(self) -> Model:
        """A copy that shares no memory."""
        background = None if self.background is None else self.background.clone()
        return Model(self.object.clone(), self.probe.clone(), self.positions.copy(), background)

    def is_finite(self) -> bool:
        """Whether object, probe and positions hold finite numbers only."""
        finite = bool(torch.isfinite(torch.view_as_real(self.object)).all())
        finite = finite and bool(torch.isfinite(torch.view_as_real(self.probe)).all())
        return finite and bool(np.isfinite(self.positions).all())


@dataclass(frozen=True)
class Windows:
    """The places of a batch of windows.

    Attributes:
        corners: whole-pixel (row, column) of every window's corner.
        remainders: real (frame, 2) tensor, what is left of the position, or None where all are zero.
        flat: int64 (frame, N, N), flat indices into the object; only on devices where one call beats a loop.
    """

    corners: list[tuple[int, int]]
    remainders: torch.Tensor | None
    flat: torch.Tensor | None


def windows_at(
    positions: npt.NDArray[np.float64],
    like: torch.Tensor,
    size: int,
    *,
    whole: npt.NDArray[np.float64] | None = None,
    with_remainders: bool = False,
) -> Windows:
    """Windows of (frame, 2) ``positions`` in the object ``like`` for frames of ``size`` pixels.

    ``whole`` fixes the corners (frame, 2) instead of rounding down, so that positions can move smoothly;
    ``with_remainders`` gives remainders even where all are zero.
    """
    if whole is None:
        whole = np.floor(positions)
    rest = positions - whole
    corners = [(int(row), int(column)) for row, column in whole]
    remainders = None
    if with_remainders or rest.any():
        remainders = torch.as_tensor(rest, dtype=like.real.dtype, device=like.device)
    flat = None
    if like.device.type != "cpu":
        corner = torch.as_tensor(whole, dtype=torch.int64, device=like.device)
        steps = torch.arange(size, device=like.device)
        rows = (corner[:, 0, None] + steps) * like.shape[1]
        flat = rows[:, :, None] + (corner[:, 1, None] + steps)[:, None, :]
    return Windows(corners, remainders, flat)


def gather(canvas: torch.Tensor, windows: Windows, size: int) -> torch.Tensor:
    """Cut (frame, N, N) windows out of a (rows, columns) canvas."""
    if windows.flat is not None:
        return torch.take(canvas, windows.flat)
    return torch.stack([canvas[row : row + size, column : column + size] for row, column in windows.corners])


def scatter_add(canvas: torch.Tensor, patches: torch.Tensor, windows: Windows) -> None:
    """Add (frame, N, N) patches to their windows of the canvas, in place; the adjoint of `gather`.

    On the CPU frames are added in order, so that the sum is the same in every run.  On CUDA ``index_add_`` adds in no
    fixed order: sums there differ in the last digits from run to run.
    """
    if windows.flat is not None:
        canvas.view(-1).index_add_(0, windows.flat.reshape(-1), patches.reshape(-1))
        return
    size = patches.shape[-1]
    for patch, (row, column) in zip(patches.unbind(0), windows.corners, strict=True):
        canvas[row : row + size, column : column + size].add_(patch)


def shift_ramps(remainders: torch.Tensor, size: int) -> torch.Tensor:
    """Fourier factors, complex (frame, 1, N, N), that move a field by (row, column) remainders (frame, 2).

    ``exp(-2 pi i (f_row d_row + f_col d_col))``, the shift theorem.
    """
    frequencies = torch.fft.fftfreq(size, device=remainders.device, dtype=remainders.dtype)
    angles = -2 * math.pi * remainders[:, :, None] * frequencies
    ramps = torch.polar(torch.ones_like(angles), angles)
    return (ramps[:, 0, :, None] * ramps[:, 1, None, :])[:, None]


def shifted_probe(probe: torch.Tensor, ramps: torch.Tensor | None) -> torch.Tensor:
    """The probe (mode, N, N) at every frame: (frame, mode, N, N), or (1, mode, N, N) where no ramp is given."""
    if ramps is None:
        return probe[None]
    found: torch.Tensor = torch.fft.ifft2(torch.fft.fft2(probe)[None] * ramps)
    return found


def squared_modulus(field: torch.Tensor) -> torch.Tensor:
    """``|field|^2`` (faster than through ``abs``, which takes a root)."""
    parts = torch.view_as_real(field.resolve_conj())
    parts = parts * parts
    return parts[..., 0] + parts[..., 1]


def mode_sum(field: torch.Tensor) -> torch.Tensor:
    """Sum over modes, the second axis; a single mode is not copied."""
    return field[:, 0] if field.shape[1] == 1 else field.sum(1)


class Propagated(NamedTuple):
    """A batch on its way to the detector.

    Attributes:
        probes: complex (frame, mode, N, N), shifted; (1, mode, N, N) where no frame needs a shift.
        patches: complex (frame, N, N), the object in the windows.
        waves: complex (frame, mode, N, N) at the detector, in the order of the FFT.
        intensity: real (frame, N, N), counts, in the order of the FFT.
    """

    probes: torch.Tensor
    patches: torch.Tensor
    waves: torch.Tensor
    intensity: torch.Tensor


def propagate(
    transmission: torch.Tensor,
    probe: torch.Tensor,
    windows: Windows,
    ramps: torch.Tensor | None,
    background: torch.Tensor | None = None,
) -> Propagated:
    """The forward model of a batch: ``I = sum_m |FFT2_ortho(shift(P_m) O[window])|^2 + background``.

    Differentiable in all tensors.

    Args:
        transmission: the object, complex (rows, columns).
        probe: complex (mode, N, N).
        windows: where the frames are.
        ramps: what `shift_ramps` gives for the remainders, or None where all are zero.
        background: real (N, N) or (1, 1), counts, in the order of the FFT, or None.
    """
    probes = shifted_probe(probe, ramps)
    patches = gather(transmission, windows, probe.shape[-1])
    waves = torch.fft.fft2(probes * patches[:, None], norm="ortho")
    intensity = mode_sum(squared_modulus(waves))
    return Propagated(probes, patches, waves, intensity if background is None else intensity + background)
