"""A search for the scale, aspect, rotation and shear by which the positions of a whole scan are off.

Each of the four numbers is tried in turn on a line of a few values; what counts is R after three epochs of rPIE from a flat
object.  The probe must be known: a scan of another scale, seen with a probe of another defocus, gives nearly the same patterns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ptycho_core.reconstruction.position_search import Placed, ordered
from ptycho_core.reconstruction.schedule import keep_inside
from ptycho_core.reconstruction.trials import neighborhood

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ptycho_core.reconstruction.position_search import FloatArray, Searching

__all__ = ["RANGE", "AffineSearch", "affine_map"]

LINES: Final = ((0.03, 2), (0.01, 1), (0.004, 1))
"""Step along a line, and how many to each side; the range is searched from wide to fine."""

NUMBERS: Final = (0, 2, 3, 1)
"""In which order the numbers of `affine_map` are searched for."""

RANGE: Final = 0.08
"""How far a position may be moved, as a part of its distance from the middle of the scan."""

EPOCHS: Final = 3
"""Of each trial."""

FRAMES: Final = 400
"""Of the scan that are fitted, those about its middle: a wrong scale shows between neighbors."""


def affine_map(positions: FloatArray, numbers: FloatArray) -> FloatArray:
    """Positions (frame, 2) about their mean times ``[[1 + a - b, d - c], [c + d, 1 + a + b]]``.

    ``numbers`` (4,) are scale ``a``, aspect ``b``, rotation ``c`` and shear ``d``, all small.
    """
    a, b, c, d = numbers
    middle = positions.mean(axis=0)
    mapped: FloatArray = (positions - middle) @ np.array([[1 + a - b, d - c], [c + d, 1 + a + b]]).T + middle
    return mapped


class AffineSearch:
    """See the module.

    Args:
        engine: what computes.
        stated: (frame, 2), pixels of the object, the positions as they are given.
        shape: (rows, columns) of the object.
        size: N.
        seed: of the order of the frames.

    Attributes:
        positions: (frame, 2), as they are found by now.
    """

    def __init__(self, engine: Searching, stated: FloatArray, shape: tuple[int, ...], size: int, seed: int) -> None:
        self._engine, self._stated, self._shape, self._size = engine, stated, shape, size
        frames, _ = neighborhood(stated, FRAMES, 0.0)
        self._order = ordered(frames, np.random.default_rng([seed, 3]))
        self._numbers = np.zeros(4)
        self._known = dict[tuple[float, ...], float]()
        self._total = 1 + sum(2 * wide * len(NUMBERS) for _, wide in LINES)
        self.positions = stated

    def iterate(self) -> Iterator[Placed]:
        """Yield after each trial."""
        for step, wide in LINES:
            for number in NUMBERS:
                line = [self._numbers + step * place * np.eye(4)[number] for place in range(-wide, wide + 1)]
                values = list[float]()
                for numbers in line:
                    key = tuple(np.round(numbers, 6))
                    if key not in self._known:
                        self._known[key] = self._misfit(numbers)
                        yield Placed(len(self._known), max(self._total, len(self._known)), self._known[key])
                    values.append(self._known[key])
                self._numbers = line[int(np.argmin(values))] + step * _vertex(values) * np.eye(4)[number]
                self.positions = self._placed(self._numbers)

    def _misfit(self, numbers: FloatArray) -> float:
        """R of the last epoch of a short fit."""
        self._engine.flatten()
        self._engine.state.positions = self._placed(numbers)
        return [self._engine.epoch(self._order) for _ in range(EPOCHS)][-1]

    def _placed(self, numbers: FloatArray) -> FloatArray:
        return keep_inside(affine_map(self._stated, numbers), self._shape, self._size)


def _vertex(values: list[float]) -> float:
    """How far the minimum of a parabola through the lowest value and its neighbors lies from it, in steps; 0 at an end."""
    lowest = int(np.argmin(values))
    if not 0 < lowest < len(values) - 1:
        return 0.0
    before, here, after = values[lowest - 1 : lowest + 2]
    bend = before - 2 * here + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend > 0 else 0.0
