"""Networks described as data, so that every framework builds the same one; ``specs/network.md`` binds."""

from __future__ import annotations

from ptycho_core.networks.bare import describe_bare
from ptycho_core.networks.description import check_description, estimates_tiles, sees_canvas, tensor_shapes
from ptycho_core.networks.initial import initial_weights
from ptycho_core.networks.u_net import describe

__all__ = [
    "check_description",
    "describe",
    "describe_bare",
    "estimates_tiles",
    "initial_weights",
    "sees_canvas",
    "tensor_shapes",
]
