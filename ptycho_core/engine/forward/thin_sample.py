"""Thin samples: the exit wave is probe times object, modes add as intensities; what comes between the two is a subclass.

Model of one frame with its window's ``[0, 0]`` corner at ``position``:

``psi_m = sqrt(f) * shift(P_m, position - floor(position)) * O[window]``,  ``I = sum_m |D psi_m|^2 + background``,

with the flux ``f`` of the frame and the propagation ``D`` of a subclass.

Fields at the detector have the order of the FFT: what files have at ``[N // 2, N // 2]`` lies at ``[0, 0]``; frames are brought
into that order once, on reading.  Derivatives are Wirtinger derivatives ``dL/d conj(z)``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from ptycho_core.engine.forward.model import Exit, ExitGradient

if TYPE_CHECKING:
    from ptycho_core.engine.arrays import Array, ArrayOps
    from ptycho_core.engine.state import Fields, Windows

__all__ = ["ThinSample", "position_slopes", "shift_derivatives", "shifted_probe"]


class ThinSample(ABC):
    """What forward models of thin samples share; see `model.ForwardModel`."""

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

    @abstractmethod
    def propagate(self, xp: ArrayOps, wave: Array, ramps: Array | None = None) -> Array:
        """See `model.ForwardModel`."""

    def measure(self, xp: ArrayOps, waves: Array, background: Array | None) -> Array:
        """Modes add as intensities."""
        intensity = xp.mode_sum(xp.abs2(waves))
        return intensity if background is None else intensity + background

    def measure_adjoint(self, xp: ArrayOps, factor: Array, waves: Array) -> Array:
        """``dL/d conj(psi) = dL/dI psi``."""
        return xp.times_real(waves, factor[:, None])

    @abstractmethod
    def propagate_adjoint(self, xp: ArrayOps, waves: Array, ramps: Array | None = None) -> Array:
        """See `model.ForwardModel`."""

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
        slopes = self.slopes_of_positions(xp, exits, back, probe, unshifted) if with_positions else None
        return ExitGradient(patches, xp.ifft2(xp.sum(unshifted, 0)), slopes, flux)

    def position_derivative(self, xp: ArrayOps, exits: Exit, probe: Array) -> Array:
        """The object times the derivative of the shifted probe, which is exact in Fourier space."""
        slopes = xp.ifft2(shift_derivatives(xp, xp.fft2(probe)[None] * exits.ramps))
        if exits.roots is not None:
            slopes = xp.times_real(slopes, exits.roots)
        return self.propagate_slopes(xp, slopes * exits.patches[:, None], exits)

    def slopes_of_positions(self, xp: ArrayOps, exits: Exit, back: Array, probe: Array, unshifted: Array) -> Array:  # noqa: ARG002
        """``dL/d position`` (frame, 2) through the shift of the probe; ``unshifted`` is the spectrum of its derivative."""
        return position_slopes(xp, xp.fft2(probe), unshifted)

    def propagate_slopes(self, xp: ArrayOps, slopes: Array, exits: Exit) -> Array:
        """The derivative of the waves at the detector, from that of exit waves: both complex (2, frame, mode, N, N)."""
        return self.propagate(xp, slopes, exits.ramps)


def shifted_probe(xp: ArrayOps, probe: Array, ramps: Array | None) -> Array:
    """The probe (mode, N, N) at every frame: (frame, mode, N, N), or (1, mode, N, N) where no ramp is given."""
    return probe[None] if ramps is None else xp.ifft2(xp.fft2(probe)[None] * ramps)


def shift_derivatives(xp: ArrayOps, spectrum: Array) -> Array:
    """Derivatives of a shifted field's spectrum (frame, mode, N, N) by the shift along rows and columns, stacked in front."""
    angles = -2 * math.pi * xp.fft_frequencies(xp.size(spectrum))
    factors = xp.complex(xp.zeros_like(angles), angles)
    return xp.stack([spectrum * factors[:, None], spectrum * factors])


def position_slopes(xp: ArrayOps, moved: Array, slope: Array) -> Array:
    """Slopes (frame, 2) by the place of a field: ``2 Re sum conj(dL/dF*) dF/d position``, summed in Fourier space (Parseval).

    Of the field's spectrum ``moved`` and ``slope``, that of ``dL/dF*``: complex (frame or nothing, mode, N, N).
    """
    size = xp.size(moved)
    frequencies = xp.fft_frequencies(size) * (2 * math.pi)
    # conj(g) * (-i w) F: its real part is w Im(conj(g) F)
    product = xp.sum(xp.imag(xp.conj(slope) * moved), 1)
    rows = xp.sum(xp.sum(product, 2) * frequencies, 1)
    columns = xp.sum(xp.sum(product, 1) * frequencies, 1)
    return xp.stack([rows, columns], 1) * (2 / xp.number(size) ** 2)
