"""Probe modes: weak ones to start from, and their orthogonal form (Thibault & Menzel, Nature 494 (2013) 68)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["add_probe_modes", "orthogonalise_modes"]

ComplexArray = npt.NDArray[np.complexfloating]


def add_probe_modes(probe: ComplexArray, modes: int, seed: int, *, power: float = 0.04) -> ComplexArray:
    """The probe with weak, mutually orthogonal modes added until it has ``modes`` of them.

    A new mode is the first one times a polynomial in the distance from its centre of mass (row, column, then products: the
    order of Hermite-Gauss modes), with small random weights so that no symmetry of the probe keeps modes equal.

    Args:
        probe: complex (mode, N, N), or (N, N) for one.
        modes: how many are wanted; a probe that has as many already is returned unchanged.
        seed: of the random weights.
        power: of each new mode, as a share of the first one.

    Returns:
        Complex (max(modes, given), N, N) of the given dtype, total power unchanged.
    """
    given = np.atleast_3d(probe) if np.ndim(probe) == 3 else np.asarray(probe)[None]
    if len(given) >= modes:
        return given
    first = given[0].astype(np.complex128)
    size = first.shape[-1]
    weight = np.abs(first) ** 2 / max(float((np.abs(first) ** 2).sum()), 1e-300)
    rows, columns = np.indices((size, size), dtype=float)
    rows -= (weight * rows).sum()
    columns -= (weight * columns).sum()
    rows /= max(float(np.sqrt((weight * rows**2).sum())), 1e-12)
    columns /= max(float(np.sqrt((weight * columns**2).sum())), 1e-12)
    random = np.random.default_rng(seed)
    stack = [mode.astype(np.complex128) for mode in given]
    orders = [(i, total - i) for total in range(1, 2 * modes) for i in range(total, -1, -1)]
    for row_order, column_order in orders[len(given) - 1 :]:
        if len(stack) == modes:
            break
        mixed = 1 + 0.1 * random.standard_normal() * rows + 0.1 * random.standard_normal() * columns
        mode = first * rows**row_order * columns**column_order * mixed
        for other in stack:
            norm = float((np.abs(other) ** 2).sum())
            mode = mode - other * (np.vdot(other, mode) / max(norm, 1e-300))
        norm = float((np.abs(mode) ** 2).sum())
        stack.append(mode * np.sqrt(power * float((np.abs(first) ** 2).sum()) / max(norm, 1e-300)))
    result = np.stack(stack)
    total_before, total_after = float((np.abs(given) ** 2).sum()), float((np.abs(result) ** 2).sum())
    found: ComplexArray = (result * np.sqrt(total_before / max(total_after, 1e-300))).astype(given.dtype)
    return found


def orthogonalise_modes(probe: ComplexArray) -> ComplexArray:
    """Orthogonal modes, strongest first, with the same summed intensity everywhere.

    The right singular vectors of the (mode, pixel) matrix, times the singular values.  An incoherent sum does not change
    under a unitary mixing of its modes, so every modelled pattern stays as it was.  One mode is returned unchanged.

    Args:
        probe: complex (mode, N, N).
    """
    if len(probe) < 2:
        return probe
    _, values, vectors = np.linalg.svd(probe.reshape(len(probe), -1).astype(np.complex128), full_matrices=False)
    # The global phase of each mode is free: take the one that keeps it nearest to the strongest given mode.
    result = (values[:, None] * vectors).reshape(probe.shape)
    for index, mode in enumerate(result):
        overlap = np.vdot(mode, probe[int(np.argmax(np.abs([np.vdot(mode, given) for given in probe])))])
        result[index] = mode * (overlap / abs(overlap) if abs(overlap) > 0 else 1)
    found: ComplexArray = result.astype(probe.dtype)
    return found
