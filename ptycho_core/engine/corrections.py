"""What a network makes of estimates at inference: compiled for its description, and kept for the next job with the same."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.engine.canvas import CanvasEstimate, corrected
from ptycho_core.engine.estimate import Estimate, Illumination, Overlaps, estimate_object
from ptycho_core.engine.network import Network
from ptycho_core.engine.patches import object_patches
from ptycho_core.networks import tensor_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ptycho_core.engine.arrays import Array, ArrayOps
    from ptycho_core.engine.forward.model import ForwardModel
    from ptycho_core.engine.state import Measured

__all__ = ["Corrections", "corrections"]

_KEPT = 4
"""Networks of which what was compiled is kept: that of a training, and some that others ask for meanwhile."""


def corrections(xp: ArrayOps, description: Mapping[str, Any], *, mixed: bool) -> Corrections:
    """What the network of a description makes of estimates; the same object for the same network.

    To compile a network takes some frameworks seconds, as long as a hundred steps without one; who infers again, or measures what
    an inference costs, pays it once.
    """
    return _kept(xp, json.dumps(description), mixed)


@lru_cache(maxsize=_KEPT)
def _kept(xp: ArrayOps, description: str, mixed: bool) -> Corrections:
    return Corrections(xp, json.loads(description), mixed=mixed)


class Corrections:
    """A network without its weights: they are given with each estimate, as `TrainableModel.network_vector` holds them.

    Attributes:
        of_canvas: ``(vector, CanvasEstimate)`` to the object of a tile, complex (rows, columns).
        of_windows: ``(vector, Estimate, weight)`` to its patches, complex (frame, N, N), for groups of one frame.
        of_groups: ``(vector, probe, measured, remainders, overlaps, forward=)`` to the patches (group, N, N) of seed frames,
            whose estimate is made first.
    """

    def __init__(self, xp: ArrayOps, description: Mapping[str, Any], *, mixed: bool) -> None:
        layout = xp.layout(description)
        self._description, self._output = description, description["output"]
        self._network = Network(xp, description, layout, mixed=mixed)
        self._shapes = [layout.native(name, np.empty(shape)).shape for name, shape in tensor_shapes(description).items()]
        self.of_canvas, self.of_windows = xp.compiled(self._of_canvas), xp.compiled(self._of_windows)
        self.of_groups = xp.compiled(self._of_groups)

    def _weights(self, xp: ArrayOps, vector: Array) -> Sequence[Array]:
        pieces = xp.split(vector, [math.prod(shape) for shape in self._shapes])
        return [xp.reshape(one, shape) for one, shape in zip(pieces, self._shapes, strict=True)]

    def _of_canvas(self, xp: ArrayOps, vector: Array, estimate: CanvasEstimate) -> Array:
        return corrected(xp, self._network, self._weights(xp, vector), estimate, self._output)

    def _of_windows(self, xp: ArrayOps, vector: Array, estimate: Estimate, weight: Array) -> Array:
        channels = self._network(self._weights(xp, vector), estimate.features(xp, weight))
        return object_patches(xp, channels, estimate.patches, self._output)[:, 0]

    def _of_groups(
        self,
        xp: ArrayOps,
        vector: Array,
        probe: Array,
        measured: Measured,
        remainders: Array,
        overlaps: Overlaps | None,
        *,
        forward: ForwardModel,
    ) -> Array:
        illumination = Illumination.at(xp, probe, remainders, measured.mask, forward)
        estimate = estimate_object(xp, measured, overlaps, illumination, self._description, forward)
        return self._of_windows(xp, vector, estimate, illumination.weight)
