"""A trained network next to what costs nothing: the untrained pass, with as many steps as the network's time is worth.

It is measured on frames that the network did not learn from, by the object and by patterns that neither was given. What is not
better there is said to be no better than untrained, however low its loss is.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ptycho_core.contract import Event
from ptycho_core.engine.canvas import LIT_SHARE
from ptycho_core.errors import DataError
from ptycho_core.inference.probe import ChosenProbe
from ptycho_core.inference.run import infer_job, stitched
from ptycho_core.inference.untrained import untrained_model
from ptycho_core.modelfile.trained import trained_scans
from ptycho_core.networks import estimates_tiles
from ptycho_core.networks.bare import STEPS
from ptycho_core.notes import QuietEvents
from ptycho_core.physics.forward import intensities
from ptycho_core.physics.losses import bounded_above
from ptycho_core.reconstruction.constants import COUNTS_FLOOR
from ptycho_core.scan.canvas import object_canvas
from ptycho_core.scan.selection import with_frames
from ptycho_core.settings.data import RECONSTRUCT
from ptycho_core.settings.planning import plan_of_trial
from ptycho_core.training.labels import reconstructed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from ptycho_core.contract import EventSink, Value
    from ptycho_core.model import Model
    from ptycho_core.settings.payload import TrainingPayload
    from ptycho_core.training.data import TrainingData, TrainingScan

__all__ = ["measured"]

_FRAMES: Final = 512
"""Most frames of a scan that are taken, those nearest to the middle of its validation frames."""

_LEFT_OUT: Final = 8
"""One in so many frames is given to neither, and predicted by both."""

_LONGEST: Final = 5
"""The untrained pass takes at most so many times the steps that it is timed with: more hardly improve it."""


class _Part(NamedTuple):
    """Validation frames of a scan.

    Attributes:
        one: the part as a scan to validate with; its labels, if it has some, are those of the whole canvas.
        seen: numbers of those of its frames that are inferred, int64, ascending.
        left_out: numbers of the others, about its middle.
        probe: (mode, N, N), complex64, as learned.
        light: (rows, columns), the intensities of the probes of all frames.
        mean_counts: of a pattern.
    """

    one: TrainingScan
    seen: NDArray[np.int64]
    left_out: NDArray[np.int64]
    probe: NDArray[np.complex64]
    light: NDArray[np.float64]
    mean_counts: float


def measured(payload: TrainingPayload, data: TrainingData, model: Model, hub: EventSink) -> dict[str, Any]:
    """What a model file keeps as ``untrained``; empty where nothing validates, or nothing could be measured, which is then told.

    Args:
        payload: of the training.
        data: its scans; without labels a part of each is reconstructed, to compare with.
        model: that was learned.
        hub: hears what is done.
    """
    judging = [number for number, one in enumerate(data.scans) if len(one.validation)]
    numbers = [number for number in judging if number not in _learned_from(model)]
    labeled = all(data.scans[number].labels is not None for number in numbers)
    spec = payload.backend.spec
    lacking = [word for word in ("infer", *(() if labeled else ("reconstruct",))) if word not in spec.capabilities]
    if not judging:
        return {}
    if not numbers:
        return _unmeasured(hub, "it has learned from the scans that are to validate it")
    if lacking:
        return _unmeasured(hub, f"backend '{spec.name}' does not provide '{lacking[0]}'")
    hub.emit(Event("message", message="comparing the network with the untrained pass on frames that it did not learn from"))
    try:
        return _measured(payload, [_part(data.scans[one], one, model) for one in numbers], model, hub)
    except DataError as error:
        return _unmeasured(hub, error.message)
    except KeyboardInterrupt:
        return _unmeasured(hub, "it was asked to stop")


def _learned_from(model: Model) -> set[int]:
    """Places of validation scans that hold the same frames as one to learn from."""
    records = trained_scans(model.settings, "the model", all_of_them=True)
    learned = {one["digest"] for one in records if one["part"] == "training"}
    return {number for number, one in enumerate(records) if one["part"] == "validation" and one["digest"] in learned}


def _unmeasured(hub: EventSink, why: str) -> dict[str, Any]:
    hub.emit(Event("message", message=f"The network was not compared with the untrained pass: {why}."))
    return {}


def _part(one: TrainingScan, number: int, model: Model) -> _Part:
    places = one.positions[one.validation]
    far = np.hypot(*(places - np.median(places, axis=0)).T)
    frames = np.sort(one.validation[np.argsort(far, kind="stable")[:_FRAMES]])
    scan = with_frames(one.scan, frames)
    origin, shape = object_canvas(one.positions[frames], scan.size)
    row, column = origin.astype(int)
    labels = None if one.labels is None else one.labels[row : row + shape[0], column : column + shape[1]]
    probe = model.physics["probe"][number] * np.exp(model.physics["log_scale"][number] / 2)
    light, intensity = np.zeros(shape), (np.abs(probe.astype(np.complex128)) ** 2).sum(axis=0)
    positions = one.positions[frames] - origin
    for r, c in np.floor(positions).astype(int):
        light[r : r + scan.size, c : c + scan.size] += intensity
    nothing = np.zeros(0, dtype=np.int64)
    part = replace(
        one, scan=scan, positions=positions, shape=shape, train=nothing, validation=np.arange(len(frames)), labels=labels
    )
    counts = float(scan.patterns.read(np.arange(0, len(frames), 8))[:, scan.mask].sum(axis=1).mean())
    left_out = _left_out(positions)
    return _Part(part, np.setdiff1d(part.validation, left_out), left_out, probe.astype(np.complex64), light, counts)


def _left_out(positions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Frames of (frame, 2) ``positions`` that are predicted: drawn from the half about the middle, which others overlap."""
    far = np.hypot(*(positions - np.median(positions, axis=0)).T)
    inner = np.argsort(far, kind="stable")[: (len(positions) + 1) // 2]
    return np.sort(np.random.default_rng(0).choice(inner, len(positions) // _LEFT_OUT, replace=False)).astype(np.int64)


def _measured(payload: TrainingPayload, parts: list[_Part], model: Model, hub: EventSink) -> dict[str, Any]:
    tile = estimates_tiles(model.network)
    steps = max(1, int(model.network["estimate"]["steps"])) if tile else STEPS
    made = payload.groups["training"]["labels"] == RECONSTRUCT
    known = [_known(part, payload, hub) for part in parts]
    passes = {"network": lambda _: model, "same": _bare(steps, payload), "twice": _bare(2 * steps, payload)}
    run = _Runner(payload, hub)
    for make in passes.values():
        run(parts[0], make(parts[0]))  # what is compiled at the first pass is no cost of each
    found = {name: [run(part, make(part)) for part in parts] for name, make in passes.items()}
    seconds = {name: sum(one.seconds for one in some) for name, some in found.items()}
    each = max((seconds["twice"] - seconds["same"]) / steps, 0.1 * seconds["same"] / steps)
    worth = math.ceil((seconds["network"] - seconds["same"]) / each)
    equal = min(max(steps + worth, steps + 1 if tile else 1), _LONGEST * steps)  # a network behind steps is never free
    found["equal"] = [run(part, _bare(equal, payload)(part)) for part in parts]
    errors = {
        name: float(np.average([_error(one.object, true, part) for one, true, part in zip(some, known, parts, strict=True)],
                               weights=[len(part.one.validation) for part in parts]))
        for name, some in found.items()
    }  # fmt: skip
    losses = {name: _loss_of_left_out(some, parts) for name, some in found.items()}
    rivals = ("equal", "same") if tile else ("equal",)
    judges = [errors] if not any(len(part.left_out) for part in parts) else [errors, losses]
    return {
        "scans": [part.one.scan.source.name for part in parts],
        "frames": sum(len(part.one.validation) for part in parts),
        "compared_with": "reconstruction" if made or any(part.one.labels is None for part in parts) else "labels",
        "network": errors["network"],
        "same_steps": errors["same"] if tile else None,
        "untrained": errors["equal"],
        "steps": equal,
        "better": all(by["network"] < by[one] for by in judges for one in rivals),
    }


def _known(part: _Part, payload: TrainingPayload, hub: EventSink) -> NDArray[np.complex64]:
    """What stands for the true object."""
    return reconstructed(part.one, part.probe, payload, hub) if part.one.labels is None else part.one.labels


def _bare(steps: int, payload: TrainingPayload) -> Callable[[_Part], Model]:
    """What makes the untrained model of a part."""
    asked: Mapping[str, Value] = {
        **payload.groups["model"], "gridsize": 1, "neighbor_count": None, "update_steps": steps, "estimate": "tile"
    }  # fmt: skip

    def make(part: _Part) -> Model:
        return untrained_model(part.one.scan, ChosenProbe(part.probe, "as learned", part.mean_counts), asked)

    return make


class _Pass(NamedTuple):
    """The object of a part, and the seconds that it took: of processors on a CPU, else of the clock."""

    object: NDArray[np.complex64]
    seconds: float


class _Runner:
    """Passes over parts of scans, by the backend of a training."""

    def __init__(self, payload: TrainingPayload, hub: EventSink) -> None:
        self._backend, self._hub = payload.backend, QuietEvents(hub)
        self._groups, self._plan = plan_of_trial(payload.backend, payload.groups, payload.plan, {}, verb="infer")
        self._groups["model"] = payload.groups["model"]
        self._clock = time.process_time if self._plan.execution["accelerator"] == "cpu" else time.perf_counter

    def __call__(self, part: _Part, model: Model) -> _Pass:
        began = self._clock()
        scan = with_frames(part.one.scan, part.seen)
        job = infer_job(scan, model, part.probe, part.one.positions[part.seen], self._groups)
        found = stitched(self._backend, self._plan, job, part.one.shape, self._hub)
        return _Pass(found.object, self._clock() - began)


def _loss_of_left_out(found: list[_Pass], parts: list[_Part]) -> float:
    """``Σ(I − n ln I)`` of the patterns that were left out, with the intensities I that objects and probes predict.

    I is at most n where that is a lower bound.

    It is minus the logarithm of their likelihood under Poisson noise, which the true object makes largest on average: the frames
    tell where a label is wrong. 0 where none is left out.
    """
    total = 0.0
    for one, part in zip(found, parts, strict=True):
        if len(part.left_out):
            scan, places = part.one.scan, part.one.positions[part.left_out]
            counts = scan.patterns.read(part.left_out)[:, scan.mask].astype(np.float64)
            predicted = intensities(one.object, part.probe, places, way=scan.propagation)[:, scan.mask]
            if scan.saturation is not None:
                predicted = bounded_above(predicted, counts, scan.saturation[part.left_out, None])
            total += float((predicted - counts * np.log(np.maximum(predicted, COUNTS_FLOOR))).sum())
    return total


def _error(found: NDArray[np.complex64], known: NDArray[np.complex64], part: _Part) -> float:
    """``‖√w (O e^{iφ} − T)‖ / ‖√w T‖`` with the best phase φ and w = L / (L + max L / 2) of the light L."""
    weight = part.light / (part.light + LIT_SHARE * part.light.max())
    one, other = found.astype(np.complex128), known.astype(np.complex128)
    overlap = (weight * other * one.conj()).sum()
    turn = overlap / max(abs(overlap), np.finfo(float).tiny)
    return float(np.sqrt((weight * np.abs(one * turn - other) ** 2).sum() / (weight * np.abs(other) ** 2).sum()))
