"""Smooth phase as an unknown of its own scale, for a joint fit whose patterns show it little.

In the near field the intensity follows the curvature and, through the structure of the beam, the slope of a phase. So the
curvature of the misfit along a phase of spatial frequency q falls with q, and plain steps find smooth phase last. The scaled
unknown y stands for ``x = y + i u F^-1[(s - 1) F Im(conj(u) y)]`` with ``u`` the phase of the field at the start: what turns the
phase is multiplied by ``s(q)``, what changes the modulus stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from ptycho_core.engine.arrays import Array, ArrayOps

__all__ = ["SmoothPhase"]

ROUGH: Final = 0.2
"""Spatial frequency, cycles a pixel, from which on the patterns show a phase well."""

LARGEST: Final = 4.0
"""Largest scale. Of 2 to 30, 3 to 5 left the smallest errors after the usual number of iterations (decision 0100)."""

DARK: Final = 1e-3
"""Least modulus whose phase is taken."""


class SmoothPhase:
    """The scaling of one field, complex (..., rows, columns); it is linear over the reals and its own adjoint."""

    def __init__(self, xp: ArrayOps, field: Array) -> None:
        self._xp = xp
        self._unit = xp.over_real(field, xp.at_least(xp.abs(field), DARK))
        rows, columns = (np.fft.fftfreq(length) for length in tuple(field.shape)[-2:])
        scale = np.clip(ROUGH / np.maximum(np.hypot(rows[:, None], columns), ROUGH / LARGEST), 1.0, LARGEST)
        self._more, self._less = xp.from_numpy(scale - 1), xp.from_numpy(1 / scale - 1)

    def of(self, scaled: Array) -> Array:
        """The field of a scaled unknown, and a scaled gradient of a gradient."""
        return self._xp.compiled(_stretched)(scaled, self._unit, self._more)

    def inverse(self, field: Array) -> Array:
        """The scaled unknown of a field."""
        return self._xp.compiled(_stretched)(field, self._unit, self._less)


def _stretched(xp: ArrayOps, field: Array, unit: Array, factor: Array) -> Array:
    phase = xp.imag(xp.conj(unit) * field)
    change = xp.real(xp.ifft2(xp.times_real(xp.fft2(xp.complex(phase, xp.zeros_like(phase))), factor)))
    return field + unit * xp.complex(xp.zeros_like(change), change)
