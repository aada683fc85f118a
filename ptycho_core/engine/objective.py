"""The objective of a training: the loss of a batch of groups, its gradient, and what else is known of it."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ptycho_core.engine.canvas import CanvasBatch, CanvasEstimate, apart, canvas_deviation, canvas_distance, corrected
from ptycho_core.engine.estimate import (
    Estimate,
    Illumination,
    Overlaps,
    estimate_object,
    group_overlaps,
    relative_intensity,
    unit_phase,
)
from ptycho_core.engine.losses import Mae, good
from ptycho_core.engine.merging import merge_patches
from ptycho_core.engine.network import Network
from ptycho_core.engine.patches import object_patches
from ptycho_core.engine.regularization import mean_variation
from ptycho_core.engine.saturation import bounded_above
from ptycho_core.engine.tile import Tile
from ptycho_core.engine.trainable import TrainableModel
from ptycho_core.networks import estimates_tiles, sees_canvas
from ptycho_core.physics import INTENSITY_FLOOR
from ptycho_core.training.loop import BatchStats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import Array, ArrayOps, Corners
    from ptycho_core.engine.device_scan import DeviceScan
    from ptycho_core.engine.forward.model import ForwardModel
    from ptycho_core.engine.losses import Loss
    from ptycho_core.engine.state import Measured
    from ptycho_core.engine.trainable import Physics
    from ptycho_core.model import Model
    from ptycho_core.training.epoch import Batch

__all__ = ["Objective", "Outcome"]

FLAT_SHARES = tuple(0.7 + 0.025 * step for step in range(17))
"""Amplitudes of the flat object that are tried, over the one that keeps the counts."""


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
        measured: (frame, N, N).
        remainders: real (frame, 2), of the positions.
        frames, pixels: how many, good ones in all of them.
        known: patches and step of the estimate that is remembered, or that of a tile, or None.
        groups: windows of each group on its own canvas; None for groups of one.
        together: windows to merge on one canvas, or None; with ``canvas`` those of the frames on it.
        canvas: what is known of the tile, for a network that sees its canvas, else None.
        labels: complex (rows, columns), or None.
        places: of the windows in the labels.
    """

    scan: Any
    measured: Measured
    remainders: Array
    frames: Array
    pixels: Array
    known: tuple[Array, Array] | None
    groups: Overlaps | None
    together: Overlaps | None
    canvas: CanvasBatch | None
    labels: Array | None
    places: Corners | None


