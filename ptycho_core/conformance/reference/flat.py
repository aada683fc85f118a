"""The loss of the best flat object (``trivial_loss`` in ``specs/training.md``): what a network that learned nothing reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.conformance.reference.batch import Held
from ptycho_core.conformance.reference.fourier import phase, transform
from ptycho_core.conformance.reference.losses import terms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_core.conformance.reference.batch import Batch

__all__ = ["flat_loss"]

_SHARES = tuple(0.7 + 0.025 * step for step in range(17))
"""Amplitudes that are tried, over the one that keeps the counts."""


def flat_loss(batch: Batch, weights: Mapping[str, float]) -> float:
    """The lowest weighted loss of the batch's single frames for objects that are flat."""
    far = (np.abs(transform(batch.probe)) ** 2).sum(axis=0)
    counts = (batch.roots[batch.frames] ** 2 * batch.good).sum(axis=(1, 2)).mean()
    found = []
    for share in _SHARES:
        factor = share**2 * counts / far[batch.good].sum()
        patches = np.full((len(batch.frames), batch.size, batch.size), np.sqrt(factor), dtype=np.complex128)
        nothing = np.zeros(0, dtype=np.complex128)
        held = Held(nothing, nothing, batch.illumination, (), nothing)
        if batch.labels is not None:
            turn = phase((batch.illumination * batch.true_patches() * patches.conj()).sum(axis=(1, 2)))
            held = Held(nothing, nothing, batch.illumination, (), turn)
        known = terms(batch, held, patches, np.broadcast_to(far * factor, patches.shape), tuple(weights))
        found.append(sum(weight * known[name] for name, weight in weights.items()))
    return min(found)
