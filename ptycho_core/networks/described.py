"""A network as a model file keeps it: the layers of an architecture, the estimate before them and the output behind them."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.networks.architecture import Architecture, Pictures
from ptycho_core.networks.bare import tile_estimate
from ptycho_core.networks.description import CANVAS_CHANNELS, CANVAS_VERSION, GROUP_VERSION, TILE_VERSION
from ptycho_core.networks.u_net import Canvas, Compact, Deep

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUILT_IN", "ESTIMATE_CHANNELS", "built_in", "describe"]

BUILT_IN: Final[tuple[type[Architecture], ...]] = (Compact, Deep, Canvas)
"""The architectures that come with ptycho; a field ``width`` of one is the setting ``network_width``."""

ESTIMATE_CHANNELS: Final = 5
"""Channels a pattern of the input: estimate less one (real, imaginary), its next step (real, imaginary), illumination."""

_STEPS = 4
"""Update steps for each pattern of a group: one alone is soon fitted, what neighbors tell of the smooth phase takes longer."""

_CANVAS_STEPS = 5
"""Steps of the estimate before a network on the canvas: half of those that suffice without one."""

_ALPHA = 0.02
_MOMENTUM = 0.7


def built_in(settings: Mapping[str, Any]) -> Architecture:
    """The architecture that *model* settings name, with their numbers.

    Raises:
        KeyError: none that comes with ptycho has this name.
    """
    kind = {one.name: one for one in BUILT_IN}[str(settings["network"])]
    return kind(**{item.name: settings[f"network_{item.name}"] for item in fields(kind)})


def describe(
    size: int, settings: Mapping[str, Any], likelihood: str = "amplitude", architecture: Architecture | None = None
) -> dict[str, Any]:
    """The description of the network for some *model* settings: plain data, which is kept in the model file.

    Args:
        size: N, pixels across a pattern, a multiple of 16.
        settings: of the group *model*: ``gridsize``, ``update_steps``, ``output_form``, ``amplitude_activation``; ``estimate``,
            ``group`` where it is left out; for a built-in architecture its name, ``network``, and what it takes.
        likelihood: of the estimate of a tile.
        architecture: None for the built-in one that the settings name.

    Returns:
        ``name``, ``version``; ``size``, ``gridsize``; ``estimate``; ``output`` (``form``, ``activation``); ``input_channels``,
        ``output_channels``; ``layers``.
    """
    architecture = built_in(settings) if architecture is None else architecture
    gridsize, asked = int(settings["gridsize"]), settings["update_steps"]
    frames, on_canvas = gridsize**2, isinstance(architecture, Canvas)
    version = CANVAS_VERSION if on_canvas else TILE_VERSION if settings.get("estimate") == "tile" else GROUP_VERSION
    of_group = {"steps": _STEPS * frames if asked is None else int(asked), "alpha": _ALPHA, "momentum": _MOMENTUM}
    of_tile = tile_estimate(asked, likelihood, _CANVAS_STEPS) if on_canvas else tile_estimate(asked, likelihood)
    inputs, outputs = CANVAS_CHANNELS if on_canvas else (ESTIMATE_CHANNELS * frames, 2 * frames)
    pictures = Pictures(size, gridsize, inputs, outputs)
    return {
        "name": architecture.name,
        "version": version,
        "size": size,
        "gridsize": gridsize,
        "estimate": of_group if version == GROUP_VERSION else of_tile,
        "output": {"form": str(settings["output_form"]), "activation": str(settings["amplitude_activation"])},
        "input_channels": pictures.inputs,
        "output_channels": pictures.outputs,
        "layers": [dict(layer) for layer in architecture.layers(pictures)],
    }
