"""Networks described as data, so that every framework builds the same one; ``specs/network.md`` binds."""

from __future__ import annotations

from ptycho_core.networks.architecture import Architecture, Layers, Pictures
from ptycho_core.networks.bare import describe_bare
from ptycho_core.networks.described import BUILT_IN, built_in, describe
from ptycho_core.networks.description import check_description, estimates_tiles, sees_canvas, tensor_shapes
from ptycho_core.networks.initial import initial_weights
from ptycho_core.networks.nearest import NEAREST

__all__ = [
    "BUILT_IN",
    "NEAREST",
    "Architecture",
    "Layers",
    "Pictures",
    "built_in",
    "check_description",
    "describe",
    "describe_bare",
    "estimates_tiles",
    "initial_weights",
    "sees_canvas",
    "tensor_shapes",
]
