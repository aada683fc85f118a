"""Phases over a graph: one for each image, from the products of overlapping pairs.

Images that are equal but for noise and one unknown phase each are brought to a common phase: maximise ::

    Σ_(i,j) λ_ij cos(θ_i − θ_j − arg c_ij),    c_ij = Σ conj(x_i) x_j over the overlap of images i and j

(angular synchronisation; Singer, *Appl. Comput. Harmon. Anal.* 30 (2011) 20-36), from a start along the most reliable pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Pairs", "align_phases", "centred", "islands"]

_STEPS = 8
_SETTLED = 1e-5  # rad
_OUTLIER = 0.3  # rad; a pair that disagrees by more with all others counts for little
_INCOHERENT = 0.02  # coherence is known no better than this: it bounds the ratio of two weights


@dataclass(frozen=True, eq=False)
class Pairs:
    """Overlapping images i and j.

    Attributes:
        first: (pair,), int64, numbers of the images i.
        second: (pair,), int64, numbers of the images j, another than i.
        product: (pair,), complex128, ``Σ conj(x_i) x_j`` over the overlap.
        most: (pair,), float64, ``Σ |x_i| |x_j|`` over the overlap: what the product would be if all phases were equal.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    product: NDArray[np.complex128]
    most: NDArray[np.float64]

    def weights(self) -> NDArray[np.float64]:
        """λ, (pair,), float64, > 0: overlap times ``γ² / (1 − γ²)``, with the coherence ``γ = |product| / most``.

        That is the inverse variance of a pair's phase (Rodriguez and Martin, *IEE Proc. F* 139 (1992) 147-159), bounded for γ
        near 1. Pairs that have nothing in common keep a trace, so that they still connect what nothing else connects.
        """
        coherence = np.minimum(np.abs(self.product) / np.maximum(self.most, np.finfo(float).tiny), 1.0) ** 2
        weights = self.most * coherence / (1 - coherence + _INCOHERENT)
        return np.asarray(np.maximum(weights, 1e-9 * (float(weights.max(initial=0.0)) or 1.0)))


def align_phases(count: int, pairs: Pairs) -> NDArray[np.complex128]:
    """Factors of modulus one that bring images to a common phase.

    The start follows the spanning tree of the most reliable pairs (Kruskal). Gauss-Newton steps over all pairs at once then
    spread what is left evenly: each solves the equations of the weighted graph, so that an error does not add up along a
    chain that others cross. Pairs that contradict the rest lose their weight (Cauchy's).

    Args:
        count: number of images.
        pairs: their overlaps.

    Returns:
        (count,), complex128, of modulus one; those of each island of connected images are known up to one common factor.
    """
    weights = pairs.weights()
    phases = _along_tree(count, pairs, weights)
    if len(pairs.first) >= count:  # a tree alone is already exact
        phases = _refined(phases, islands(count, pairs.first, pairs.second), pairs, weights)
    return np.asarray(np.exp(1j * phases))


def centred(factors: NDArray[np.complex128], labels: NDArray[np.int64]) -> NDArray[np.complex128]:
    """Factors (count,) turned so that their mean over each island is real and not negative.

    Images that had a common phase from the beginning then keep it.
    """
    total = np.bincount(labels, factors.real) + 1j * np.bincount(labels, factors.imag)
    size = np.abs(total)
    turn = np.where(size > 1e-6, np.conj(total) / np.maximum(size, 1e-6), 1.0)
    return np.asarray(factors * turn[labels])


def islands(count: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which connected part of a graph each node belongs to: (count,), int64, numbered from 0 by their first node."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(first), dtype=np.int8), (first, second)), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    _, starts, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(starts))[inverse], dtype=np.int64)


def _along_tree(count: int, pairs: Pairs, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Phases (count,), rad, that fulfil every pair of the heaviest spanning forest."""
    members = [[node] for node in range(count)]
    home = list(range(count))
    phases = np.zeros(count)
    angles = np.angle(pairs.product).tolist()
    firsts, seconds = pairs.first.tolist(), pairs.second.tolist()
    for pair in np.argsort(-weights, kind="stable").tolist():
        i, j = firsts[pair], seconds[pair]
        keep, join = home[i], home[j]
        if keep == join:
            continue
        turn = phases[i] - phases[j] - angles[pair]
        if len(members[keep]) < len(members[join]):
            keep, join, turn = join, keep, -turn
        phases[members[join]] += turn
        for node in members[join]:
            home[node] = keep
        members[keep] += members[join]
        members[join] = []
    return phases


def _refined(
    phases: NDArray[np.float64], labels: NDArray[np.int64], pairs: Pairs, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import spsolve

    count = len(phases)
    i, j = pairs.first, pairs.second
    phase_alignment = np.angle(pairs.product)
    # The phase of one image of each island is held, and with it the island's.
    free = np.ones(count, dtype=np.bool_)
    free[np.unique(labels, return_index=True)[1]] = False
    place = np.cumsum(free) - 1
    rows, columns = np.concatenate([i, j, i, j]), np.concatenate([i, j, j, i])
    inner = free[rows] & free[columns]
    rows, columns = place[rows[inner]], place[columns[inner]]
    shape = (int(free.sum()),) * 2
    for _ in range(_STEPS):
        rest = np.angle(np.exp(1j * (phases[j] + phase_alignment - phases[i])))
        pull = weights / (1 + (rest / _OUTLIER) ** 2)
        pull = np.maximum(pull, 1e-12 * pull.max())  # else the equations of an image whose pairs all disagree are singular
        matrix = coo_array((np.concatenate([pull, pull, -pull, -pull])[inner], (rows, columns)), shape=shape).tocsc()
        force = (np.bincount(i, pull * rest, count) - np.bincount(j, pull * rest, count))[free]
        step = spsolve(matrix, force, permc_spec="MMD_AT_PLUS_A")
        phases = phases.copy()
        phases[free] += step
        if np.abs(step).max(initial=0.0) < _SETTLED:
            break
    return phases
