"""Forward models: from object, probe and positions to expected counts, and back along the adjoints.

A new one is a module here with a class that follows `model.ForwardModel`, and its case in `forward_of`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ptycho_core.engine.forward.far_field import FarField
from ptycho_core.engine.forward.near_field import NearField

if TYPE_CHECKING:
    from ptycho_core.engine.arrays import ArrayOps
    from ptycho_core.engine.forward.model import ForwardModel
    from ptycho_core.physics.near_field import Propagation

__all__ = ["forward_of"]

_FAR: Final = FarField()


def forward_of(xp: ArrayOps, way: Propagation | None, size: int) -> ForwardModel:
    """The forward model of a scan.

    Args:
        xp: the operations that it is to compute with.
        way: `Scan.propagation`, None for the far field.
        size: N, the pixels across a pattern.
    """
    return _FAR if way is None else NearField(xp, way, size)
