"""The loss terms in PyTorch, differentiable; definitions and roundings are those of ``specs/forward-model.md``.

Sums run in double precision, whatever the precision of the model: a mean over millions of pixels must not lose digits.
"""

from __future__ import annotations

import torch

from ptycho_core.physics import INTENSITY_FLOOR, VARIATION_ROUNDING

__all__ = ["data_sums", "total_variation"]


def data_sums(modelled: torch.Tensor, counts: torch.Tensor, mask: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """Sums over good pixels and patterns of ``nll``, ``amplitude`` and ``mae``; float64 scalars.

    Args:
        modelled: real (frame, N, N), I.
        counts: real (frame, N, N), n, zero where the mask is False.
        mask: bool (N, N), True = good pixel, or None for all good.
    """
    rounded = modelled + INTENSITY_FLOOR
    difference = rounded.sqrt() - counts.sqrt()
    terms = {
        "nll": rounded - counts * rounded.log(),
        "amplitude": difference.square(),
        "mae": difference.abs(),
    }
    if mask is not None:
        terms = {name: torch.where(mask, values, 0.0) for name, values in terms.items()}
    return {name: values.sum(dtype=torch.float64) for name, values in terms.items()}


def total_variation(transmission: torch.Tensor) -> torch.Tensor:
    """Isotropic total variation of the complex object (rows, columns), a mean over all its pixels; float64 scalar."""
    parts = torch.view_as_real(transmission)
    down = torch.nn.functional.pad(parts.diff(dim=0), (0, 0, 0, 0, 0, 1))
    right = torch.nn.functional.pad(parts.diff(dim=1), (0, 0, 0, 1))
    squares = (down.square() + right.square()).sum(dim=-1)
    # The plain "root minus rounding" would lose a flat object's value to cancellation in single precision.
    lengths = squares / ((squares + VARIATION_ROUNDING**2).sqrt() + VARIATION_ROUNDING)
    return lengths.mean(dtype=torch.float64)
