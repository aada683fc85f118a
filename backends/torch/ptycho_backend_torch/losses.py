"""The loss terms in PyTorch, differentiable; definitions and roundings are those of ``specs/forward-model.md``.

Sums run in double precision, whatever the precision of the model: a mean over millions of pixels must not lose digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from ptycho_core.physics import INTENSITY_FLOOR, VARIATION_ROUNDING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["data_sums", "total_variation"]

_TERMS: Final[dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]]] = {
    "nll": lambda modelled, counts, _: modelled - counts * modelled.log(),
    "amplitude": lambda _, __, difference: difference.square(),
    "mae": lambda _, __, difference: difference.abs(),
}


def data_sums(
    modelled: torch.Tensor, counts: torch.Tensor, mask: torch.Tensor | None, names: Collection[str] = ("nll", "amplitude", "mae")
) -> dict[str, torch.Tensor]:
    """Sums over good pixels and patterns of the loss terms ``names``, in their order; float64 scalars.

    Args:
        modelled: real (frame, N, N), I.
        counts: real (frame, N, N), n, zero where the mask is False.
        mask: bool (N, N), True = good pixel, or None for all good.
        names: which of ``nll``, ``amplitude`` and ``mae``.
    """
    rounded = modelled + INTENSITY_FLOOR
    difference = rounded.sqrt() - counts.sqrt()
    terms = {name: _TERMS[name](rounded, counts, difference) for name in names}
    if mask is not None:
        terms = {name: torch.where(mask, values, 0.0) for name, values in terms.items()}
    return {name: values.sum(dtype=torch.float64) for name, values in terms.items()}


def total_variation(transmission: torch.Tensor) -> torch.Tensor:
    """Isotropic total variation of complex objects (…, rows, columns), a mean over all their pixels; float64 scalar."""
    parts = torch.view_as_real(transmission)
    down = torch.nn.functional.pad(parts.diff(dim=-3), (0, 0, 0, 0, 0, 1))
    right = torch.nn.functional.pad(parts.diff(dim=-2), (0, 0, 0, 1))
    squares = (down.square() + right.square()).sum(dim=-1)
    # The plain "root minus rounding" would lose a flat object's value to cancellation in single precision.
    lengths = squares / ((squares + VARIATION_ROUNDING**2).sqrt() + VARIATION_ROUNDING)
    return lengths.mean(dtype=torch.float64)
