"""Near-field (Fresnel) diffraction: the detector sees the exit wave, propagated by a distance.

``D = shift(·, floor(position) - position) F^-1 H F`` with the transfer function ``H`` of `ptycho_core.physics.near_field`. The
window is cut at whole pixels; the shift of its exit wave back by the remainder lets beam and detector stand still while the
object moves. In the far field that shift changes no intensity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.engine.forward.thin_sample import ThinSample, position_slopes, shift_derivatives
from ptycho_core.physics.near_field import transfer_function

if TYPE_CHECKING:
    from ptycho_core.engine.arrays import Array, ArrayOps
    from ptycho_core.engine.forward.model import Exit
    from ptycho_core.physics.near_field import Propagation

__all__ = ["NearField"]


class NearField(ThinSample):
    """See `model.ForwardModel`.

    Models of one way and one size are equal, so that what was compiled for one serves the other.

    Args:
        xp: the operations; the transfer function is made on their device, once.
        way: to the detector.
        size: N.
    """

    name = "near-field"
    folds = False
    shows_smooth_phase = False  # as the intensity follows its curvature

    def __init__(self, xp: ArrayOps, way: Propagation, size: int) -> None:
        self._key = (way, size)
        # The image in the order of the FFT is one rolled by N // 2, which is a ramp (for even N of signs) in Fourier space.
        turns = np.exp(2j * np.pi * (np.arange(size) * (size // 2) % size) / size)
        self._kernel = xp.from_numpy(transfer_function(size, way) * turns[:, None] * turns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NearField) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def propagate(self, xp: ArrayOps, wave: Array, ramps: Array | None = None) -> Array:
        """Two Fourier transforms and the transfer function between them."""
        return self.of_spectrum(xp, xp.fft2(wave), ramps)

    def propagate_adjoint(self, xp: ArrayOps, waves: Array, ramps: Array | None = None) -> Array:
        """The same with the conjugate of the transfer function."""
        spectrum = xp.multiply(xp.fft2(waves), xp.conj(self._kernel))
        return xp.ifft2(spectrum if ramps is None else xp.multiply(spectrum, ramps))

    def unit(self, size: int) -> float:  # noqa: ARG002
        """1: there is no factor."""
        return 1.0

    def transform(self, xp: ArrayOps, wave: Array, ramps: Array | None) -> Array:
        """`propagate`."""
        return self.propagate(xp, wave, ramps)

    def transform_adjoint(self, xp: ArrayOps, waves: Array, ramps: Array | None) -> Array:
        """`propagate_adjoint`."""
        return self.propagate_adjoint(xp, waves, ramps)

    def of_spectrum(self, xp: ArrayOps, spectrum: Array, ramps: Array | None) -> Array:
        """The transfer function and one Fourier transform."""
        spectrum = spectrum * self._kernel
        return xp.ifft2(spectrum if ramps is None else xp.multiply(spectrum, xp.conj(ramps)))

    def slopes_of_positions(self, xp: ArrayOps, exits: Exit, back: Array, probe: Array, unshifted: Array) -> Array:
        """Through the shift of the probe, and through that of the exit wave back."""
        of_probe = super().slopes_of_positions(xp, exits, back, probe, unshifted)
        return of_probe - position_slopes(xp, xp.fft2(exits.wave), xp.fft2(back))

    def propagate_slopes(self, xp: ArrayOps, slopes: Array, exits: Exit) -> Array:
        """The same."""
        moved_back = shift_derivatives(xp, xp.fft2(exits.wave))
        return self.of_spectrum(xp, xp.fft2(slopes) - moved_back, exits.ramps)
