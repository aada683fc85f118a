"""Total variation of the object (Rudin, Osher & Fatemi, Physica D 60 (1992) 259)."""

from __future__ import annotations

import torch

__all__ = ["total_variation"]


def total_variation(field: torch.Tensor, rounding: float) -> tuple[torch.Tensor, torch.Tensor]:
    """``sum sqrt(|D_row O|^2 + |D_column O|^2 + rounding^2) - rounding`` and its derivative ``d/dO*``.

    Forward differences of the complex field, none across the border.  Differences well below ``rounding`` are smoothed
    quadratically, larger ones like edges.

    Args:
        field: complex (rows, columns).
        rounding: in units of the field.

    Returns:
        Real scalar and complex (rows, columns).
    """
    down = torch.zeros_like(field)
    right = torch.zeros_like(field)
    down[:-1] = field[1:] - field[:-1]
    right[:, :-1] = field[:, 1:] - field[:, :-1]
    squared = down.real.square() + down.imag.square() + right.real.square() + right.imag.square()
    length = (squared + rounding**2).sqrt_()
    down, right = down / (2 * length), right / (2 * length)
    gradient = -down - right
    gradient[1:] += down[:-1]
    gradient[:, 1:] += right[:, :-1]
    return (length - rounding).sum(), gradient
