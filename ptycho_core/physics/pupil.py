"""The beam on the detector, where no sample is: what a mean pattern or an aperture says of it, and what not.

A pattern tells the modulus of the wave and not its phase. Out of focus the phase that a lens, a mirror or a zone plate leaves
there is a paraboloid to first order, so that one number completes a probe: ``q``, the phase in rad at the edge of the detector,
r = 1. A sample ``dz`` behind the focus has ``q = -π λ dz / (4 dx²)`` with the object's pixel ``dx`` (Goodman, Introduction to
Fourier Optics, 3rd ed., §4.2: the transfer function of free space, ``exp(-iπ λ dz f²)``, at ``f = 1 / (2 dx)``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.physics.propagation import backpropagate

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Pupil", "disk", "edge_phase", "focus_distance"]

_INSIDE: Final = 0.9
"""Share of the light within the edge: nearly all of it, and not what the sample scatters far out."""


@dataclass(frozen=True, eq=False)
class Pupil:
    """The modulus of the beam on the detector.

    Attributes:
        amplitude: (N, N), float64, square roots of counts, zero frequency at ``[N//2, N//2]``.
        center: (row, column) of the middle of the light, pixels.
        edge: radius in pixels about ``center`` that holds nine tenths of the light.
    """

    amplitude: NDArray[np.float64]
    center: tuple[float, float]
    edge: float

    @classmethod
    def of(cls, intensity: NDArray[np.floating[Any]]) -> Pupil:
        """That of an intensity (N, N) which is not 0 everywhere."""
        light = np.asarray(intensity, dtype=np.float64)
        row, column = (float((light.sum(axis=1 - axis) * np.arange(len(light))).sum() / light.sum()) for axis in (0, 1))
        distance = _distance(len(light), (row, column)).ravel()
        order = np.argsort(distance, kind="stable")
        inside = np.cumsum(light.ravel()[order])
        edge = distance[order][np.searchsorted(inside, _INSIDE * inside[-1])]
        return cls(np.sqrt(light), (row, column), max(float(edge), 1.0))

    @classmethod
    def of_patterns(cls, mean: NDArray[np.floating[Any]], mask: NDArray[np.bool_]) -> Pupil:
        """That of the mean (N, N) of a scan's patterns; a bad pixel takes the mean of the good ones as far from the middle.

        The sample's scattering blurs it, which a fit of the probe mends.
        """
        if mask.all():
            return cls.of(mean)
        rings = np.rint(_distance(len(mean), (len(mean) // 2,) * 2)).astype(np.int64)
        good = np.bincount(rings[mask], minlength=int(rings.max()) + 1)
        sums = np.bincount(rings[mask], weights=np.asarray(mean, dtype=np.float64)[mask], minlength=len(good))
        known = np.flatnonzero(good)
        means = np.interp(np.arange(len(good)), known, sums[known] / good[known])
        return cls.of(np.where(mask, mean, means[rings]))

    @classmethod
    def of_aperture(cls, size: int, diameter: float, stop: float = 0.0) -> Pupil:
        """That of an evenly lit round aperture on a detector of ``size`` pixels, with edges one pixel soft.

        Args:
            size: N.
            diameter: of its image on the detector, pixels.
            stop: of the image of a central stop, pixels; 0 for none.
        """
        distance = _distance(size, (size // 2,) * 2)
        inside = np.clip(diameter / 2 - distance + 0.5, 0, 1)
        return cls.of(inside - np.minimum(inside, np.clip(stop / 2 - distance + 0.5, 0, 1) if stop > 0 else 0.0))

    def cropped(self, size: int) -> Pupil:
        """That of the middle ``size`` pixels of the detector; the edge stays where it is, be it outside."""
        first = len(self.amplitude) // 2 - size // 2
        middle = self.amplitude[first : first + size, first : first + size]
        return Pupil(middle, (self.center[0] - first, self.center[1] - first), self.edge)

    def phase_at_edge(self, q: float) -> float:
        """The phase in rad where the light ends, or the detector if that is before, of a probe with ``q`` rad at the latter."""
        half = len(self.amplitude) / 2
        return q * (min(self.edge, half) / half) ** 2

    def probe(self, q: float) -> NDArray[np.complex128]:
        """The probe (1, N, N) with a phase of ``q`` rad at the edge of the detector, in the middle of its window."""
        size = len(self.amplitude)
        wave = self.amplitude * np.exp(1j * q * (_distance(size, self.center) * (2 / size)) ** 2)
        return np.fft.fftshift(backpropagate(wave), axes=(-2, -1))[np.newaxis]


def edge_phase(distance_m: float, wavelength_m: float, pixel_m: float) -> float:
    """``q`` in rad of a sample ``distance_m`` behind the focus (positive: the beam diverges), object pixels ``pixel_m`` wide."""
    return -math.pi * wavelength_m * distance_m / (4 * pixel_m**2)


def focus_distance(q: float, wavelength_m: float, pixel_m: float) -> float:
    """Distance in metres from the focus to the sample that gives ``q`` rad: the inverse of `edge_phase`."""
    return -4 * pixel_m**2 * q / (math.pi * wavelength_m)


def disk(size: int, diameter: float) -> NDArray[np.complex128]:
    """A flat disc of ``diameter`` pixels in the middle of a window, edge one pixel soft: (1, N, N)."""
    return np.clip(diameter / 2 - _distance(size, (size // 2,) * 2) + 0.5, 0, 1).astype(np.complex128)[np.newaxis]


def _distance(size: int, center: tuple[float, float]) -> NDArray[np.float64]:
    """Distance (size, size) of each pixel from a place (row, column)."""
    along = np.arange(size)
    return np.asarray(np.hypot((along - center[0])[:, np.newaxis], (along - center[1])[np.newaxis, :]), dtype=np.float64)
