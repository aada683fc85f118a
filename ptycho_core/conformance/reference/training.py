"""The verb ``train``: the steps of a `ptycho_core.training.loop.TrainingLoop`, with the gradients of `passes`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.conformance.reference.evaluation import batch_of, of_probe, of_scale, probe_unit, scaled_probe
from ptycho_core.conformance.reference.flat import flat_loss
from ptycho_core.conformance.reference.losses import terms
from ptycho_core.conformance.reference.optimizer import Optimizer
from ptycho_core.conformance.reference.passes import (
    before_merging,
    gradients,
    hold,
    intensities,
    merged,
    picture_of,
    slopes_to_labels,
    weights_of,
)
from ptycho_core.training.loop import BatchStats, TrainingLoop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ptycho_core.conformance.reference.batch import Batch, Held
    from ptycho_core.conformance.reference.tile_network import TileCanvas
    from ptycho_core.contract import EventSink, ExecutionPlan, TrainJob, TrainResult, Value
    from ptycho_core.model import Model
    from ptycho_core.training.epoch import Batch as Place

    Real = NDArray[np.float64]

__all__ = ["train"]


def train(job: TrainJob, plan: ExecutionPlan, events: EventSink) -> TrainResult:
    """Fit the network of a job, and probes and scales where asked.

    Raises:
        DataError: if a scan cannot be used, or the loss is not a number: the message names epoch, batch and scan.
        OutputError: if a checkpoint cannot be written; the one before is then whole.
    """
    return TrainingLoop(job, events, _Trainer(job)).run(plan)


class _Trainer:
    """What learns, in double precision, a probe as pairs of real numbers in units of its root mean square."""

    def __init__(self, job: TrainJob) -> None:
        settings, model = job.settings["training"], job.model
        self._data, self._model = job.data, model
        self._weights = weights_of(settings)
        self._unit = probe_unit(model.physics["probe"])
        probe = model.physics["probe"].astype(np.complex128) / self._unit[:, None, None, None]
        self._values: dict[str, Real] = {f"network.{name}": one.astype(np.float64) for name, one in model.weights.items()}
        self._values |= {"physics.probe": _pairs(probe), "physics.log_scale": model.physics["log_scale"].astype(np.float64)}
        held = [name for name in ("probe", "scale") if not model.facts[f"train_{name}"]]
        self._still = {"physics.log_scale" if name == "scale" else "physics.probe" for name in held}
        self._summed: dict[str, Real] = {}
        self._optimizer = Optimizer(settings)

    def begin(self, batches: Sequence[Place]) -> None:
        """Patterns are read when their turn comes."""

    def train_batch(self, batch: Place) -> BatchStats:
        own, held = self._batch(batch)
        if held.tile is not None and set(self._weights) == {"realspace"}:
            return self._to_labels(own, held.tile.turned(batch.turn))
        slopes = gradients(own, held, self._weights)
        found = {f"network.{name}": value for name, value in slopes.weights.items()}
        found |= {name: np.zeros_like(self._values[name]) for name in ("physics.probe", "physics.log_scale")}
        scale = float(self._values["physics.log_scale"][batch.scan])
        found["physics.probe"][batch.scan] = _pairs(of_probe(slopes, float(self._unit[batch.scan]), scale))
        found["physics.log_scale"][batch.scan] = of_scale(slopes, own)
        self._sum(found)
        return self._told(own, held)

    def _to_labels(self, batch: Batch, tile: TileCanvas) -> BatchStats:
        distance, slopes, picture = slopes_to_labels(batch, tile)
        weight = self._weights["realspace"]
        self._sum({f"network.{name}": weight * value for name, value in slopes.items()})
        return BatchStats(weight * distance, None, 0.0, _deviation(picture[None], tile.light))

    def _sum(self, found: Mapping[str, Real]) -> None:
        for name in found.keys() - self._still:
            self._summed[name] = self._summed.get(name, 0.0) + found[name]

    def validate_batch(self, batch: Place) -> BatchStats:
        return self._told(*self._batch(batch))

    def is_finite(self) -> bool:
        return bool(np.isfinite(sum((value**2).sum() for value in self._summed.values())))

    def step(self, rate: float, batches: int) -> None:
        mean = {name: value / batches for name, value in self._summed.items()}
        self._values, self._summed = self._optimizer.step(self._values, mean, rate), {}

    def flat_loss(self, scan: int, frames: NDArray[np.int64]) -> float:
        return flat_loss(self._of_groups(scan, frames[:, None]), self._weights)

    def arrays(self) -> dict[str, NDArray[Any]]:
        # A model file holds float32, and a probe in counts; a continued training starts from the exact values.
        exact = {name.partition(".")[2]: value for name, value in self._values.items()} | {
            "unit": self._unit[:, None, None, None]
        }
        return self._optimizer.arrays() | {f"exact.{name}": value.copy() for name, value in exact.items()}

    def restore(self, arrays: Mapping[str, NDArray[Any]], steps: int) -> None:
        for name in self._values:
            stored = arrays.get(f"exact.{name.partition('.')[2]}")
            if stored is not None:  # a backend in single precision leaves its weights to the model
                self._values[name] = stored.astype(np.float64)
        self._unit = arrays["exact.unit"].astype(np.float64).reshape(-1)
        self._optimizer.restore(arrays, steps)

    def trained(self, model: Model) -> Model:
        weights = {name: self._values[f"network.{name}"].astype(np.float32) for name in model.weights}
        probe = (_complex(self._values["physics.probe"]) * self._unit[:, None, None, None]).astype(np.complex64)
        physics = {"probe": probe, "log_scale": self._values["physics.log_scale"].astype(np.float32)}
        if len(self._still) == len(physics):
            physics = dict(model.physics)
        return replace(model, weights=weights, physics=physics)

    def facts(self) -> dict[str, Value]:
        return {"weights": sum(value.size for name, value in self._values.items() if name not in self._still)}

    def _batch(self, place: Place) -> tuple[Batch, Held]:
        own = self._of_groups(place.scan, place.groups)
        return own, hold(own)

    def _of_groups(self, scan: int, groups: NDArray[np.int64]) -> Batch:
        """A batch with what learns as it is now."""
        one, weights = self._data.scans[scan], {}
        for name, value in self._values.items():
            if name.startswith("network."):
                weights[name.removeprefix("network.")] = value
        probe = _complex(self._values["physics.probe"][scan]) * self._unit[scan]
        probe = scaled_probe(probe, float(self._values["physics.log_scale"][scan]))
        return batch_of(self._model, weights, probe, one.scan, one.positions, groups, one.labels)

    def _told(self, batch: Batch, held: Held) -> BatchStats:
        patches = merged(batch, held)
        found = terms(batch, held, patches, intensities(batch, patches), (*self._weights, "mae"))
        pixels = len(batch.frames) * np.count_nonzero(batch.good)
        if held.tile is None:
            deviation = _deviation(before_merging(batch, held), held.illumination)
        else:
            deviation = _deviation(picture_of(batch, held.tile)[None], held.tile.light)
        return BatchStats(
            loss=sum(weight * found[name] for name, weight in self._weights.items()),
            difference=found["mae"] * pixels,
            amplitudes=float(batch.roots[batch.frames][:, batch.good].sum()),
            deviation=deviation,
        )


def _deviation(patches: NDArray[np.complex128], illumination: Real) -> float:
    """Mean over the patches of their standard deviation within the illumination, over their mean modulus there."""
    share = illumination / illumination.sum()
    mean = (patches * share).sum(axis=(1, 2), keepdims=True)
    spread = np.sqrt((np.abs(patches - mean) ** 2 * share).sum(axis=(1, 2)))
    return float(np.mean(spread / np.maximum((np.abs(patches) * share).sum(axis=(1, 2)), np.finfo(float).tiny)))


def _pairs(values: NDArray[np.complex128]) -> Real:
    return np.stack([values.real, values.imag], axis=-1)


def _complex(pairs: Real) -> NDArray[np.complex128]:
    found: NDArray[np.complex128] = pairs[..., 0] + 1j * pairs[..., 1]
    return found
