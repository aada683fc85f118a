"""The compact network: a small U-Net (Ronneberger et al., MICCAI 2015) that corrects an estimate of the object.

It works at half the resolution and below, where convolutions are cheap, and has no normalisation: what a pattern becomes does not
depend on the others in its batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ESTIMATE_CHANNELS", "describe"]

ESTIMATE_CHANNELS: Final = 5
"""Channels a pattern of the input: estimate less one (real, imaginary), its next step (real, imaginary), illumination."""

_STEPS = 4
"""Update steps for each pattern of a group: one alone is soon fitted, what neighbours tell of the smooth phase takes longer."""

_ALPHA = 0.02
_MOMENTUM = 0.7
_RESIDUAL_GAIN = 0.3


def describe(size: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The description of the network for some *model* settings: plain data, which is kept in the model file.

    Args:
        size: N, pixels across a pattern, a multiple of 16.
        settings: of the group *model*: ``gridsize``, ``network_width``, ``update_steps``, ``output_form``,
            ``amplitude_activation``.

    Returns:
        ``name``, ``version``; ``size``, ``gridsize``; ``estimate`` (``steps``, ``alpha``, ``momentum``); ``output`` (``form``,
        ``activation``); ``input_channels``, ``output_channels``; ``layers``.
    """
    gridsize, asked = int(settings["gridsize"]), settings["update_steps"]
    frames = gridsize**2
    return {
        "name": "compact",
        "version": 1,
        "size": size,
        "gridsize": gridsize,
        "estimate": {"steps": _STEPS * frames if asked is None else int(asked), "alpha": _ALPHA, "momentum": _MOMENTUM},
        "output": {"form": str(settings["output_form"]), "activation": str(settings["amplitude_activation"])},
        "input_channels": ESTIMATE_CHANNELS * frames,
        "output_channels": 2 * frames,
        "layers": _layers(int(settings["network_width"]) * gridsize, 2 * frames),
    }


def _layers(width: int, outputs: int) -> list[dict[str, Any]]:
    layers: list[dict[str, Any]] = []

    def add(name: str, op: str, *inputs: str, **more: Any) -> str:  # noqa: ANN401 - JSON
        layers.append({"name": name, "op": op, "from": list(inputs), **more})
        return name

    def convolve(name: str, given: str, channels: int, kernel: int = 3, stride: int = 1, gain: float = 1.0) -> str:
        return add(name, "convolution", given, channels=channels, kernel=kernel, stride=stride, gain=gain)

    def correct(name: str, given: str, channels: int) -> str:
        """A residual block (He et al., ECCV 2016): activation before each of two convolutions."""
        first = convolve(f"{name}_a", add(f"{name}_a_silu", "silu", given), channels)
        second = convolve(f"{name}_b", add(f"{name}_b_silu", "silu", first), channels, gain=_RESIDUAL_GAIN)
        return add(name, "add", given, second)

    half = correct("half_down", convolve("enter", add("fold", "fold", "input"), width), width)
    quarter = correct("quarter_down", convolve("to_quarter", half, 2 * width, 2, 2), 2 * width)
    eighth = correct("eighth", convolve("to_eighth", quarter, 3 * width, 2, 2), 3 * width)
    risen = add("rise_to_quarter", "unfold", convolve("from_eighth", eighth, 8 * width, 1))
    quarter = correct("quarter_up", add("join_quarter", "add", quarter, risen), 2 * width)
    risen = add("rise_to_half", "unfold", convolve("from_quarter", quarter, 4 * width, 1))
    half = correct("half_up", add("join_half", "add", half, risen), width)
    # Without weights the network leaves the estimate as it is: training starts from there.
    convolve("exit", add("exit_silu", "silu", half), 4 * outputs, gain=0.0)
    add("unfold", "unfold", "exit")
    return layers
