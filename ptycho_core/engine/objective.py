"""The objective of a training: the loss of a batch of groups, its gradient, and what else is known of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from ptycho_core.engine.estimate import (
    Estimate,
    Illumination,
    Overlaps,
    estimate_object,
    group_overlaps,
    relative_intensity,
    unit_phase,
)
from ptycho_core.engine.forward import DEFAULT
from ptycho_core.engine.losses import Mae, good
from ptycho_core.engine.merging import merge_patches
from ptycho_core.engine.network import Network
from ptycho_core.engine.patches import object_patches
from ptycho_core.engine.regularization import mean_variation
from ptycho_core.engine.tile import Tile
from ptycho_core.engine.trainable import TrainableModel
from ptycho_core.networks import estimates_tiles
from ptycho_core.physics import INTENSITY_FLOOR
from ptycho_core.training.loop import BatchStats

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import Array, ArrayOps, Corners
    from ptycho_core.engine.device_scan import DeviceScan
    from ptycho_core.engine.losses import Loss
    from ptycho_core.engine.trainable import Physics
    from ptycho_core.model import Model

__all__ = ["Objective", "Outcome"]

FLAT_SHARES = tuple(0.7 + 0.025 * step for step in range(17))
"""Amplitudes of the flat object that are tried, over the one that keeps the counts."""

ROUNDING = 1e-6
"""Below this a distance of two complex numbers counts as its square, so that its gradient at zero is zero."""


class Outcome(NamedTuple):
    """A batch's loss, and what else is known of it.

    Attributes:
        stats: its loss, and the sums that the history is made of.
        terms: the unweighted loss terms by name.
        modelled: real (frame, N, N), modelled counts in the order of the FFT.
        patches: complex (frame, N, N), merged as the loss sees them.
        gradient: of the loss, a vector as the learner's; None if it was not wanted.
    """

    stats: BatchStats
    terms: Mapping[str, float]
    modelled: Array
    patches: Array
    gradient: Array | None


class _Batch(NamedTuple):
    """What a compiled step is given.

    Attributes:
        scan: its place.
        amplitudes: real (frame, N, N).
        remainders: real (frame, 2), of the positions.
        mask: real (N, N), or None for all good.
        frames, pixels: how many, good ones in all of them.
        known: patches and step of the estimate that is remembered, or that of a tile, or None.
        groups: windows of each group on its own canvas; None for groups of one.
        together: windows to merge on one canvas, or None.
        labels: complex (rows, columns), or None.
        places: of the windows in the labels.
    """

    scan: Any
    amplitudes: Array
    remainders: Array
    mask: Array | None
    frames: Array
    pixels: Array
    known: tuple[Array, Array] | None
    groups: Overlaps | None
    together: Overlaps | None
    labels: Array | None
    places: Corners | None


class _Told(NamedTuple):
    """What `Outcome` says, as arrays."""

    difference: Array
    deviation: Array
    terms: dict[str, Array]
    modelled: Array
    patches: Array


class Objective:
    """The loss that the tensors of a model minimize.

    Attributes:
        learner: these tensors.
        weights: those of the loss terms above 0.
        physical: the terms that compare patterns, in one order in every process: they are summed in it.
    """

    def __init__(
        self, xp: ArrayOps, model: Model, losses: Mapping[str, Loss], weights: Mapping[str, float], *, mixed: bool
    ) -> None:
        self._xp, self._description, self._facts = xp, model.network, model.facts
        self._forward = DEFAULT
        self.trainable = TrainableModel(xp, model)
        self.weights = {name: value for name, value in weights.items() if value > 0}
        self.physical = {name: loss for name, loss in losses.items() if name in self.weights}
        self._network = Network(xp, model.network, self.trainable.layout, mixed=mixed)
        self._step, self._estimate = xp.compiled(self._stepped), xp.compiled(self._estimated)

    def outcome(
        self,
        device_scan: DeviceScan,
        scan: int,
        groups: NDArray[np.int64],
        read: NDArray[np.float32] | None = None,
        *,
        learn: bool = False,
    ) -> Outcome:
        """The loss of a batch of groups (group, C) of a scan, and its gradient if it is to ``learn``.

        ``read`` is what `DevicePatterns.read` gave for it, where that was ahead.
        """
        amplitudes = device_scan.frames.amplitudes(groups.reshape(-1), read)
        batch = self._batch(device_scan, scan, groups, amplitudes)
        loss, stats, gradient = self._step(self.trainable.vector, self.trainable.physics, batch, learn=learn)
        terms = {name: float(value) for name, value in stats.terms.items()}
        summed = float(device_scan.frames.amplitude_sums[groups.reshape(-1)].sum())
        numbers = BatchStats(float(loss), float(stats.difference), summed, float(stats.deviation))
        return Outcome(numbers, terms, stats.modelled, stats.patches, gradient)

    def flat_loss(self, device_scan: DeviceScan, scan: int, frames: NDArray[np.int64]) -> float:
        """The loss of the best flat object: what a collapsed network reaches."""
        xp, mask = self._xp, device_scan.frames.mask
        probe, amplitudes = self.trainable.probe(scan), device_scan.frames.amplitudes(frames)
        far = xp.sum(xp.abs2(self._forward.propagate(xp, probe)), 0)
        power = float(xp.sum64(good(far, mask)))
        pixels, places = len(frames) * device_scan.good, self._places(device_scan, frames)
        found = []
        for share in FLAT_SHARES:
            factor = share**2 * float(device_scan.frames.counts[frames].mean()) / power
            modelled = xp.broadcast(far * xp.scalar(factor), amplitudes)
            sums = self._sums(xp, modelled, amplitudes, mask)
            total = sum(self.weights[name] * float(value) / pixels for name, value in sums.items())
            if "realspace" in self.weights:
                flat = xp.complex(xp.zeros_like(amplitudes) + math.sqrt(factor), xp.zeros_like(amplitudes))
                labels = xp.gather(device_scan.labels, places, device_scan.frames.size)
                distance = _realspace(xp, flat, labels, relative_intensity(xp, probe), xp.double(len(frames)))
                total += self.weights["realspace"] * float(distance)
            found.append(total)
        return min(found)

    def _batch(self, device_scan: DeviceScan, scan: int, groups: NDArray[np.int64], amplitudes: Array) -> _Batch:
        """The batch as the compiled step takes it."""
        xp, frames, corners, how = self._xp, groups.reshape(-1), device_scan.corners[groups], self._facts["merge"]
        known: tuple[Array, Array] | None = None
        if estimates_tiles(self._description):
            tile = Tile(
                xp, self.trainable.probe(scan), device_scan.positions[frames], amplitudes, device_scan.frames.mask,
                self._description["estimate"],
            )  # fmt: skip
            tile.fit()
            known = tuple(tile.estimate())
        elif groups.shape[1] == 1 and not self.trainable.probe_learns and device_scan.remembers():
            known = device_scan.remembered(frames, lambda own: self._estimate_of(device_scan, scan, own))
        beside = None if groups.shape[1] == 1 else group_overlaps(xp, corners, device_scan.frames.size)
        together = beside if how == "group" else self._together(corners.reshape(-1, 2)) if how == "batch" else None
        labels = device_scan.labels if "realspace" in self.weights else None
        return _Batch(
            xp.index(scan),
            amplitudes,
            xp.from_numpy(device_scan.positions[frames] - device_scan.corners[frames]),
            device_scan.frames.mask,
            xp.double(len(frames)),
            xp.double(len(frames) * device_scan.good),
            known,
            None if known else beside,
            together,
            labels,
            self._places(device_scan, frames),
        )

    def _places(self, device_scan: DeviceScan, frames: NDArray[np.int64]) -> Corners | None:
        if "realspace" not in self.weights:
            return None
        return self._xp.corners(device_scan.corners[frames], device_scan.labels, device_scan.frames.size)

    def _together(self, corners: NDArray[np.int64]) -> Overlaps:
        """Windows with corners (frame, 2) on the smallest canvas that holds them."""
        size = int(self._description["size"])
        places = corners - corners.min(axis=0)
        canvas = self._xp.zeros(tuple(self._xp.canvas_length(int(extent) + size, size) for extent in places.max(axis=0)))
        return Overlaps(self._xp.corners(places, canvas, size), canvas)

    def _estimate_of(self, device_scan: DeviceScan, scan: int, frames: NDArray[np.int64]) -> Estimate:
        """The estimate of single frames."""
        remainders = self._xp.from_numpy(device_scan.positions[frames] - device_scan.corners[frames])
        given = (device_scan.frames.amplitudes(frames), remainders, device_scan.frames.mask)
        found: Estimate = self._estimate(self.trainable.probe(scan), *given)
        return found

    def _estimated(self, xp: ArrayOps, probe: Array, amplitudes: Array, remainders: Array, mask: Array | None) -> Estimate:
        illumination = Illumination.at(xp, probe, remainders, mask)
        return estimate_object(xp, amplitudes, None, illumination, mask, self._description)

    def _stepped(
        self, xp: ArrayOps, vector: Array, physics: Physics, batch: _Batch, *, learn: bool
    ) -> tuple[Array, _Told, Array | None]:
        """Loss, what `outcome` tells of a batch, and the gradient."""
        probe = self.trainable.parts(xp, vector, physics).physics.of(xp, batch.scan)
        illumination = Illumination.at(xp, probe, batch.remainders, batch.mask)
        if batch.known is None:
            estimate = estimate_object(xp, batch.amplitudes, batch.groups, illumination, batch.mask, self._description)
        else:
            estimate = Estimate(*batch.known)
        if not learn:
            return *self._loss(xp, vector, physics, batch, illumination, estimate), None
        (loss, stats), gradient = xp.value_and_grad(self._loss, vector, physics, batch, illumination, estimate)
        return xp.constant(loss), stats, gradient

    def _loss(
        self, xp: ArrayOps, vector: Array, physics: Physics, batch: _Batch, illumination: Illumination, estimate: Estimate
    ) -> tuple[Array, _Told]:
        weights, physics = self.trainable.parts(xp, vector, physics)
        size = int(self._description["size"])
        channels = self._network(weights, estimate.features(xp, illumination.weight))
        patches = object_patches(xp, channels, estimate.patches, self._description["output"])
        patches = xp.reshape(patches, (-1, size, size))
        deviation = _deviation(xp, xp.constant(patches), illumination.weight)
        if batch.together is not None:
            patches = merge_patches(xp, patches, illumination.weight, batch.together)
        modelled = self._modelled(xp, patches, physics, batch, illumination)
        sums = self._sums(xp, modelled, batch.amplitudes, batch.mask)
        terms = {name: value / batch.pixels for name, value in sums.items()}
        if "tv" in self.weights:
            terms["tv"] = mean_variation(xp, patches)
        if "realspace" in self.weights:
            labels = xp.gather(batch.labels, batch.places, size)
            terms["realspace"] = _realspace(xp, patches, labels, illumination.weight, batch.frames)
        loss = sum(self.weights[name] * value for name, value in terms.items())
        known, terms = xp.constant(modelled), {name: xp.constant(value) for name, value in terms.items()}
        difference = xp.sum64(good(Mae().values(xp, known + INTENSITY_FLOOR, batch.amplitudes), batch.mask))
        return loss, _Told(difference, deviation, terms, known, xp.constant(patches))

    def _modelled(self, xp: ArrayOps, patches: Array, physics: Physics, batch: _Batch, illumination: Illumination) -> Array:
        """Modelled counts, real (frame, N, N), with the derivative of the forward model's adjoints."""
        forward, learns = self._forward, self.trainable.probe_learns
        probes = (physics.of(xp, batch.scan),) if learns else ()

        def there(patches: Array, *_: Array) -> tuple[Array, Any]:
            exits = forward.illuminate(xp, illumination.shifted, patches, illumination.ramps)
            waves = forward.propagate(xp, exits.wave)
            return forward.measure(xp, waves, None), (exits, waves)

        def back(kept: Any, upstream: Array) -> tuple[Array, ...]:  # noqa: ANN401 - what `there` kept
            exits, waves = kept
            wave = forward.propagate_adjoint(xp, forward.measure_adjoint(xp, 2 * upstream, waves))
            by = forward.exit_adjoint(xp, exits, wave, illumination.probe, with_probe=learns, with_positions=False)
            return (by.patches, by.probe) if learns else (by.patches,)

        return xp.with_adjoint(there, back)(patches, *probes)

    def _sums(self, xp: ArrayOps, modelled: Array, amplitudes: Array, mask: Array | None) -> dict[str, Array]:
        """Sums over good pixels and patterns of the terms that compare patterns, in double precision."""
        floored = modelled + INTENSITY_FLOOR
        return {name: xp.sum64(good(loss.values(xp, floored, amplitudes), mask)) for name, loss in self.physical.items()}


def _realspace(xp: ArrayOps, patches: Array, labels: Array, weight: Array, frames: Array) -> Array:
    """Mean of ``|O e^{iφ} − label|`` under the illumination, φ the best phase of each patch, taken as a constant; in double."""
    turn = unit_phase(xp, xp.sum(xp.times_real(labels * xp.conj(xp.constant(patches)), weight), (1, 2)))
    distance = xp.abs2(patches * turn[:, None, None] - labels)
    rounded = xp.sqrt(distance + ROUNDING**2) - ROUNDING
    return xp.sum64(rounded * weight) / (xp.sum64(weight) * frames)


def _deviation(xp: ArrayOps, patches: Array, weight: Array) -> Array:
    share = weight / xp.sum(weight)
    mean = xp.sum(xp.times_real(patches, share), (1, 2))[:, None, None]
    spread = xp.sqrt(xp.sum(xp.abs2(patches - mean) * share, (1, 2)))
    modulus = xp.sum(xp.sqrt(xp.abs2(patches)) * share, (1, 2))
    return xp.mean(spread / xp.at_least(modulus, xp.tiny))
