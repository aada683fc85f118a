"""The loss terms of merged patches and modelled intensities, and their derivatives (*Loss* in ``specs/network.md``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.physics import INTENSITY_FLOOR, VARIATION_ROUNDING, data_derivative, data_terms
from ptycho_core.physics.losses import bounded_above

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ptycho_core.conformance.reference.batch import Batch, Held

__all__ = ["intensity_slope", "patch_slope", "terms", "variation"]

_DISTANCE = 1e-6
"""Rounding of the distance from labels."""


def terms(
    batch: Batch, held: Held, patches: NDArray[np.complex128], intensity: NDArray[np.float64], names: tuple[str, ...]
) -> dict[str, float]:
    """The named terms, unweighted.

    Args:
        batch: the batch.
        held: its constants.
        patches: merged, complex (patch, N, N).
        intensity: modelled counts (patch, N, N), zero frequency at ``[0, 0]``.
        names: of ``nll``, ``amplitude``, ``mae``, ``tv``, ``realspace``.
    """
    counts = batch.roots[batch.frames] ** 2
    found = data_terms(_compared(batch, intensity), counts, batch.good)
    if "tv" in names:
        found["tv"] = float(np.mean(variation(patches, VARIATION_ROUNDING)[0]))
    if "realspace" in names and held.tile is None:
        _, length, share = _apart(batch, held, patches)
        found["realspace"] = float((share * (length - _DISTANCE)).sum())
    if "realspace" in names and held.tile is not None:
        found["realspace"] = held.tile.distance(held.tile.joined(patches), held.phases)
    return {name: found[name] for name in names}


def intensity_slope(batch: Batch, intensity: NDArray[np.float64], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Derivative of the weighted data terms with respect to every modelled intensity: (patch, N, N), 0 at bad pixels."""
    compared = _compared(batch, intensity)
    slopes = data_derivative(compared, batch.roots[batch.frames] ** 2, batch.good, weights)
    return np.where(compared == intensity, slopes, 0.0)  # beyond a saturated count there is no slope


def _compared(batch: Batch, intensity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Modelled counts that are no more than a saturated pixel counts."""
    if batch.levels is None:
        return intensity
    return bounded_above(intensity, batch.roots[batch.frames] ** 2, batch.levels, INTENSITY_FLOOR)


def patch_slope(
    batch: Batch, held: Held, patches: NDArray[np.complex128], weights: Mapping[str, float]
) -> NDArray[np.complex128]:
    """Gradient of the weighted ``tv`` and ``realspace`` with respect to the merged patches, d/d Re + i d/d Im: (patch, N, N).

    On a canvas the labels are compared with that, not with patches.
    """
    found = np.zeros_like(patches)
    if weights.get("tv", 0.0):
        found += weights["tv"] * (variation(patches, VARIATION_ROUNDING)[1] / patches.size)
    if weights.get("realspace", 0.0) and held.tile is None:
        far, length, share = _apart(batch, held, patches)
        found += weights["realspace"] * share * held.phases.conj()[:, None, None] * far / length
    return found


def variation(fields: NDArray[np.complex128], rounding: float) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """``√(|down|² + |right|² + ε²) − ε`` at every pixel of complex (..., rows, columns), and the gradient of its sum.

    The differences are to the next row and the next column, 0 where that is outside.
    """
    down, right = np.zeros_like(fields), np.zeros_like(fields)
    down[..., :-1, :], right[..., :-1] = np.diff(fields, axis=-2), np.diff(fields, axis=-1)
    length = np.sqrt(np.abs(down) ** 2 + np.abs(right) ** 2 + rounding**2)
    down, right = down / length, right / length
    slope = -down - right
    slope[..., 1:, :] += down[..., :-1, :]
    slope[..., 1:] += right[..., :-1]
    return length - rounding, slope


def _apart(
    batch: Batch, held: Held, patches: NDArray[np.complex128]
) -> tuple[NDArray[np.complex128], NDArray[np.float64], NDArray[np.float64]]:
    """``M e^{iφ} − T``, its rounded modulus, and the share ``W / (J Σ W)`` of a pixel in the mean."""
    far = patches * held.phases[:, None, None] - batch.true_patches()
    length = np.sqrt(np.abs(far) ** 2 + _DISTANCE**2)
    return far, length, held.illumination / (len(patches) * held.illumination.sum())
