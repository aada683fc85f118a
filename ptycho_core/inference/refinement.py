"""What is only guessed of a scan, its probe or its background, fitted to a few tiles before the pass."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ptycho_core.contract import ReconstructJob
from ptycho_core.inference.tiles import scan_tiles
from ptycho_core.scan.canvas import object_canvas
from ptycho_core.scan.selection import with_frames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ptycho_core.contract import ReconstructResult, Value
    from ptycho_core.inference.probe import ChosenProbe
    from ptycho_core.scan.scan import Scan

__all__ = ["fit_job", "fit_settings", "with_probe_of"]

FIT: Final[Mapping[str, Value]] = {"epochs": 5, "iterations": 20}
"""Settings of the fit: after them the probe of a guess with 70 % of the defocus serves as well as the true one."""

_TILES: Final = 2
"""Tiles that it is fitted to: they have to show enough of the sample, and to be few."""

_MARGIN: Final = 2


def fit_settings(asked: Mapping[str, Value]) -> dict[str, Value] | None:
    """Settings of the fit that the *inference* settings ask for, or None if they ask for none."""
    given = {name: asked[name] for name in ("refine_probe", "background")}
    return {**FIT, **given} if given != {"refine_probe": False, "background": "none"} else None


def fit_job(scan: Scan, chosen: ChosenProbe, settings: Mapping[str, Mapping[str, Value]]) -> ReconstructJob:
    """The fit, from a flat object, to the frames of tiles in the inner part of a scan.

    Args:
        scan: the scan.
        chosen: the probe, or a guess.
        settings: the groups of a reconstruction by name.
    """
    tiles = scan_tiles(scan.positions, scan.size)
    inner = np.unique(np.linspace(0, len(tiles) - 1, _TILES + 2)[1:-1].round().astype(int))
    part = with_frames(scan, np.sort(np.concatenate([tiles[number] for number in inner])))
    origin, shape = object_canvas(part.positions, part.size, _MARGIN)
    return ReconstructJob(part, np.ones(shape, dtype=np.complex64), chosen.probe, part.positions - origin, settings)


def with_probe_of(chosen: ChosenProbe, result: ReconstructResult) -> ChosenProbe:
    """The guess with what a fit made of it, with the power of the guess: that was stated in counts, or found from them."""
    found: NDArray[np.complex128] = np.asarray(result.probe, dtype=np.complex128)
    power = float(np.linalg.norm(found))
    if not (np.isfinite(found).all() and power > 0):
        return chosen
    probe = (found * (float(np.linalg.norm(chosen.probe)) / power)).astype(np.complex64)
    return replace(chosen, probe=probe, origin=f"{chosen.origin}, refined")
