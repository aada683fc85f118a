"""The near field (Fresnel diffraction): the wave at the detector is that behind the sample, propagated by a distance.

All is said in pixels of the object, so that engines need two numbers. For a beam that diverges from a focus the Fresnel scaling
theorem holds: with ``M = (z1 + z2) / z1``, z1 from the focus to the sample and z2 on to the detector, the pattern is that of a
parallel beam after ``z2 / M``, magnified M times (Paganin, *Coherent X-Ray Optics*, 2006, appendix B).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np

from ptycho_core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "PROPAGATORS", "Propagation", "critical_distance", "near_field", "near_field_adjoint", "transfer_function", "way_of",
]  # fmt: skip

PROPAGATORS: Final = ("angular-spectrum", "fresnel")
"""How the near field can be computed."""

_AXES = (-2, -1)


class Propagation(NamedTuple):
    """The way from the sample to the detector in the near field.

    Attributes:
        propagator: of `PROPAGATORS`.
        distance: ``λ z / p²`` with the (effective) distance z and the object's pixel p; ``1 / distance`` is the Fresnel number of
            a pixel.
        wavelength: ``λ / p``; the Fresnel propagator does not depend on it.
    """

    propagator: Literal["angular-spectrum", "fresnel"]
    distance: float
    wavelength: float


def way_of(stated: tuple[str, float, float] | None) -> Propagation | None:
    """The way that an ``EvaluateJob`` states in plain data, checked; None for the far field.

    Raises:
        DataError: the propagator is unknown, or distance or wavelength is no finite number above 0.
    """
    if stated is None:
        return None
    name, *numbers = stated
    propagator = next((one for one in PROPAGATORS if one == name), None)
    if propagator is None or len(numbers) != 2 or not all(0 < number < np.inf for number in numbers):
        raise DataError(
            f"The propagation {tuple(stated)} is none: (propagator, distance, wavelength) with {' or '.join(PROPAGATORS)} "
            "and two finite numbers above 0 is expected."
        )
    return Propagation(propagator, float(numbers[0]), float(numbers[1]))


def transfer_function(size: int, way: Propagation) -> NDArray[np.complex128]:
    """What each spatial frequency of a window is multiplied by: (N, N), in the order of the FFT.

    Fresnel: ``exp(-iπ λz f²)``; angular spectrum: ``exp(2πi z/λ (√(1 − λ²f²) − 1))``, and 0 where ``λ f > 1``, as evanescent
    waves do not arrive (Goodman, *Introduction to Fourier Optics*, §3.10 and §4.2). The phase of the plane wave,
    ``exp(2πi z/λ)``, is left out of both.
    """
    frequencies = np.fft.fftfreq(size)
    squared = frequencies[:, None] ** 2 + frequencies[None, :] ** 2
    if way.propagator == "fresnel":
        return np.asarray(np.exp(-1j * np.pi * way.distance * squared))
    sine = way.wavelength**2 * squared
    # √(1−s) − 1 = −s / (1 + √(1−s)): the difference itself would lose the digits that matter where λ is far below a pixel.
    root = np.sqrt(np.maximum(1 - sine, 0))
    waves = np.exp(-2j * np.pi * way.distance * squared / (1 + root))
    return np.asarray(np.where(sine <= 1, waves, 0))


def near_field(field: ArrayLike, way: Propagation) -> NDArray[np.complex128]:
    """Wave at the detector (..., N, N) of an exit wave (..., N, N); pixel ``[r, c]`` lies behind pixel ``[r, c]``.

    The window is periodic: what leaves it on one side comes in on the other.
    """
    values = np.asarray(field, dtype=np.complex128)
    return np.fft.ifft2(transfer_function(values.shape[-1], way) * np.fft.fft2(values))


def near_field_adjoint(field: ArrayLike, way: Propagation) -> NDArray[np.complex128]:
    """The adjoint of `near_field`, and its inverse where no wave is evanescent."""
    values = np.asarray(field, dtype=np.complex128)
    return np.fft.ifft2(transfer_function(values.shape[-1], way).conj() * np.fft.fft2(values))


def critical_distance(size: int) -> float:
    """The ``λ z / p²`` up to which N pixels sample the near field without wrapping round: N.

    Beyond, a wave at the highest frequency of the window goes sideways by more than half of it.
    """
    return float(size)
