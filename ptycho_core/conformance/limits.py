"""How far two backends may differ on the same batch: the one place where the limits stand."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["LIMITS", "Limits"]


class Limits(NamedTuple):
    """Largest differences that are allowed on a processor.

    Attributes:
        forward: of modelled intensities and of patches, relative L2.
        loss: of each loss term, relative.
        gradient: of each gradient, relative L2.
    """

    forward: float
    loss: float
    gradient: float


LIMITS: Final[dict[str, Limits]] = {
    "float64": Limits(forward=1e-12, loss=1e-12, gradient=1e-10),
    "float32": Limits(forward=1e-5, loss=1e-6, gradient=2e-4),
}
"""By precision, as in ``specs/forward-model.md``. Near a perfect fit single precision loses digits, in any implementation."""
