"""Scan positions refined against the patterns by Gauss-Newton steps.

The derivative of a frame's wave with respect to its position comes from the forward model.  The linearised amplitudes then give
two equations a frame (compare Dwivedi et al., Ultramicroscopy 192 (2018) 29, and Odstrcil et al., Opt. Express 26 (2018) 3108).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import Array, ArrayOps

__all__ = ["bounded", "gauss_newton_steps"]

LARGEST_STEP: Final = 0.5
"""Pixels a position may move in one step; the linearisation holds for less than a speckle."""

DAMPING: Final = 0.05
"""Of the Gauss-Newton steps of positions, relative to the mean over frames: frames that see nothing of a flat object stay put."""


def gauss_newton_steps(xp: ArrayOps, waves: Array, modelled: Array, residual: Array, changes: Array) -> Array:
    """Position changes, real (frame, 2), in pixels that best explain the residual amplitudes, frame by frame.

    Args:
        xp: the operations.
        waves: complex (frame, mode, N, N) at the detector.
        modelled: real (frame, N, N), ``sqrt(I)``.
        residual: real (frame, N, N), measured minus modelled amplitudes, zero at bad pixels.
        changes: complex (2, frame, mode, N, N), derivative of the waves by row and column.
    """
    jacobian = xp.sum(xp.real(changes * xp.conj(waves)), 2) / modelled
    first, second = jacobian[0], jacobian[1]

    def product(left: Array, right: Array) -> Array:
        return xp.sum(left * right, (1, 2))

    a, b, c = product(first, first), product(first, second), product(second, second)
    u, v = product(first, residual), product(second, residual)
    damping = DAMPING * xp.mean(a + c) + xp.tiny
    a, c = a + damping, c + damping
    determinant = a * c - b * b
    return xp.stack([(c * u - b * v) / determinant, (a * v - b * u) / determinant], 1)


def bounded(steps: NDArray[np.floating]) -> NDArray[np.float64]:
    """Steps (frame, 2) no longer than the linearisation holds; 0 where the equations have no solution."""
    found: NDArray[np.float64] = np.nan_to_num(steps.astype(np.float64)).clip(-LARGEST_STEP, LARGEST_STEP)
    return found
