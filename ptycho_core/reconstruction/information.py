"""How much the patterns of a scan say: of the object in all, and of the position of each frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.physics.forward import BATCH, at_detector
from ptycho_core.physics.propagation import shift, shift_derivatives
from ptycho_core.physics.windows import cut_windows, split_positions
from ptycho_core.scan.canvas import probe_width

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.physics.near_field import Propagation

__all__ = ["UNCERTAIN", "object_dose", "position_errors"]

UNCERTAIN: Final = 0.25
"""Standard error of a position, in pixels, from which on the patterns do not determine it."""


def object_dose(counts: float, probe: NDArray[Any], positions: NDArray[np.floating[Any]]) -> float:
    """Counts for each pixel of the scanned area, which reaches half a probe's width beyond the positions.

    Args:
        counts: of all patterns together.
        probe: (mode, N, N), complex.
        positions: (frame, 2), pixels.
    """
    rows, columns = np.ptp(positions, axis=0) + probe_width(probe)
    return float(counts / max(rows * columns, 1.0))


def position_errors(
    object: NDArray[Any],  # noqa: A002 - the field's word
    probe: NDArray[Any],
    positions: NDArray[np.float64],
    background: NDArray[Any] | None = None,
    way: Propagation | None = None,
) -> NDArray[np.float64]:
    """The standard error of each position that photon noise alone would leave, in the direction in which it is largest.

    It is the Cramér-Rao bound of Poisson noise with object and probe known: ``1 / √λ`` with λ the smaller eigenvalue of the
    Fisher information ``F_ij = Σ ∂_i I ∂_j I / I`` of row and column (Kay, Fundamentals of Statistical Signal Processing I,
    ch. 3).

    Args:
        object: (rows, columns), complex.
        probe: (mode, N, N), complex, in counts.
        positions: (frame, 2), (row, column) of the windows' corners in ``object``.
        background: (N, N), counts, or None.
        way: to the detector in the near field; None for the far field.

    Returns:
        (frame,), pixels; infinite where nothing in the pattern moves.
    """
    errors = np.empty(len(positions))
    for start in range(0, len(positions), BATCH):
        errors[start : start + BATCH] = _errors(object, probe, positions[start : start + BATCH], background, way)
    return errors


def _errors(
    object: NDArray[Any],  # noqa: A002 - the field's word
    probe: NDArray[Any],
    positions: NDArray[np.float64],
    background: NDArray[Any] | None,
    way: Propagation | None,
) -> NDArray[np.float64]:
    whole, remainders = split_positions(positions)
    patches = cut_windows(object, whole, probe.shape[-1])[:, np.newaxis]
    displacement = remainders[:, np.newaxis]
    exits = shift(probe, displacement) * patches
    waves = at_detector(exits, displacement, way)
    modelled = (np.abs(waves) ** 2).sum(axis=1) + (0 if background is None else background)
    moved = [change * patches for change in shift_derivatives(probe, displacement)]
    if way is not None:  # the exit wave is moved back
        moved = [one - back for one, back in zip(moved, shift_derivatives(exits, np.zeros(2)), strict=True)]
    slopes = [2 * (waves.conj() * at_detector(one, displacement, way)).real.sum(axis=1) for one in moved]
    weights = 1 / np.maximum(modelled, 1e-6 * modelled.max(axis=(1, 2), keepdims=True) + 1e-300)
    rows, columns, both = ((slopes[i] * slopes[j] * weights).sum(axis=(1, 2)) for i, j in ((0, 0), (1, 1), (0, 1)))
    smaller = (rows + columns) / 2 - np.hypot((rows - columns) / 2, both)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(smaller > 0, 1 / np.sqrt(smaller), np.inf)
