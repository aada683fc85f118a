"""How much the patterns of a scan say: of the object in all, and of the position of each frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.physics.forward import BATCH
from ptycho_core.physics.propagation import propagate, shift, shift_derivatives
from ptycho_core.physics.windows import cut_windows, split_positions
from ptycho_core.scan.canvas import probe_width

if TYPE_CHECKING:
    from numpy.typing import NDArray

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

    Returns:
        (frame,), pixels; infinite where nothing in the pattern moves.
    """
    errors = np.empty(len(positions))
    for start in range(0, len(positions), BATCH):
        errors[start : start + BATCH] = _errors(object, probe, positions[start : start + BATCH], background)
    return errors


def _errors(
    object: NDArray[Any],  # noqa: A002 - the field's word
    probe: NDArray[Any],
    positions: NDArray[np.float64],
    background: NDArray[Any] | None,
) -> NDArray[np.float64]:
    whole, remainders = split_positions(positions)
    patches = cut_windows(object, whole, probe.shape[-1])[:, np.newaxis]
    waves = propagate(shift(probe, remainders[:, np.newaxis]) * patches)
    modelled = (np.abs(waves) ** 2).sum(axis=1) + (0 if background is None else background)
    slopes = [
        2 * (waves.conj() * propagate(moved * patches)).real.sum(axis=1)
        for moved in shift_derivatives(probe, remainders[:, np.newaxis])
    ]
    weights = 1 / np.maximum(modelled, 1e-6 * modelled.max(axis=(1, 2), keepdims=True) + 1e-300)
    rows, columns, both = ((slopes[i] * slopes[j] * weights).sum(axis=(1, 2)) for i, j in ((0, 0), (1, 1), (0, 1)))
    smaller = (rows + columns) / 2 - np.hypot((rows - columns) / 2, both)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(smaller > 0, 1 / np.sqrt(smaller), np.inf)
