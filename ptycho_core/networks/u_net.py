"""The networks: U-Nets (Ronneberger et al., MICCAI 2015), compact or deep, that correct an estimate of the object.

They work at half the resolution and below, where convolutions are cheap, and have no normalisation: what a pattern becomes does
not depend on the others in its batch.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.networks.bare import tile_estimate
from ptycho_core.networks.description import CANVAS_VERSION, GROUP_VERSION, TILE_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ESTIMATE_CHANNELS", "describe"]

ESTIMATE_CHANNELS: Final = 5
"""Channels a pattern of the input: estimate less one (real, imaginary), its next step (real, imaginary), illumination."""

CANVAS_CHANNELS: Final = 6
"""Channels of the canvas of a tile: the first four as of a pattern, then two of the illumination of all frames together."""

_CANVAS_STEPS = 5
"""Steps of the estimate before a network on the canvas: half of those that suffice without one."""

_STEPS = 4
"""Update steps for each pattern of a group: one alone is soon fitted, what neighbours tell of the smooth phase takes longer."""

_LEVELS = ("half", "quarter", "eighth", "sixteenth")
"""Parts of the size at which a network works; the n-th has n times its width."""

_COMPACT_LEVELS = 3
_ALPHA = 0.02
_MOMENTUM = 0.7
_RESIDUAL_GAIN = 0.3


def describe(size: int, settings: Mapping[str, Any], likelihood: str = "amplitude") -> dict[str, Any]:
    """The description of the network for some *model* settings: plain data, which is kept in the model file.

    Args:
        size: N, pixels across a pattern, a multiple of 16.
        settings: of the group *model*: ``gridsize``, ``network``, ``network_width``, ``network_depth``, ``update_steps``,
            ``output_form``, ``amplitude_activation``; ``estimate``, ``group`` where it is left out.
        likelihood: of the estimate of a tile.

    Returns:
        ``name``, ``version``; ``size``, ``gridsize``; ``estimate``; ``output`` (``form``, ``activation``); ``input_channels``,
        ``output_channels``; ``layers``.
    """
    gridsize, asked = int(settings["gridsize"]), settings["update_steps"]
    frames, name = gridsize**2, str(settings["network"])
    if name == "canvas":
        return _on_canvas(size, settings, likelihood)
    tile = settings.get("estimate") == "tile"
    of_group = {"steps": _STEPS * frames if asked is None else int(asked), "alpha": _ALPHA, "momentum": _MOMENTUM}
    levels, blocks = (_COMPACT_LEVELS, 1) if name == "compact" else (len(_LEVELS), int(settings["network_depth"]))
    return {
        "name": name,
        "version": TILE_VERSION if tile else GROUP_VERSION,
        "size": size,
        "gridsize": gridsize,
        "estimate": tile_estimate(asked, likelihood) if tile else of_group,
        "output": {"form": str(settings["output_form"]), "activation": str(settings["amplitude_activation"])},
        "input_channels": ESTIMATE_CHANNELS * frames,
        "output_channels": 2 * frames,
        "layers": _layers(int(settings["network_width"]) * gridsize, 2 * frames, levels, blocks),
    }


def _on_canvas(size: int, settings: Mapping[str, Any], likelihood: str) -> dict[str, Any]:
    """A compact network that sees the whole canvas of a tile: many times fewer pixels than the windows of its frames have."""
    return {
        "name": "canvas",
        "version": CANVAS_VERSION,
        "size": size,
        "gridsize": 1,
        "estimate": tile_estimate(settings["update_steps"], likelihood, _CANVAS_STEPS),
        "output": {"form": str(settings["output_form"]), "activation": str(settings["amplitude_activation"])},
        "input_channels": CANVAS_CHANNELS,
        "output_channels": 2,
        "layers": _layers(int(settings["network_width"]), 2, _COMPACT_LEVELS, 1),
    }


def _layers(width: int, outputs: int, levels: int, blocks: int) -> list[dict[str, Any]]:
    """Down through so many levels and up again, with so many residual blocks at each on either way."""
    layers: list[dict[str, Any]] = []

    def add(name: str, op: str, *inputs: str, **more: Any) -> str:  # noqa: ANN401 - JSON
        layers.append({"name": name, "op": op, "from": list(inputs), **more})
        return name

    def convolve(name: str, given: str, channels: int, kernel: int = 3, stride: int = 1, gain: float = 1.0) -> str:
        return add(name, "convolution", given, channels=channels, kernel=kernel, stride=stride, gain=gain)

    def correct(level: str, given: str, channels: int) -> str:
        for number in range(blocks):
            given = block(level if number == 0 else f"{level}_{number + 1}", given, channels)
        return given

    def block(name: str, given: str, channels: int) -> str:
        """A residual block (He et al., ECCV 2016): activation before each of two convolutions."""
        first = convolve(f"{name}_a", add(f"{name}_a_silu", "silu", given), channels)
        second = convolve(f"{name}_b", add(f"{name}_b_silu", "silu", first), channels, gain=_RESIDUAL_GAIN)
        return add(name, "add", given, second)

    *upper, lowest = _LEVELS[:levels]
    value = convolve("enter", add("fold", "fold", "input"), width)
    passed = []  # what each level hands across to the way up
    for number, (level, below) in enumerate(itertools.pairwise(_LEVELS[:levels]), 1):
        passed.append(correct(f"{level}_down", value, number * width))
        value = convolve(f"to_{below}", passed[-1], (number + 1) * width, 2, 2)
    value, below = correct(lowest, value, levels * width), lowest
    for number, level in reversed(list(enumerate(upper, 1))):
        risen = add(f"rise_to_{level}", "unfold", convolve(f"from_{below}", value, 4 * number * width, 1))
        value = correct(f"{level}_up", add(f"join_{level}", "add", passed[number - 1], risen), number * width)
        below = level
    # Without weights the network leaves the estimate as it is: training starts from there.
    convolve("exit", add("exit_silu", "silu", value), 4 * outputs, gain=0.0)
    add("unfold", "unfold", "exit")
    return layers
