"""Far-field (Fraunhofer) diffraction: the detector sees the Fourier transform of the exit wave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptycho_core.engine.forward.thin_sample import ThinSample

if TYPE_CHECKING:
    from ptycho_core.engine.arrays import Array, ArrayOps

__all__ = ["FarField"]


class FarField(ThinSample):
    """``D = FFT2_ortho``, see `model.ForwardModel`. A shift of the exit wave changes no intensity."""

    name = "far-field"
    folds = True  # as the Fourier transform at even frequencies is that of the sum of the quadrants
    shows_smooth_phase = True  # as a slope moves the pattern

    def propagate(self, xp: ArrayOps, wave: Array, ramps: Array | None = None) -> Array:  # noqa: ARG002
        """One orthonormal Fourier transform."""
        return xp.fft2_ortho(wave)

    def propagate_adjoint(self, xp: ArrayOps, waves: Array, ramps: Array | None = None) -> Array:  # noqa: ARG002
        """The inverse, as the transform is unitary."""
        return xp.ifft2_ortho(waves)

    def unit(self, size: int) -> float:
        """N, the factor of the orthonormal transform."""
        return size

    def transform(self, xp: ArrayOps, wave: Array, ramps: Array | None) -> Array:  # noqa: ARG002
        """The Fourier transform without a factor."""
        return xp.fft2(wave)

    def transform_adjoint(self, xp: ArrayOps, waves: Array, ramps: Array | None) -> Array:  # noqa: ARG002
        """Its inverse."""
        return xp.ifft2(waves)

    def of_spectrum(self, xp: ArrayOps, spectrum: Array, ramps: Array | None) -> Array:  # noqa: ARG002
        """It is the spectrum."""
        return spectrum
