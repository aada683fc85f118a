"""The estimate of the object that a network corrects, and the features that it is given (*Estimate* in ``specs/network.md``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.conformance.reference.canvas import Canvas
from ptycho_core.conformance.reference.fourier import at_detector, from_detector, phase
from ptycho_core.conformance.reference.tile import TileFit
from ptycho_core.networks import estimates_tiles
from ptycho_core.physics.losses import bounded_above

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ptycho_core.conformance.reference.batch import Batch

__all__ = ["estimate", "features", "fitted_tile"]

_DARK = 0.1
"""Counts added to a modelled intensity before its root is taken."""


def estimate(batch: Batch) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Estimates and the steps that would follow, turned: each complex (group, C, N, N)."""
    if estimates_tiles(batch.network):
        patches, steps = fitted_tile(batch).patches()
        return patches[:, None], steps[:, None]
    found = [_of_group(batch, group) for group in batch.groups]
    return np.stack([one for one, _ in found]), np.stack([one for _, one in found])


def fitted_tile(batch: Batch) -> TileFit:
    """The tile of all frames of a batch, fitted."""
    frames = batch.frames
    asked, roots = batch.network["estimate"], batch.roots[frames]
    tile = TileFit(batch.probe, batch.positions[frames], roots, batch.good, asked, way=batch.way, levels=batch.levels)
    tile.fit()
    return tile


def features(
    estimated: NDArray[np.complex128], step: NDArray[np.complex128], illumination: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What the network is given: float64 (group, 5 C, N, N)."""
    root = np.broadcast_to(np.sqrt(illumination), estimated.shape)
    return np.concatenate([estimated.real - 1, estimated.imag, 4 * step.real, 4 * step.imag, root], axis=1)


def _of_group(batch: Batch, group: NDArray[np.int64]) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    asked = batch.network["estimate"]
    canvas = Canvas(batch.corners[group], batch.size)
    probes = np.stack([batch.shifted(frame) for frame in group])
    step = _stepper(batch, group, canvas, probes, float(asked["alpha"]))
    empty = (np.abs(at_detector(batch.probe[None], np.zeros((1, 2)), batch.way)[0]) ** 2).sum(axis=0)[batch.good].sum()
    start = np.sqrt((batch.roots[group] ** 2).sum() / (len(group) * empty))
    object_: NDArray[np.complex128] = np.full(canvas.shape, start, dtype=np.complex128)
    change = np.zeros_like(object_)
    for _ in range(int(asked["steps"])):
        change = step(object_) + asked["momentum"] * change
        object_ = object_ + change
    patches, following = canvas.cut(object_), canvas.cut(step(object_))
    turn = phase((batch.illumination * patches).sum()).conj()
    return patches * turn, following * turn


def _stepper(
    batch: Batch, group: NDArray[np.int64], canvas: Canvas, probes: NDArray[np.complex128], alpha: float
) -> Callable[[NDArray[np.complex128]], NDArray[np.complex128]]:
    """A function that gives the update step of an object (rows, columns) on the group's canvas."""
    light = canvas.add((np.abs(probes) ** 2).sum(axis=1))
    below = light + alpha * light.max()
    rest = np.stack([batch.remainder(frame) for frame in group])

    def step(object_: NDArray[np.complex128]) -> NDArray[np.complex128]:
        waves = at_detector(probes * canvas.cut(object_)[:, None], rest, batch.way)
        intensity = (np.abs(waves) ** 2).sum(axis=1) + _DARK
        if batch.ends is not None:
            intensity = bounded_above(intensity, batch.roots[group] ** 2, batch.ends[group][:, None, None])
        bracket = np.where(batch.good, batch.roots[group] / np.sqrt(intensity) - 1, 0)
        change = from_detector(bracket[:, None] * waves, rest, batch.way)
        found: NDArray[np.complex128] = canvas.add((probes.conj() * change).sum(axis=1)) / below
        return found

    return step
