"""What is implausible about the probe of a scan, one function a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ptycho_core.scan.beam_stop import hides_beam
from ptycho_core.scan.canvas import probe_width
from ptycho_core.scan.doubt import Doubt
from ptycho_core.scan.scan import empty_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ptycho_core.scan.evidence import Evidence
    from ptycho_core.scan.scan import Scan

    Find = Callable[[Scan, Evidence], Iterator[Doubt]]

__all__ = ["DOUBTS_OF_PROBE"]

_OFF_MIDDLE: Final = 1 / 10
"""A probe is off the middle where its centre is off by more than this part of the window."""

_EDGE: Final = 0.25
"""Part of the light in the outer eighth of the window at each side, above which a probe fills it; an even one has 0.44."""

_SCALE: Final = (1e-3, 3.0)
"""Mean counts of a pattern in those of an empty object: an object absorbs some, and adds none."""


def off_middle(scan: Scan, _evidence: Evidence) -> Iterator[Doubt]:
    """A probe whose centre is not the middle of the window."""
    if scan.probe is None or scan.propagation is not None or fills(_light(scan)):
        return
    light, middle = _light(scan), scan.size // 2
    row, column = (_centre(light.sum(axis=1 - axis)) - middle for axis in (0, 1))
    limit = max(_OFF_MIDDLE * scan.size, 1.5)
    if max(abs(row), abs(column)) > limit:
        said = f"The probe is centred {row:.1f} rows and {column:.1f} columns off the middle [{middle}, {middle}] of the window"
        yield Doubt("probe", "doubtful", f"{said}: the object will be shifted by as much; shift the probe to the middle.")


def _centre(light: NDArray[np.float64]) -> float:
    """Centre of light (N,) on a circle, since a probe may be stored with its middle in the corner; 0 to N."""
    size = len(light)
    angle = float(np.angle((light * np.exp(2j * np.pi * np.arange(size) / size)).sum()))
    return (angle * size / (2 * np.pi) + 0.5) % size - 0.5


def fills_window(scan: Scan, _evidence: Evidence) -> Iterator[Doubt]:
    """A probe without an edge, or flat, as is usual only in the near field."""
    if scan.probe is None or scan.propagation is not None:
        return
    light = _light(scan)
    flat = float(light.std()) < 0.05 * float(light.mean())
    if flat or fills(light):
        what = "is flat" if flat else f"fills the window ({probe_width(scan.probe):.3g} of {scan.size} px)"
        said = f"The probe {what}, so that it says nothing of the beam"
        yield Doubt("probe", "doubtful", f"{said}: give a better guess with --probe FILE, or wider windows with --size.")


def fills(light: NDArray[np.float64]) -> bool:
    """Whether much of the light (N, N) of a probe lies at the edge of the window, on both sides of it."""
    size = len(light)
    side = max(1, size // 8)
    inner = light[side : size - side, side : size - side]
    corners = max(float(np.roll(light, (size // 2, size // 2), axis=(0, 1))[side : size - side, side : size - side].sum()), 0.0)
    total = float(light.sum())
    return total > 0 and 1 - float(inner.sum()) / total > _EDGE and 1 - corners / total > _EDGE * 0.6


def scale(scan: Scan, evidence: Evidence) -> Iterator[Doubt]:
    """A probe that is stated in counts, and gives far more or fewer than were measured."""
    if scan.probe is None or not scan.probe_scaled:
        return
    expected, mean = empty_counts(scan, scan.probe.astype(np.complex128)), float(evidence.sums.mean())
    if hides_beam(scan) and mean > expected:
        expected = float(_light(scan).sum())  # past a stop comes what the object scatters, which is no more than all light
    low, high = _SCALE
    if expected > 0 and not low <= mean / expected <= high:
        said = (
            f"The probe is stated in counts and gives {expected:.3g} in a pattern without an object, but {mean:.3g} were measured"
        )
        yield Doubt("probe", "doubtful", f"{said}: scale one of the two, or leave 'probe_in_counts' out.")


def _light(scan: Scan) -> NDArray[np.float64]:
    assert scan.probe is not None
    found: NDArray[np.float64] = (np.abs(scan.probe.astype(np.complex128)) ** 2).sum(axis=0)
    return found


DOUBTS_OF_PROBE: Final[tuple[Find, ...]] = (off_middle, fills_window, scale)
"""What is looked for, in this order."""
