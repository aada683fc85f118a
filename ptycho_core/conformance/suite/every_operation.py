"""A network that has every operation, so that one batch tries all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptycho_core.networks import Architecture, Layers

if TYPE_CHECKING:
    from ptycho_core.networks import Pictures

__all__ = ["EveryOperation"]


@dataclass(frozen=True)
class EveryOperation(Architecture):
    """Twelve channels at half the size and below; channels that a fold made are normalized, mixed and attended to."""

    name = "every_operation"

    def layers(self, pictures: Pictures) -> list[dict[str, Any]]:
        """See `Architecture.layers`."""
        layer = Layers()
        value = layer.convolution("enter", layer("fold", "fold", "input"), 12)
        value = layer("gelu", "bent", layer("group_normalization", "even", value, groups=3))
        below = layer("resize", "down", value, scale="half", method="bilinear")
        seen = layer("attention", "seen", layer.convolution("asked", below, 24, 1), heads=2, window=4)
        below = layer("add", "joined", below, layer.convolution("shown", seen, 12, 1))
        waves = layer("spectral_convolution", "waves", layer("layer_normalization", "level", below), channels=12, modes=2)
        lowest = layer("resize", "lowest", layer("silu", "bright", waves), scale="half", method="nearest")
        risen = layer("resize", "risen", lowest, scale="double", method="nearest")
        risen = layer("resize", "up", layer("add", "both", risen, below), scale="double", method="bilinear")
        folded = layer("fold", "again", layer("add", "whole", value, risen))
        folded = layer("spectral_convolution", "slow", layer("layer_normalization", "plain", folded), channels=48, modes=1)
        folded = layer("attention", "near", folded, heads=4, window=2)
        wide = layer("group_normalization", "last", layer("unfold", "wide", folded), groups=2)
        layer("unfold", "exit", layer.convolution("end", wide, 4 * pictures.outputs))
        return layer
