"""Initial weights, made from the seed by the core, so that every backend starts equal."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from ptycho_core.networks.description import convolutions

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

__all__ = ["initial_weights"]


def initial_weights(description: Mapping[str, Any], seed: int) -> dict[str, npt.NDArray[np.float32]]:
    """Weights of every tensor of ``tensor_shapes(description)``.

    A convolution's weights are normal with standard deviation ``gain / √(in · kernel²)`` (LeCun et al., Efficient BackProp,
    1998), its biases zero. Each tensor has its own random numbers, drawn in double precision from ``(seed, CRC-32 of its
    name)``, so that one layer more or less leaves the others as they were.

    Args:
        description: of the network.
        seed: a whole number, 0 or above.

    Raises:
        DataError: the description does not hold together.
    """
    import numpy as np

    weights: dict[str, npt.NDArray[np.float32]] = {}
    for layer, channels in convolutions(description):
        name, out, side = str(layer["name"]), int(layer["channels"]), int(layer["kernel"])
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        deviation = float(layer.get("gain", 1.0)) / np.sqrt(channels * side**2)
        weights[f"{name}.weight"] = (deviation * random.standard_normal((out, channels, side, side))).astype(np.float32)
        weights[f"{name}.bias"] = np.zeros(out, dtype=np.float32)
    return weights
