"""Far-field (Fraunhofer) diffraction of probe times object.

Model of one frame with its window's ``[0, 0]`` corner at ``position``:

``psi_m = sqrt(f) * shift(P_m, position - floor(position)) * O[window]``,  ``I = sum_m |FFT2_ortho(psi_m)|^2 + background``,

with the flux ``f`` of the frame.

Fields at the detector have the zero frequency at ``[0, 0]`` (the order of the FFT); frames are brought into that order once, on
reading.  Derivatives are Wirtinger derivatives ``dL/d conj(z)``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ptycho_core.engine.forward.model import Exit, ExitGradient

if TYPE_CHECKING:
    from ptycho_core.engine.arrays import Array, ArrayOps
    from ptycho_core.engine.state import Fields, Windows

__all__ = ["FarField", "shifted_probe"]


class FarField:
    """The detector sees the Fourier transform of the exit wave; see `model.ForwardModel`."""

    name = "far-field"
    folds = True  # as the Fourier transform at even frequencies is that of the sum of the quadrants

    def exit_wave(self, xp: ArrayOps, fields: Fields, windows: Windows) -> Exit:
        """Probe, shifted by the remainders of the positions, times the root of the flux and the object in the windows."""
        size = xp.size(fields.probe)
        ramps = None if windows.remainders is None else xp.shift_ramps(windows.remainders, size)
        probes = shifted_probe(xp, fields.probe, ramps)
        patches = xp.gather(fields.object, windows.corners, size)
        if windows.flux is None:
            return self.illuminate(xp, probes, patches, ramps)
        roots = xp.sqrt(windows.flux)[:, None, None, None]
        return self.illuminate(xp, xp.times_real(probes, roots), patches, ramps, roots)

    def illuminate(
        self,
        xp: ArrayOps,  # noqa: ARG002
        probes: Array,
        patches: Array,
        ramps: Array | None,
        roots: Array | None = None,
    ) -> Exit:
        """Probe times object."""
        return Exit(probes * patches[:, None], probes, patches, ramps, roots)

    def propagate(self, xp: ArrayOps, wave: Array) -> Array:
        """One orthonormal Fourier transform."""
        return xp.fft2_ortho(wave)

    def measure(self, xp: ArrayOps, waves: Array, background: Array | None) -> Array:
        """Modes add as intensities."""
        intensity = xp.mode_sum(xp.abs2(waves))
        return intensity if background is None else intensity + background

    def measure_adjoint(self, xp: ArrayOps, factor: Array, waves: Array) -> Array:
        """``dL/d conj(psi) = dL/dI psi``."""
        return xp.times_real(waves, factor[:, None])

    def propagate_adjoint(self, xp: ArrayOps, waves: Array) -> Array:
        """The inverse, as the transform is unitary."""
        return xp.ifft2_ortho(waves)

    def exit_adjoint(
        self,
        xp: ArrayOps,
        exits: Exit,
        back: Array,
        probe: Array,
        *,
        with_probe: bool,
        with_positions: bool,
        with_flux: bool = False,
    ) -> ExitGradient:
        """``conj(P) back`` for the object, ``conj(O) back``, shifted back, for the probe, ``Re conj(back) psi`` for ``log f``."""
        patches = xp.mode_sum(xp.conj(exits.probes) * back)
        flux = xp.sum(xp.sum(xp.real_product(back, exits.wave), 1), (1, 2)) if with_flux else None
        if not (with_probe or with_positions):
            return ExitGradient(patches, None, None, flux)
        seen = xp.conj(exits.patches)[:, None] * back
        if exits.roots is not None:
            seen = xp.times_real(seen, exits.roots)
        if exits.ramps is None:
            return ExitGradient(patches, xp.sum(seen, 0), None, flux)
        unshifted = xp.fft2(seen) * xp.conj(exits.ramps)
        slopes = _position_slopes(xp, probe, unshifted) if with_positions else None
        return ExitGradient(patches, xp.ifft2(xp.sum(unshifted, 0)), slopes, flux)

    def position_derivative(self, xp: ArrayOps, exits: Exit, probe: Array) -> Array:
        """The object times the derivative of the shifted probe, which is exact in Fourier space."""
        angles = -2 * math.pi * xp.fft_frequencies(xp.size(probe))
        factors = xp.complex(xp.zeros_like(angles), angles)
        spectrum = xp.fft2(probe)[None] * exits.ramps
        slopes = xp.ifft2(xp.stack([spectrum * factors[:, None], spectrum * factors]))
        if exits.roots is not None:
            slopes = xp.times_real(slopes, exits.roots)
        return self.propagate(xp, slopes * exits.patches[:, None])


def shifted_probe(xp: ArrayOps, probe: Array, ramps: Array | None) -> Array:
    """The probe (mode, N, N) at every frame: (frame, mode, N, N), or (1, mode, N, N) where no ramp is given."""
    return probe[None] if ramps is None else xp.ifft2(xp.fft2(probe)[None] * ramps)


def _position_slopes(xp: ArrayOps, probe: Array, unshifted: Array) -> Array:
    """dL/d position (frame, 2): ``2 Re sum conj(dL/dP*) dP/d position``, summed in Fourier space (Parseval)."""
    size = xp.size(probe)
    frequencies = xp.fft_frequencies(size) * (2 * math.pi)
    # conj(g) * (-i w) P: its real part is w Im(conj(g) P)
    product = xp.sum(xp.imag(xp.conj(unshifted) * xp.fft2(probe)), 1)
    rows = xp.sum(xp.sum(product, 2) * frequencies, 1)
    columns = xp.sum(xp.sum(product, 1) * frequencies, 1)
    return xp.stack([rows, columns], 1) * (2 / xp.number(size) ** 2)
