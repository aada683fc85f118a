"""Where the beam goes in a simulated scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SCANS", "make_positions"]

SCANS: Final = ("raster", "spiral", "random")


def make_positions(
    kind: str, step: float, frames: int | None, field: float | None, jitter: float, random: np.random.Generator
) -> NDArray[np.float64]:
    """Positions of a scan, in the order in which they are taken.

    ``raster``: lines of equal length, one direction. ``spiral``: a Fermat spiral, ``r = step √(k/π)``, turned by the golden
    angle, one point per ``step²``. ``random``: one point per ``step²`` of the field, evenly distributed.

    Args:
        kind: a word of ``SCANS``.
        step: step in pixels; for spiral and random the root of the area per point.
        frames: number of positions, or None to fill the field.
        field: side of the square that is scanned, pixels, or None to take as much as ``frames`` need. One of the two is given.
        jitter: each coordinate is moved by an even chance within ``± jitter · step / 2``.
        random: where chance comes from.

    Returns:
        (frame, 2), float64, (row, column), pixels, any offset.
    """
    if field is not None:
        across = int(field / step) + 1
        frames = across**2 if kind == "raster" else max(1, round((field / step) ** 2))
    assert frames is not None
    if kind == "raster":
        across = max(1, round(np.sqrt(frames)))
        places = np.stack(np.divmod(np.arange(frames), across), axis=1) * step
    elif kind == "spiral":
        k = np.arange(frames)
        if field is not None:  # the points that lie in the square, of a spiral that reaches its corners
            k = np.arange(int(np.ceil(np.pi / 2 * (field / step + 1) ** 2)))
        radius, angle = step * np.sqrt(k / np.pi), k * np.pi * (3 - np.sqrt(5))
        places = np.stack((radius * np.sin(angle), radius * np.cos(angle)), axis=1)
        if field is not None:
            places = places[(np.abs(places) <= field / 2).all(axis=1)]
    else:
        places = random.uniform(0, field or step * np.sqrt(frames), (frames, 2))
    return places + random.uniform(-0.5, 0.5, places.shape) * (jitter * step)
