"""How pty-chi writes down what we write down, and back: scale, places, fractions of a pixel, order of the detector's pixels.

| | ptycho | pty-chi |
|---|---|---|
| propagation | orthonormal FFT | FFT without a factor: amplitudes at the detector are N times larger |
| probe | Σ|P|² is the mean counts of an empty object, (mode, N, N) | the same divided by N², (1, mode, N, N) |
| object | (row, column) | (1, row, column) |
| position | the window's ``[0, 0]`` corner, (row, column) | the window's middle, rows and columns apart, from a stated origin |
| fraction of a pixel | of the position rounded down: 0 ≤ f < 1 | of the position rounded to nearest: −1/2 ≤ f ≤ 1/2 |
| detector | zero frequency at ``[N//2, N//2]`` | zero frequency at ``[0, 0]`` |

Both shift the probe by the fraction in Fourier space, and both cut the window at whole pixels, but not at the same ones: where
the fraction is above 1/2 pty-chi's window lies one pixel further. The two models would differ by what the probe holds at its
border. So pty-chi is given the probe moved by half a pixel and positions that are as much smaller: then it rounds down as we do,
and the modelled patterns are equal to within rounding. It shifts only the first probe mode by the fraction; the others stay at
half a pixel, the mean of all fractions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.physics.propagation import shift

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HALF", "Convention", "Model", "TheirModel", "their_pixels"]

HALF: Final = 0.5 - 2.0**-10
"""Pixels by which pty-chi's probe is moved: a little less than half, so that whole positions are no tie between two pixels."""


@dataclass(frozen=True)
class Model:
    """Object, probe and positions in our convention.

    Attributes:
        object: (rows, columns), complex.
        probe: (mode, N, N), complex, in counts.
        positions: (frame, 2), float64, (row, column) of each window's ``[0, 0]`` corner.
    """

    object: NDArray[np.complexfloating[Any, Any]]
    probe: NDArray[np.complexfloating[Any, Any]]
    positions: NDArray[np.float64]

    def is_finite(self) -> bool:
        """Whether all its numbers are finite."""
        return all(bool(np.isfinite(values).all()) for values in (self.object, self.probe, self.positions))


@dataclass(frozen=True)
class TheirModel:
    """The same in pty-chi's: object (1, rows, columns), probe (1, mode, N, N), positions (frame,) each, float64, pixels."""

    object: NDArray[np.complexfloating[Any, Any]]
    probe: NDArray[np.complexfloating[Any, Any]]
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]


@dataclass(frozen=True)
class Convention:
    """The conversion for one scan.

    Attributes:
        size: N.
        corner: (2,), whole pixels: the corner from which pty-chi's positions are counted. One in the middle of the scan keeps
            them small, which single precision asks for.
    """

    size: int
    corner: NDArray[np.float64]

    @classmethod
    def of(cls, model: Model) -> Convention:
        """The conversion that suits a model: its positions are counted from their middle."""
        positions = model.positions
        return cls(model.probe.shape[-1], np.round((positions.min(axis=0) + positions.max(axis=0)) / 2))

    @property
    def origin(self) -> tuple[float, float]:
        """Where pty-chi's position (0, 0) lies in the object: the middle of the window whose corner is ``corner``."""
        row, column = (self.corner + (self.size - 1) / 2).tolist()
        return row, column

    def theirs(self, model: Model) -> TheirModel:
        """A model as pty-chi takes it, complex128 and float64."""
        probe = shift(model.probe, np.full(2, HALF)) / self.size
        rows, columns = (model.positions - self.corner - HALF).T
        return TheirModel(model.object.astype(np.complex128)[None], probe[None], rows, columns)

    def ours(self, theirs: TheirModel) -> Model:
        """A model of pty-chi's as we take it."""
        probe = shift(theirs.probe[0], np.full(2, -HALF)) * self.size
        positions = np.stack([theirs.rows, theirs.columns], axis=1).astype(np.float64) + self.corner + HALF
        return Model(theirs.object[0], probe, positions)


def their_pixels(patterns: NDArray[Any]) -> NDArray[Any]:
    """Patterns, or a mask, (..., N, N) with the zero frequency at ``[0, 0]``."""
    return np.fft.ifftshift(patterns, axes=(-2, -1))
