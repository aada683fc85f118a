"""What a reconstruction fits, and where its windows lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import Array, ArrayOps, Corners

__all__ = ["Fields", "Measured", "State", "Windows", "windows_at", "windows_of"]


@dataclass
class State:
    """What is fitted, in the arrays of a framework.

    Attributes:
        xp: the operations on these arrays.
        object: complex (rows, columns).
        probe: complex (mode, N, N); its squared modulus sums to the mean counts of a pattern of an empty object.
        positions: float64 NumPy (frame, 2), row and column of the window's ``[0, 0]`` corner, in object pixels.
        background: real (1, 1) or (N, N) counts a pixel in FFT order, or None for none.
        flux: float64 NumPy (frame,), dose of each frame relative to that of the probe, above 0, or None for 1.
    """

    xp: ArrayOps
    object: Array
    probe: Array
    positions: NDArray[np.float64]
    background: Array | None = None
    flux: NDArray[np.float64] | None = None

    def copy(self) -> State:
        """A state that stays as it is when this one is changed."""
        background = None if self.background is None else self.xp.copy(self.background)
        flux = None if self.flux is None else self.flux.copy()
        return State(self.xp, self.xp.copy(self.object), self.xp.copy(self.probe), self.positions.copy(), background, flux)

    def is_finite(self) -> bool:
        """Whether object, probe, positions and flux hold finite numbers only."""
        finite = self.xp.is_finite(self.object) and self.xp.is_finite(self.probe)
        flux = self.flux is None or bool(np.isfinite(self.flux).all())
        return finite and flux and bool(np.isfinite(self.positions).all())

    @property
    def fields(self) -> Fields:
        """The arrays, as a compiled function takes them."""
        return Fields(self.object, self.probe, self.background)


class Fields(NamedTuple):
    """The arrays of a state, or derivatives ``dL/d conj`` of object and probe and (real) of the background."""

    object: Array
    probe: Array
    background: Array | None


class Measured(NamedTuple):
    """What was measured in a batch, in FFT order.

    Attributes:
        amplitudes: real (frame, N, N).
        mask: real (N, N), or None.
        ceiling: the amplitude from which on a pixel is saturated, a number or real (frame, 1, 1), or None.
    """

    amplitudes: Array
    mask: Array | None
    ceiling: Array | None = None

    def of(self, frames: slice) -> Measured:
        """The same of some of its frames, whose ceilings are their own."""
        return Measured(self.amplitudes[frames], self.mask, None if self.ceiling is None else self.ceiling[frames])


class Windows(NamedTuple):
    """The places of a batch of windows, and how much light they get.

    Attributes:
        corners: whole-pixel corners, as the framework wants them.
        remainders: real (frame, 2), what is left of the positions, or None where all are zero.
        flux: real (frame,), or None for 1.
    """

    corners: Corners
    remainders: Array | None
    flux: Array | None = None


def windows_of(
    state: State,
    frames: NDArray[np.int64],
    size: int,
    *,
    whole: NDArray[np.float64] | None = None,
    with_remainders: bool = False,
) -> Windows:
    """Windows of some ``frames`` of a state, with their flux; arguments as of `windows_at`."""
    found = windows_at(state.xp, state.positions[frames], state.object, size, whole=whole, with_remainders=with_remainders)
    return found if state.flux is None else found._replace(flux=state.xp.from_numpy(state.flux[frames]))


def windows_at(
    xp: ArrayOps,
    positions: NDArray[np.float64],
    canvas: Array,
    size: int,
    *,
    whole: NDArray[np.float64] | None = None,
    with_remainders: bool = False,
) -> Windows:
    """Windows of (frame, 2) ``positions`` in ``canvas`` for frames of ``size`` pixels.

    ``whole`` fixes the corners (frame, 2) instead of rounding down, so that positions can move smoothly;
    ``with_remainders`` gives remainders even where all are zero.
    """
    if whole is None:
        whole = np.floor(positions)
    rest = positions - whole
    remainders = xp.from_numpy(rest) if with_remainders or rest.any() else None
    return Windows(xp.corners(whole, canvas, size), remainders)
