"""A model file as a graph of ONNX: counts in, patches of the object out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ptycho_core.engine.estimate import Illumination, estimate_object
from ptycho_core.engine.forward import forward_of
from ptycho_core.engine.network import Network
from ptycho_core.engine.patches import object_patches
from ptycho_core.engine.state import Measured
from ptycho_core.errors import CapabilityError
from ptycho_core.networks import estimates_tiles, sees_canvas, tensor_shapes
from ptycho_core.onnx.arrays import onnx_arrays
from ptycho_core.onnx.graph import Graph
from ptycho_core.onnx.traced import Traced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from onnx import ModelProto

    from ptycho_core.model import Model

__all__ = ["Inputs", "export_model", "inputs_of"]

_TOLD: Final = {
    "counts": "counts of each pattern (frame, row, column), zero frequency at [N // 2, N // 2]",
    "remainders": "what (row, column) positions of the windows' corners are above whole pixels, 0 to 1 (frame, 2)",
    "probe": "probe in roots of counts (mode, row, column, real and imaginary part); without it that of the training",
    "mask": "1 for good pixels of the detector, 0 for bad (row, column); without it all are good",
    "patches": "object in the window at the whole pixel of each position (frame, row, column, real and imaginary part)",
}

_OPTIONAL: Final = ("probe", "mask")


class Inputs(NamedTuple):
    """What a graph takes, float32; see its own words.

    Attributes:
        counts: (frame, N, N).
        remainders: (frame, 2).
        probe: (mode, N, N, 2).
        mask: (N, N).
    """

    counts: NDArray[np.float32]
    remainders: NDArray[np.float32]
    probe: NDArray[np.float32]
    mask: NDArray[np.float32]


def inputs_of(counts: NDArray[Any], positions: NDArray[np.float64], probe: NDArray[Any], mask: NDArray[np.bool_]) -> Inputs:
    """The inputs for frames of a scan: counts (frame, N, N), positions (frame, 2), probe (mode, N, N), mask (N, N)."""
    probe = np.asarray(probe)
    return Inputs(
        counts.astype(np.float32),
        (positions - np.floor(positions)).astype(np.float32),
        np.stack([probe.real, probe.imag], axis=-1).astype(np.float32),
        mask.astype(np.float32),
    )


def export_model(model: Model, scan: int = 0) -> ModelProto:
    """The estimate and the network of a model as one graph, for any number of frames.

    Args:
        model: with an estimate of each frame by itself.
        scan: of the training, by number: its probe is taken where none is given.

    Raises:
        CapabilityError: the model's estimate or an operation of its network cannot be written in ONNX; the message names it.
    """
    _check(model.network)
    size, modes = model.size, int(model.physics["probe"].shape[1])
    graph = Graph()
    xp = onnx_arrays(graph, "float64")
    forward = forward_of(xp, None, size)
    probe = model.physics["probe"][scan] * np.exp(float(model.physics["log_scale"][scan]) / 2)
    standard = inputs_of(np.zeros((0, size, size)), np.zeros((0, 2)), probe, np.ones((size, size), bool))
    sides: dict[str, tuple[int | str, ...]] = {
        "counts": ("frame", size, size), "remainders": ("frame", 2), "probe": (modes, size, size, 2), "mask": (size, size),
    }  # fmt: skip
    counts, remainders, pairs, good = (
        _input(graph, name, shape, getattr(standard, name) if name in _OPTIONAL else None).cast("float64")
        for name, shape in sides.items()
    )
    mask = xp.ifftshift(good)
    illumination = Illumination.at(xp, xp.complex(pairs[..., 0], pairs[..., 1]), remainders, mask, forward)
    amplitudes = xp.sqrt(xp.ifftshift(counts) * mask)
    estimate = estimate_object(xp, Measured(amplitudes, mask), None, illumination, model.network, forward)
    single = onnx_arrays(graph, "float32")
    network = Network(single, model.network, single.layout(model.network), mixed=False)
    weights = [
        Traced(graph, graph.constant(np.asarray(model.weights[name], np.float32), name), shape)
        for name, shape in tensor_shapes(model.network).items()
    ]
    channels = network(weights, estimate.features(xp, illumination.weight).cast("float32")).cast("float64")
    patches = object_patches(xp, channels, estimate.patches, model.network["output"])[:, 0]
    both = xp.stack((xp.real(patches), xp.imag(patches)), 3).cast("float32")
    graph.output("patches", both.real, ("frame", size, size, 2), _TOLD["patches"])
    description = f"Object patches of {size} x {size} pixels from diffraction patterns, by the network '{model.network['name']}'."
    return graph.model("ptycho", description, {"N": str(size), "modes": str(modes), "network": str(model.network["name"])})


def _input(graph: Graph, name: str, shape: tuple[int | str, ...], default: NDArray[np.float32] | None) -> Traced:
    known = tuple(None if isinstance(side, str) else side for side in shape)
    return Traced(graph, graph.input(name, shape, _TOLD[name], default), known)


def _check(network: Mapping[str, Any]) -> None:
    """Refuse what no graph with a free number of frames can hold."""
    if estimates_tiles(network):
        raise CapabilityError(
            "The model's estimate is that of a tile: its frames share a canvas, whose size is that of the scan, and its steps "
            "end where no light is left. That is no fixed graph.",
            remedy=f"Train with {'--network compact' if sees_canvas(network) else '--estimate group'}, or use 'ptycho infer'.",
        )
    if network["gridsize"] != 1:
        raise CapabilityError(
            f"The model sees groups of {network['gridsize'] ** 2} frames (gridsize {network['gridsize']}), whose windows are "
            "added on a separate canvas, where they happen to lie. That is no fixed graph.",
            remedy="Train with --gridsize 1, or use 'ptycho infer'.",
        )
