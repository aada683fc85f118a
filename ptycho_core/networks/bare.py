"""No network at all: the estimate of a tile of neighboring frames is the answer, and nothing is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ptycho_core.networks.description import TILE_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STEPS", "describe_bare", "tile_estimate"]

STEPS: Final = 10
"""Conjugate-gradient steps, unless a number is asked for: after them the smooth phase has settled at dense overlap."""

_ALPHA: Final = 0.02
_SMOOTH: Final = 6.0
_CUTOFF: Final = 1 / 32


def describe_bare(size: int, settings: Mapping[str, Any], likelihood: str) -> dict[str, Any]:
    """The description of a network without layers: plain data, as ``specs/network.md`` defines it.

    Args:
        size: N, pixels across a pattern.
        settings: of the group *model*: ``update_steps``.
        likelihood: ``amplitude``, or ``poisson`` for few counts.
    """
    return {
        "name": "none",
        "version": TILE_VERSION,
        "size": size,
        "gridsize": 1,
        "estimate": tile_estimate(settings["update_steps"], likelihood),
        "output": {"form": "real-imaginary", "activation": "none"},
        "input_channels": 5,
        "output_channels": 2,
        "layers": [],
    }


def tile_estimate(steps: int | None, likelihood: str, auto: int = STEPS) -> dict[str, Any]:
    """``estimate`` of a description of version 2 or 3; with steps None it takes ``auto``."""
    taken = auto if steps is None else int(steps)
    return {"steps": taken, "alpha": _ALPHA, "smooth": _SMOOTH, "cutoff": _CUTOFF, "likelihood": likelihood}
