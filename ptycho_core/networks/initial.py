"""Initial weights, made from the seed by the core, so that every backend starts equal."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from ptycho_core.networks.description import trained_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

__all__ = ["initial_weights"]


def initial_weights(description: Mapping[str, Any], seed: int) -> dict[str, npt.NDArray[np.float32]]:
    """Weights of every tensor of ``tensor_shapes(description)``.

    A convolution's weights are normal with standard deviation ``gain / √(in · kernel²)`` (LeCun et al., Efficient BackProp,
    1998), those of a spectral convolution with ``gain / √in`` in each part; biases are zero, factors of a normalization one. Each
    tensor has its own random numbers, drawn in double precision from ``(seed, CRC-32 of the layer's name)``, so that one layer
    more or less leaves the others as they were.

    Args:
        description: of the network.
        seed: a whole number, 0 or above.

    Raises:
        DataError: the description does not hold together.
    """
    import numpy as np

    weights: dict[str, npt.NDArray[np.float32]] = {}
    for name, tensor in trained_tensors(description).items():
        if tensor.deviation is None:
            weights[name] = np.full(tensor.shape, tensor.value, dtype=np.float32)
            continue
        random = np.random.default_rng([seed, zlib.crc32(name.rpartition(".")[0].encode())])
        weights[name] = (tensor.deviation * random.standard_normal(tensor.shape)).astype(np.float32)
    return weights
