"""How far two backends may differ on the same batch or job: the one place where the limits stand."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["EXPORTED", "FITTED", "INFERRED", "LIMITS", "LIMITS_ON_CUDA", "STEPS", "Limits"]


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

LIMITS_ON_CUDA: Final[dict[str, Limits]] = LIMITS | {"float32": Limits(forward=1e-4, loss=1e-5, gradient=1e-3)}
"""A GPU adds in another order, and its transforms are other ones; TF32 is off."""

STEPS: Final = 1e-11
"""Relative; loss curves of twenty steps in double precision. Measured 4e-16."""

INFERRED: Final = {"float64": 1e-8, "float32": 1e-5}
"""Relative L2 of stitched objects. Patches cross in single precision, whose last digit is 6e-8 and may round either way."""

EXPORTED: Final = 1e-5
"""Relative L2 of the patches of a graph of ONNX. Measured 6e-7: the estimate is in double precision, the network in single."""

FITTED: Final = 1e-10
"""Relative L2 of object, probe and positions after a fit in double precision. Measured 1e-14."""
