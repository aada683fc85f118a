"""Merging of overlapping patches with held phase alignment (*Merging* in ``specs/network.md``), and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.conformance.reference.canvas import Canvas
from ptycho_core.conformance.reference.fourier import phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ptycho_core.conformance.reference.batch import Batch

__all__ = ["merge", "merge_back", "phase_alignment"]

_ROUNDS = 4
_FLOOR = 1e-3
"""Added to the illumination as a weight."""


def phase_alignment(
    batch: Batch, patches: NDArray[np.complex128], illumination: NDArray[np.float64]
) -> tuple[NDArray[np.complex128], ...]:
    """Factors that align the patches (patch, N, N) of every merged set: each complex (patch of the set,)."""
    weight, found = illumination + _FLOOR, []
    for canvas, chosen in _sets(batch):
        turn = np.ones(len(chosen), dtype=np.complex128)
        for _ in range(_ROUNDS):
            merged = _average(canvas, patches[chosen], turn, weight)
            turn = phase((weight * merged * patches[chosen].conj()).sum(axis=(1, 2)))
        found.append(turn)
    return tuple(found)


def merge(
    batch: Batch,
    patches: NDArray[np.complex128],
    illumination: NDArray[np.float64],
    held: Sequence[NDArray[np.complex128]],
) -> NDArray[np.complex128]:
    """Patches (patch, N, N), merged with given turns: ``M = Σ w z O / Σ w``, cut at every window."""
    result = patches.copy()
    for (canvas, chosen), turn in zip(_sets(batch), held, strict=True):
        result[chosen] = _average(canvas, patches[chosen], turn, illumination + _FLOOR)
    return result


def merge_back(
    batch: Batch,
    slope: NDArray[np.complex128],
    illumination: NDArray[np.float64],
    held: Sequence[NDArray[np.complex128]],
) -> NDArray[np.complex128]:
    """The adjoint of `merge`: gradient with respect to the patches, given that with respect to the merged ones."""
    result, weight = slope.copy(), illumination + _FLOOR
    for (canvas, chosen), turn in zip(_sets(batch), held, strict=True):
        carried = canvas.cut(_over(canvas.add(slope[chosen]), _total(canvas, weight)))
        result[chosen] = weight * turn.conj()[:, None, None] * carried
    return result


def _sets(batch: Batch) -> list[tuple[Canvas, NDArray[np.int64]]]:
    """Canvas and numbers of the patches that are merged with each other; none where they stay as they are."""
    number, members = batch.groups.shape
    places = np.arange(number * members)
    if batch.merge == "none" or (batch.merge == "group" and members == 1):
        return []
    sets = [places] if batch.merge == "batch" else np.split(places, number)
    corners = batch.corners[batch.frames]
    return [(Canvas(corners[chosen], batch.size), chosen) for chosen in sets]


def _average(
    canvas: Canvas, patches: NDArray[np.complex128], turn: NDArray[np.complex128], weight: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """M, cut at every window: (patch, N, N)."""
    summed = canvas.add(weight * turn[:, None, None] * patches)
    cut: NDArray[np.complex128] = canvas.cut(_over(summed, _total(canvas, weight)))
    return cut


def _total(canvas: Canvas, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    total: NDArray[np.float64] = canvas.add(np.broadcast_to(weight, (len(canvas.corners), *weight.shape)))
    return total


def _over(summed: NDArray[np.complex128], total: NDArray[np.float64]) -> NDArray[np.complex128]:
    """The quotient; 0 where no window lies."""
    return np.divide(summed, total, out=np.zeros_like(summed), where=total > 0)
