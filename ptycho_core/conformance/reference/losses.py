"""The loss terms of merged patches and modelled intensities, and their derivatives (*Loss* in ``specs/network.md``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ptycho_core.conformance.reference.batch import Batch, Held

__all__ = ["DATA_TERMS", "intensity_slope", "patch_slope", "terms"]

DATA_TERMS: Final = ("nll", "amplitude", "mae")
_FLOOR = 1e-6
"""Counts added to every modelled intensity."""

_VARIATION = 1e-3
_DISTANCE = 1e-6
"""Roundings of the total variation and of the distance from labels."""


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
    modelled, roots = intensity[:, batch.good] + _FLOOR, batch.roots[batch.frames][:, batch.good]
    found: dict[str, float] = {}
    for name in names:
        if name == "nll":
            found[name] = float(np.mean(modelled - roots**2 * np.log(modelled)))
        elif name == "amplitude":
            found[name] = float(np.mean((np.sqrt(modelled) - roots) ** 2))
        elif name == "mae":
            found[name] = float(np.mean(np.abs(np.sqrt(modelled) - roots)))
        elif name == "tv":
            found[name] = float(np.mean(_lengths(*_differences(patches)) - _VARIATION))
        else:
            found[name] = _distance(batch, held, patches)
    return found


def intensity_slope(batch: Batch, intensity: NDArray[np.float64], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Derivative of the weighted data terms with respect to every modelled intensity: (patch, N, N), 0 at bad pixels."""
    modelled, roots = intensity + _FLOOR, batch.roots[batch.frames]
    root = np.sqrt(modelled)
    total = (
        weights.get("nll", 0.0) * (1 - roots**2 / modelled)
        + weights.get("amplitude", 0.0) * (1 - roots / root)
        + weights.get("mae", 0.0) * np.sign(root - roots) / (2 * root)
    )
    return np.where(batch.good, total, 0.0) / (len(intensity) * np.count_nonzero(batch.good))


def patch_slope(
    batch: Batch, held: Held, patches: NDArray[np.complex128], weights: Mapping[str, float]
) -> NDArray[np.complex128]:
    """Gradient of the weighted ``tv`` and ``realspace`` with respect to the merged patches, d/d Re + i d/d Im: (patch, N, N)."""
    found = np.zeros_like(patches)
    if weights.get("tv", 0.0):
        found += weights["tv"] * _variation_slope(patches)
    if weights.get("realspace", 0.0):
        far, length, share = _apart(batch, held, patches)
        found += weights["realspace"] * share * held.phases.conj()[:, None, None] * far / length
    return found


def _differences(patches: NDArray[np.complex128]) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """To the next row and the next column, 0 where that is outside."""
    down, right = np.zeros_like(patches), np.zeros_like(patches)
    down[:, :-1] = patches[:, 1:] - patches[:, :-1]
    right[:, :, :-1] = patches[:, :, 1:] - patches[:, :, :-1]
    return down, right


def _lengths(down: NDArray[np.complex128], right: NDArray[np.complex128]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.sqrt(np.abs(down) ** 2 + np.abs(right) ** 2 + _VARIATION**2)
    return found


def _variation_slope(patches: NDArray[np.complex128]) -> NDArray[np.complex128]:
    down, right = _differences(patches)
    length = _lengths(down, right)
    down, right = down / length, right / length
    slope = -down - right
    slope[:, 1:] += down[:, :-1]
    slope[:, :, 1:] += right[:, :, :-1]
    found: NDArray[np.complex128] = slope / patches.size
    return found


def _distance(batch: Batch, held: Held, patches: NDArray[np.complex128]) -> float:
    _, length, share = _apart(batch, held, patches)
    return float((share * (length - _DISTANCE)).sum())


def _apart(
    batch: Batch, held: Held, patches: NDArray[np.complex128]
) -> tuple[NDArray[np.complex128], NDArray[np.float64], NDArray[np.float64]]:
    """``M e^{iφ} − T``, its rounded modulus, and the share ``W / (J Σ W)`` of a pixel in the mean."""
    far = patches * held.phases[:, None, None] - batch.true_patches()
    length = np.sqrt(np.abs(far) ** 2 + _DISTANCE**2)
    return far, length, held.illumination / (len(patches) * held.illumination.sum())
