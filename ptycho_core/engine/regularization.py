"""Total variation of the object (Rudin, Osher & Fatemi, Physica D 60 (1992) 259)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptycho_core.physics import VARIATION_ROUNDING

if TYPE_CHECKING:
    from ptycho_core.engine.arrays import Array, ArrayOps

__all__ = ["mean_variation", "total_variation"]


def total_variation(xp: ArrayOps, field: Array, rounding: Array) -> tuple[Array, Array]:
    """``sum sqrt(|D_row O|^2 + |D_column O|^2 + rounding^2) - rounding`` and its derivative ``d/dO*``.

    Forward differences of the complex field, none across the border.  Differences well below ``rounding`` are smoothed
    quadratically, larger ones like edges.

    Args:
        xp: the operations.
        field: complex (rows, columns).
        rounding: real number, in units of the field.

    Returns:
        Real number and complex (rows, columns).
    """
    down = xp.pad(field[1:] - field[:-1], (0, 1), (0, 0))
    right = xp.pad(field[:, 1:] - field[:, :-1], (0, 0), (0, 1))
    length = xp.sqrt(xp.abs2(down) + xp.abs2(right) + rounding**2)
    inverse = 1 / (2 * length)
    down, right = xp.times_real(down, inverse), xp.times_real(right, inverse)
    gradient = xp.pad(down[:-1], (1, 0), (0, 0)) - down + xp.pad(right[:, :-1], (0, 0), (1, 0)) - right
    return xp.sum(length - rounding), gradient


def mean_variation(xp: ArrayOps, field: Array) -> Array:
    """Isotropic total variation of complex objects (…, rows, columns), a mean over all their pixels, in double precision.

    As `physics.total_variation`, for automatic differentiation.
    """
    down = xp.pad(field[..., 1:, :] - field[..., :-1, :], (0, 1), (0, 0))
    right = xp.pad(field[..., 1:] - field[..., :-1], (0, 0), (0, 1))
    real = xp.real(down) * xp.real(down) + xp.real(right) * xp.real(right)
    squares = real + (xp.imag(down) * xp.imag(down) + xp.imag(right) * xp.imag(right))
    # The plain "root minus rounding" would lose a flat object's value to cancellation in single precision.
    lengths = squares / (xp.sqrt(squares + VARIATION_ROUNDING**2) + VARIATION_ROUNDING)
    return xp.mean64(lengths)
