"""Merging of overlapping object patches into one object, differentiable; ``specs/network.md`` defines it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptycho_core.engine.estimate import Overlaps, unit_phase

if TYPE_CHECKING:
    from ptycho_core.engine.arrays import Array, ArrayOps

__all__ = ["merge_patches"]

ALIGNMENTS = 4
"""Rounds in which the phases of the patches are turned towards their average."""

FLOOR = 1e-3
"""Added to the illumination as a weight, so that every pixel of a window has one."""


def merge_patches(xp: ArrayOps, patches: Array, weight: Array, overlaps: Overlaps) -> Array:
    """Average overlapping patches with weights, and cut the windows out again.

    One pattern says nothing of its patch's phase as a whole. So each patch is first turned towards the average of all, in a few
    rounds; the angles are taken as constants of the derivative.

    Args:
        xp: the operations.
        patches: complex (frame, N, N).
        weight: real (N, N), intensity of the illumination, greatest 1.
        overlaps: windows of the patches on a canvas (or on several that are stacked).

    Returns:
        Complex (frame, N, N).
    """
    corners, canvas = overlaps
    illuminated = weight + FLOOR
    total = xp.scatter_add(xp.zeros_like(canvas), xp.at_each(illuminated, corners), corners)
    inverse = 1 / xp.at_least(total, FLOOR)
    weighted = xp.times_real(xp.constant(patches), illuminated)
    turn = _aligned(xp, weighted, inverse, overlaps)
    turned = patches * xp.times_real(turn[:, None, None], illuminated)
    merged = xp.times_real(xp.scatter_add(xp.zeros_like(canvas, patches), turned, corners), inverse)
    return xp.gather(merged, corners, xp.size(weight))


def _aligned(xp: ArrayOps, weighted: Array, inverse: Array, overlaps: Overlaps) -> Array:
    """Complex (frame,) of modulus one: what turns each weighted patch towards the average."""
    corners, canvas = overlaps
    conjugate = xp.conj(weighted)

    def turned(turn: Array) -> tuple[Array]:
        total = xp.scatter_add(xp.zeros_like(canvas, weighted), weighted * turn[:, None, None], corners)
        seen = xp.gather(xp.times_real(total, inverse), corners, xp.size(weighted))
        return (unit_phase(xp, xp.sum(seen * conjugate, (1, 2))),)

    ones = xp.zeros_like(weighted[:, 0, 0]) + 1
    return xp.repeat(turned, ALIGNMENTS, ones)[0]