class _Answer(NamedTuple):
    """What a network gives for a batch.

    Attributes:
        patches: complex (frame, N, N), as the loss sees them.
        deviation: real number, how much they vary.
        distance: from the labels, or None where that is no term.
    """

    patches: Array
    deviation: Array
    distance: Array | None


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
        trainable: these tensors.
        weights: those of the loss terms above 0.
        labels_alone: whether canvases are compared with labels and nothing else, so that no pattern need be modelled.
        physical: the terms that compare patterns, in one order in every process: they are summed in it.
    """

    def __init__(
        self, xp: ArrayOps, model: Model, losses: Mapping[str, Loss], weights: Mapping[str, float], *, mixed: bool
    ) -> None:
        self._xp, self._description, self._facts = xp, model.network, model.facts
        self.trainable = TrainableModel(xp, model)
        self.weights = {name: value for name, value in weights.items() if value > 0}
        self.physical = {name: loss for name, loss in losses.items() if name in self.weights}
        self._network = Network(xp, model.network, self.trainable.layout, mixed=mixed)
        self._on_canvas = sees_canvas(model.network)
        self.labels_alone = self._on_canvas and set(self.weights) == {"realspace"}
        self._step, self._estimate = xp.compiled(self._stepped), xp.compiled(self._estimated)
        self._step_to_labels = xp.compiled(self._stepped_to_labels)

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
        measured = device_scan.measured(groups.reshape(-1), read)
        batch = self._batch(device_scan, scan, groups, measured, read)
        loss, stats, gradient = self._step(
            self.trainable.vector, self.trainable.physics, batch, forward=device_scan.forward, learn=learn
        )
        terms = {name: float(value) for name, value in stats.terms.items()}
        summed = float(device_scan.frames.amplitude_sums[groups.reshape(-1)].sum())
        numbers = BatchStats(float(loss), float(stats.difference), summed, float(stats.deviation))
        return Outcome(numbers, terms, stats.modelled, stats.patches, gradient)

    def of_labels(
        self, device_scan: DeviceScan, scan: int, batch: Batch, read: NDArray[np.float32] | None = None
    ) -> tuple[BatchStats, Array]:
        """The loss of a batch whose canvas is compared with labels alone, turned as it says, and the gradient."""
        known = self._canvas(device_scan, scan, batch.groups.reshape(-1), read, turn=batch.turn)
        loss, deviation, gradient = self._step_to_labels(self.trainable.vector, self.trainable.physics, known)
        return BatchStats(float(loss), None, 0.0, float(deviation)), gradient

    def flat_loss(self, device_scan: DeviceScan, scan: int, frames: NDArray[np.int64]) -> float:
        """The loss of the best flat object: what a collapsed network reaches."""
        xp, probe, measured = self._xp, self.trainable.probe(scan), device_scan.measured(frames)
        amplitudes = measured.amplitudes
        empty = xp.sum(xp.abs2(device_scan.forward.propagate(xp, probe)), 0)
        power = float(xp.sum64(good(empty, measured.mask)))
        pixels, places = len(frames) * device_scan.good, self._places(device_scan, frames)
        found = []
        for share in FLAT_SHARES:
            factor = share**2 * float(device_scan.frames.counts[frames].mean()) / power
            modelled = xp.broadcast(empty * xp.scalar(factor), amplitudes)
            sums = self._sums(xp, bounded_above(xp, modelled, measured, INTENSITY_FLOOR), measured)
            total = sum(self.weights[name] * float(value) / pixels for name, value in sums.items())
            if "realspace" in self.weights:
                flat = xp.complex(xp.zeros_like(amplitudes) + math.sqrt(factor), xp.zeros_like(amplitudes))
                labels = xp.gather(device_scan.labels, places, device_scan.frames.size)
                distance = _realspace(xp, flat, labels, relative_intensity(xp, probe), xp.double(len(frames)))
                total += self.weights["realspace"] * float(distance)
            found.append(total)
        return min(found)

    def _batch(
        self,
        device_scan: DeviceScan,
        scan: int,
        groups: NDArray[np.int64],
        measured: Measured,
        read: NDArray[np.float32] | None,
    ) -> _Batch:
        """The batch as the compiled step takes it."""
        xp, frames, corners, how = self._xp, groups.reshape(-1), device_scan.corners[groups], self._facts["merge"]
        known: tuple[Array, Array] | None = None
        canvas: CanvasBatch | None = None
        if self._on_canvas:
            canvas = self._canvas(device_scan, scan, frames, read)
        elif estimates_tiles(self._description):
            known = tuple(self._tile(device_scan, scan, frames, measured).estimate())
        elif groups.shape[1] == 1 and not self.trainable.probe_learns and device_scan.remembers():
            known = device_scan.remembered(frames, lambda own: self._estimate_of(device_scan, scan, own))
        beside = None if groups.shape[1] == 1 else group_overlaps(xp, corners, device_scan.frames.size)
        together = beside if how == "group" else self._together(corners.reshape(-1, 2)) if how == "batch" else None
        if canvas is not None:
            places = device_scan.corners[frames] - device_scan.corners[frames].min(axis=0)
            together = Overlaps(xp.corners(places, canvas.estimate.light, device_scan.frames.size), canvas.estimate.light)
        labels = device_scan.labels if "realspace" in self.weights and not self._on_canvas else None
        return _Batch(
            xp.index(scan),
            measured,
            xp.from_numpy(device_scan.positions[frames] - device_scan.corners[frames]),
            xp.double(len(frames)),
            xp.double(len(frames) * device_scan.good),
            known,
            None if known else beside,
            together,
            canvas,
            labels,
            None if labels is None else self._places(device_scan, frames),
        )

    def _canvas(
        self,
        device_scan: DeviceScan,
        scan: int,
        frames: NDArray[np.int64],
        read: NDArray[np.float32] | None,
        turn: int = 0,
    ) -> CanvasBatch:
        """What frames share a canvas for; remembered where the probe never changes."""

        def make() -> CanvasEstimate:
            return self._tile(device_scan, scan, frames, device_scan.measured(frames, read)).canvas()

        return device_scan.canvas(frames, make, turn=turn, keep=not self.trainable.probe_learns)

    def _tile(self, device_scan: DeviceScan, scan: int, frames: NDArray[np.int64], measured: Measured) -> Tile:
        """The tile of some frames, fitted."""
        positions, asked = device_scan.positions[frames], self._description["estimate"]
        tile = Tile(self._xp, self.trainable.probe(scan), positions, measured, asked, forward=device_scan.forward)
        tile.fit()
        return tile

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
        given = self.trainable.probe(scan), device_scan.measured(frames), remainders
        found: Estimate = self._estimate(*given, forward=device_scan.forward)
        return found

    def _estimated(self, xp: ArrayOps, probe: Array, measured: Measured, remainders: Array, *, forward: ForwardModel) -> Estimate:
        illumination = Illumination.at(xp, probe, remainders, measured.mask, forward)
        return estimate_object(xp, measured, None, illumination, self._description, forward)

    def _stepped(
        self, xp: ArrayOps, vector: Array, physics: Physics, batch: _Batch, *, forward: ForwardModel, learn: bool
    ) -> tuple[Array, _Told, Array | None]:
        """Loss, what `outcome` tells of a batch, and the gradient."""
        probe = self.trainable.parts(xp, vector, physics).physics.of(xp, batch.scan)
        illumination = Illumination.at(xp, probe, batch.remainders, batch.measured.mask, forward)
        if batch.canvas is not None:
            estimate = None
        elif batch.known is None:
            estimate = estimate_object(xp, batch.measured, batch.groups, illumination, self._description, forward)
        else:
            estimate = Estimate(*batch.known)
        loss_of = partial(self._loss, forward=forward)
        if not learn:
            return *loss_of(xp, vector, physics, batch, illumination, estimate), None
        (loss, stats), gradient = xp.value_and_grad(loss_of, vector, physics, batch, illumination, estimate)
        return xp.constant(loss), stats, gradient

    def _stepped_to_labels(self, xp: ArrayOps, vector: Array, physics: Physics, batch: CanvasBatch) -> tuple[Array, Array, Array]:
        """Loss, deviation and gradient of `of_labels`."""
        (loss, deviation), gradient = xp.value_and_grad(self._loss_to_labels, vector, physics, batch)
        return xp.constant(loss), deviation, gradient

    def _loss_to_labels(self, xp: ArrayOps, vector: Array, physics: Physics, batch: CanvasBatch) -> tuple[Array, Array]:
        weights = self.trainable.parts(xp, vector, physics).weights
        picture = corrected(xp, self._network, weights, batch.estimate, self._description["output"])
        distance = canvas_distance(xp, picture, batch.label, batch.estimate.light)
        return self.weights["realspace"] * distance, canvas_deviation(xp, xp.constant(picture), batch.estimate.light)

    def _in_windows(
        self, xp: ArrayOps, weights: Sequence[Array], batch: _Batch, illumination: Illumination, estimate: Estimate
    ) -> _Answer:
        """The answer of a network that sees windows."""
        size = int(self._description["size"])
        channels = self._network(weights, estimate.features(xp, illumination.weight))
        patches = object_patches(xp, channels, estimate.patches, self._description["output"])
        patches = xp.reshape(patches, (-1, size, size))
        deviation = _deviation(xp, xp.constant(patches), illumination.weight)
        if batch.together is not None:
            patches = merge_patches(xp, patches, illumination.weight, batch.together)
        if batch.labels is None:
            return _Answer(patches, deviation, None)
        labels = xp.gather(batch.labels, batch.places, size)
        return _Answer(patches, deviation, _realspace(xp, patches, labels, illumination.weight, batch.frames))

    def _of_canvas(self, xp: ArrayOps, weights: Sequence[Array], batch: CanvasBatch, windows: Overlaps) -> _Answer:
        """The answer of a network that sees the canvas."""
        picture = corrected(xp, self._network, weights, batch.estimate, self._description["output"])
        light = batch.estimate.light
        distance = canvas_distance(xp, picture, batch.label, light) if "realspace" in self.weights else None
        patches = xp.gather(picture, windows.corners, int(self._description["size"]))
        return _Answer(patches, canvas_deviation(xp, xp.constant(picture), light), distance)

    def _loss(
        self,
        xp: ArrayOps,
        vector: Array,
        physics: Physics,
        batch: _Batch,
        illumination: Illumination,
        estimate: Estimate | None,
        *,
        forward: ForwardModel,
    ) -> tuple[Array, _Told]:
        weights, physics = self.trainable.parts(xp, vector, physics)
        if batch.canvas is not None and batch.together is not None:
            patches, deviation, distance = self._of_canvas(xp, weights, batch.canvas, batch.together)
        else:
            assert estimate is not None
            patches, deviation, distance = self._in_windows(xp, weights, batch, illumination, estimate)
        modelled = self._modelled(xp, patches, physics, batch, illumination, forward)
        compared = bounded_above(xp, modelled, batch.measured, INTENSITY_FLOOR)
        sums = self._sums(xp, compared, batch.measured)
        terms = {name: value / batch.pixels for name, value in sums.items()}
        if "tv" in self.weights:
            terms["tv"] = mean_variation(xp, patches)
        if distance is not None:
            terms["realspace"] = distance
        loss = sum(self.weights[name] * value for name, value in terms.items())
        terms = {name: xp.constant(value) for name, value in terms.items()}
        known, measured = xp.constant(compared) + INTENSITY_FLOOR, batch.measured
        difference = xp.sum64(good(Mae().values(xp, known, measured.amplitudes), measured.mask))
        return loss, _Told(difference, deviation, terms, xp.constant(modelled), xp.constant(patches))

    def _modelled(
        self, xp: ArrayOps, patches: Array, physics: Physics, batch: _Batch, illumination: Illumination, forward: ForwardModel
    ) -> Array:
        """Modelled counts, real (frame, N, N), with the derivative of the forward model's adjoints."""
        learns = self.trainable.probe_learns
        probes = (physics.of(xp, batch.scan),) if learns else ()

        def there(patches: Array, *_: Array) -> tuple[Array, Any]:
            exits = forward.illuminate(xp, illumination.shifted, patches, illumination.ramps)
            waves = forward.propagate(xp, exits.wave, exits.ramps)
            return forward.measure(xp, waves, None), (exits, waves)

        def back(kept: Any, upstream: Array) -> tuple[Array, ...]:  # noqa: ANN401 - what `there` kept
            exits, waves = kept
            wave = forward.propagate_adjoint(xp, forward.measure_adjoint(xp, 2 * upstream, waves), exits.ramps)
            by = forward.exit_adjoint(xp, exits, wave, illumination.probe, with_probe=learns, with_positions=False)
            return (by.patches, by.probe) if learns else (by.patches,)

        return xp.with_adjoint(there, back)(patches, *probes)

    def _sums(self, xp: ArrayOps, compared: Array, measured: Measured) -> dict[str, Array]:
        """Sums over good pixels and patterns of the terms that compare patterns, in double precision."""
        floored, (amplitudes, mask, _) = compared + INTENSITY_FLOOR, measured
        return {name: xp.sum64(good(loss.values(xp, floored, amplitudes), mask)) for name, loss in self.physical.items()}


def _realspace(xp: ArrayOps, patches: Array, labels: Array, weight: Array, frames: Array) -> Array:
    """Mean of ``|O e^{iφ} − label|`` under the illumination, φ the best phase of each patch, taken as a constant; in double."""
    turn = unit_phase(xp, xp.sum(xp.times_real(labels * xp.conj(xp.constant(patches)), weight), (1, 2)))
    return xp.sum64(apart(xp, patches * turn[:, None, None], labels) * weight) / (xp.sum64(weight) * frames)


def _deviation(xp: ArrayOps, patches: Array, weight: Array) -> Array:
    share = weight / xp.sum(weight)
    mean = xp.sum(xp.times_real(patches, share), (1, 2))[:, None, None]
    spread = xp.sqrt(xp.sum(xp.abs2(patches - mean) * share, (1, 2)))
    modulus = xp.sum(xp.sqrt(xp.abs2(patches)) * share, (1, 2))
    return xp.mean(spread / xp.at_least(modulus, xp.tiny))
