"""Gradients of a loss through the forward model, written by hand, as d/d Re + i d/d Im for complex arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.physics.forward import BATCH, at_detector, check_model, from_detector
from ptycho_core.physics.propagation import shift, shift_derivatives
from ptycho_core.physics.windows import add_windows, cut_windows, split_positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.physics.near_field import Propagation

__all__ = ["Gradients", "model_gradients"]


@dataclass(frozen=True)
class Gradients:
    """Derivatives of a real loss.

    Attributes:
        object: (rows, columns), complex128.
        probe: (mode, N, N), complex128.
        positions: (frame, 2), float64, per pixel, (row, column).
        background: (N, N), float64, per count.
        flux: (frame,), float64.
    """

    object: NDArray[np.complex128]
    probe: NDArray[np.complex128]
    positions: NDArray[np.float64]
    background: NDArray[np.float64]
    flux: NDArray[np.float64]


def model_gradients(
    object: NDArray[np.complex128],  # noqa: A002
    probe: NDArray[np.complex128],
    positions: NDArray[np.float64],
    derivative: NDArray[np.float64],
    flux: NDArray[np.float64] | None = None,
    *,
    way: Propagation | None = None,
    batch: int = BATCH,
) -> Gradients:
    """Carry dL/dI back to the object, the probe, the positions, the background and the flux.

    ``G_Ψ = 2 f (dL/dI) Ψ`` and ``G_ψ = D† G_Ψ``; then ``G_O[window] += Σ_m conj(shift P_m) G_ψm``,
    ``G_Pm = Σ_frames shift⁻¹(conj(O[window]) G_ψm)``, ``dL/dd = Σ Re conj(G_ψ) O[window] d(shift P)/dd``.
    ``dL/df = Σ (dL/dI) Σ_m |Ψ_m|²``. Positions act through the remainder alone: the whole-pixel part is held. In the near field
    D moves the exit wave back by it, which adds ``−Σ Re conj(G_ψ) dψ/dd`` of a shift of ψ.

    Args:
        object: (rows, columns).
        probe: (mode, N, N).
        positions: (frame, 2), (row, column), object pixels.
        derivative: (frame, N, N), dL/dI of every modelled intensity, as those have it.
        flux: (frame,), f, or None for 1.
        way: as of `ptycho_core.physics.forward.intensities`.
        batch: frames computed at once.

    Raises:
        DataError: if a shape does not fit or a window leaves the object.
    """
    check_model(object, probe, positions, None, flux)
    of_object = np.zeros(object.shape, dtype=np.complex128)
    of_probe = np.zeros(probe.shape, dtype=np.complex128)
    of_positions, of_flux = np.zeros((len(positions), 2)), np.zeros(len(positions))
    factors = np.ones(len(positions)) if flux is None else flux
    for first in range(0, len(positions), batch):
        frames = slice(first, first + batch)
        corners, remainders = split_positions(positions[frames])
        displacement = remainders[:, None]
        windows = cut_windows(object, corners, probe.shape[-1])[:, None]
        shifted = shift(probe, displacement)
        exits = shifted * windows
        wave = at_detector(exits, displacement, way)
        of_flux[frames] = (derivative[frames] * (np.abs(wave) ** 2).sum(axis=1)).sum(axis=(1, 2))
        back = from_detector(2 * factors[frames, None, None, None] * derivative[frames, None] * wave, displacement, way)
        add_windows(of_object, np.sum(shifted.conj() * back, axis=1), corners)
        of_shifted = windows.conj() * back
        of_probe += np.sum(shift(of_shifted, -displacement), axis=0)
        for axis, change in enumerate(shift_derivatives(probe, displacement)):
            of_positions[frames, axis] = np.sum((of_shifted.conj() * change).real, axis=(1, 2, 3))
        for axis, change in enumerate(() if way is None else shift_derivatives(exits, np.zeros(2))):
            of_positions[frames, axis] -= np.sum((back.conj() * change).real, axis=(1, 2, 3))
    return Gradients(of_object, of_probe, of_positions, derivative.sum(axis=0), of_flux)
