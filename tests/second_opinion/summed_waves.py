"""The near field from the waves that each point of the sample sends out, summed up at the places of the detector, in metres.

No Fourier transform, no transfer function and no scaling of a divergent beam: `ptycho_core.physics.near_field` has none of this.
Sample and beam are functions of the place, so that neither needs the pixels of the other.
"""

import numpy as np

__all__ = ["fresnel", "rayleigh_sommerfeld"]


def fresnel(waves, axis, places, wavelength, distance, focus=np.inf):
    """Fields (..., P, P) at ``places`` x ``places`` behind waves (..., S, S) at ``axis`` x ``axis``, from Fresnel's integral.

    ``1 / iλz ∬ u(x') exp(iπ |x - x'|² / λz)`` (Goodman, *Introduction to Fourier Optics*, §4.2) without the phase of the
    plane wave. With ``focus``, the distance from there to the sample, the light that falls on the sample diverges by that much:
    ``u`` has the phase ``π |x'|² / (λ focus)`` on top.
    """
    bent = np.exp(1j * np.pi * axis**2 / (wavelength * focus))
    paths = np.exp(1j * np.pi * (places[:, None] - axis) ** 2 / (wavelength * distance)) * bent * (axis[1] - axis[0])
    return paths @ waves @ paths.T / (1j * wavelength * distance)


def rayleigh_sommerfeld(waves, axis, places, wavelength, distance):
    """The same, not paraxial: ``1 / 2π ∬ u(x') (z / r) (1 / r - ik) exp(ikr) / r`` (Goodman, §3.5, first Rayleigh-Sommerfeld)."""
    number, step = 2 * np.pi / wavelength, axis[1] - axis[0]
    fields = np.empty((*waves.shape[:-2], len(places), len(places)), complex)
    for row, down in enumerate(places):
        for column, right in enumerate(places):
            aside = (down - axis[:, None]) ** 2 + (right - axis) ** 2
            r = np.sqrt(distance**2 + aside)
            later = aside / (r + distance)  # r - z, without the loss of its digits
            path = distance / r**2 * (1 / r - 1j * number) * np.exp(1j * number * later)
            fields[..., row, column] = np.einsum("...ij,ij->...", waves, path)
    return fields * step**2 / (2 * np.pi)
