"""The beam of a simulated scan: as far as the detector sees it, and in the near field as far as light from it comes there."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.physics.near_field import near_field
from ptycho_core.scan.canvas import probe_width
from ptycho_core.scan.scan import empty_pattern
from ptycho_core.simulation.probes import make_probe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.physics.near_field import Propagation
    from ptycho_core.simulate import SimulationSettings

__all__ = ["Beam", "make_beam"]

_SPARE: Final = 8
"""Pixels around the detector beyond those from which geometric optics lets light come."""


@dataclass(frozen=True, eq=False)
class Beam:
    """The probe of a simulated scan.

    Attributes:
        whole: (mode, W, W), complex64, in counts, on the window that is computed; W is N in the far field.
        guess: (1, N, N), complex64, what the scan states of it.
        margin: (W − N) / 2, pixels around the detector on each side.
        width: of the probe in the detector's window, pixels (``ptycho_core.scan.canvas.probe_width``).
        way: from the sample to the detector; None in the far field.
    """

    whole: NDArray[np.complex64]
    guess: NDArray[np.complex64]
    margin: int
    width: float
    way: Propagation | None

    @property
    def probe(self) -> NDArray[np.complex64]:
        """(mode, N, N), complex64: the part in front of the detector."""
        return np.ascontiguousarray(self.seen(self.whole))

    def seen(self, values: NDArray[Any]) -> NDArray[Any]:
        """What the detector sees of a window (…, W, W): (…, N, N)."""
        inner = slice(self.margin, values.shape[-1] - self.margin)
        return values[..., inner, inner]


def make_beam(chosen: SimulationSettings, random: np.random.Generator) -> Beam:
    """The beam of checked settings.

    In the near field a wave at the highest frequency that pixels show goes sideways by ``λz / 2p²`` pixels; from so far outside
    the detector, and not from farther, light comes onto it.
    """
    geometry = chosen.geometry
    way = None if geometry is None else geometry.propagation
    margin = 0 if way is None else math.ceil(way.distance / 2) + _SPARE
    inner = slice(margin, margin + chosen.size)
    plain = _probe(chosen, margin, random, 1.0)  # without a dose, so that rounding makes no difference between doses
    width = probe_width(plain[..., inner, inner])
    seen = 1.0 if way is None else float(empty_pattern(plain, way)[inner, inner].sum())
    whole = _probe(chosen, margin, random, chosen.photons / seen)
    guess = _guess(chosen, margin, whole, chosen.photons / seen, way)[:, inner, inner]
    return Beam(whole.astype(np.complex64), guess.astype(np.complex64), margin, width, way)


def _probe(chosen: SimulationSettings, margin: int, random: np.random.Generator, photons: float) -> NDArray[np.complex128]:
    size, width = chosen.size + 2 * margin, chosen.probe_width or 0.4 * chosen.size
    assert chosen.probe is not None
    return make_probe(chosen.probe, size, width, photons, chosen.modes, random=deepcopy(random))


def _guess(
    chosen: SimulationSettings, margin: int, whole: NDArray[np.complex128], photons: float, way: Propagation | None
) -> NDArray[np.complex128]:
    """What the scan states of the beam: its first mode with the wrong defocus, and all of the counts."""
    if way is None or chosen.probe != "diffuser":
        width = chosen.probe_width or 0.4 * chosen.size
        assert chosen.probe is not None
        return make_probe(chosen.probe, chosen.size + 2 * margin, width, photons, 1, chosen.defocus_fraction)
    first = whole[:1] * np.sqrt(photons / (np.abs(whole[:1]) ** 2).sum())
    return near_field(first, way._replace(distance=way.distance * (1 - chosen.defocus_fraction)))
