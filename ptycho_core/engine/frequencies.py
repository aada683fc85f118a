"""Spatial frequencies as unknowns of their own scales, for a joint fit whose patterns show some less than others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import Array, ArrayOps

__all__ = ["Frequencies"]


class Frequencies:
    """Each frequency of a field, complex (..., rows, columns), multiplied by its own factor; a scale of `joint.Joint`.

    Args:
        xp: the operations.
        factors: (rows, columns), real, above 0, in FFT order.
    """

    def __init__(self, xp: ArrayOps, factors: NDArray[Any]) -> None:
        self._xp, self._factors = xp, xp.from_numpy(factors)

    def of(self, scaled: Array) -> Array:
        """The field of a scaled unknown, and a scaled gradient of a gradient."""
        return self._xp.ifft2(self._xp.times_real(self._xp.fft2(scaled), self._factors))

    def inverse(self, field: Array) -> Array:
        """The scaled unknown of a field."""
        return self._xp.ifft2(self._xp.over_real(self._xp.fft2(field), self._factors))
