"""U-Nets (Ronneberger et al., MICCAI 2015), compact or deep, that correct an estimate of the object.

They work at half the resolution and below, where convolutions are cheap, and have no normalization: what a pattern becomes does
not depend on the others in its batch.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from ptycho_core.networks.architecture import Architecture, Layers, Pictures
from ptycho_core.settings.declare import setting

__all__ = ["Canvas", "Compact", "Deep"]

_LEVELS = ("half", "quarter", "eighth", "sixteenth")
"""Parts of the size at which a network works; the n-th has n times its width."""

_COMPACT_LEVELS = 3
_RESIDUAL_GAIN = 0.3


@dataclass(frozen=True)
class Compact(Architecture):
    """Down to an eighth of the size, one residual block at each place."""

    name = "compact"

    width: int = setting(
        16, minimum=4, maximum=256, multiple=4, verbs=("train", "infer"),
        help="channels of the network's first layer, for each of gridsize. Wider learns more from many scans and takes longer.",
    )  # fmt: skip

    def layers(self, pictures: Pictures) -> list[dict[str, Any]]:
        """See `Architecture.layers`."""
        return _layers(self.width * pictures.gridsize, pictures.outputs, _COMPACT_LEVELS, 1)


@dataclass(frozen=True)
class Canvas(Compact):
    """A compact one that sees the whole canvas of a tile: many times fewer pixels than the windows of its frames have."""

    name = "canvas"


@dataclass(frozen=True)
class Deep(Compact):
    """Down to a sixteenth of the size, with more blocks."""

    name = "deep"

    depth: int = setting(
        2, minimum=1, maximum=8, verbs=("train", "infer"),
        help="residual blocks at each level of --network deep. More for many scans; each costs time.",
    )  # fmt: skip

    def layers(self, pictures: Pictures) -> list[dict[str, Any]]:
        """See `Architecture.layers`."""
        return _layers(self.width * pictures.gridsize, pictures.outputs, len(_LEVELS), self.depth)


def _layers(width: int, outputs: int, levels: int, blocks: int) -> Layers:
    """Down through so many levels and up again, with so many residual blocks at each on either way."""
    layer = Layers()

    def correct(level: str, given: str, channels: int) -> str:
        for number in range(blocks):
            given = block(level if number == 0 else f"{level}_{number + 1}", given, channels)
        return given

    def block(name: str, given: str, channels: int) -> str:
        """A residual block (He et al., ECCV 2016): activation before each of two convolutions."""
        first = layer.convolution(f"{name}_a", layer("silu", f"{name}_a_silu", given), channels)
        second = layer.convolution(f"{name}_b", layer("silu", f"{name}_b_silu", first), channels, gain=_RESIDUAL_GAIN)
        return layer("add", name, given, second)

    *upper, lowest = _LEVELS[:levels]
    value = layer.convolution("enter", layer("fold", "fold", "input"), width)
    passed = []  # what each level hands across to the way up
    for number, (level, below) in enumerate(itertools.pairwise(_LEVELS[:levels]), 1):
        passed.append(correct(f"{level}_down", value, number * width))
        value = layer.convolution(f"to_{below}", passed[-1], (number + 1) * width, 2, 2)
    value, below = correct(lowest, value, levels * width), lowest
    for number, level in reversed(list(enumerate(upper, 1))):
        risen = layer("unfold", f"rise_to_{level}", layer.convolution(f"from_{below}", value, 4 * number * width, 1))
        value = correct(f"{level}_up", layer("add", f"join_{level}", passed[number - 1], risen), number * width)
        below = level
    # Without weights the network leaves the estimate as it is: training starts from there.
    layer.convolution("exit", layer("silu", "exit_silu", value), 4 * outputs, gain=0.0)
    layer("unfold", "unfold", "exit")
    return layer
