"""What runs in the process of a backend: its hooks, called as the verbs call them, and what they gave as plain data."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ptycho_core.contract import BatchRecipe, Event, ExecutionRequest, InferBatch, InferTile, ReconstructJob, Snapshot
from ptycho_core.evaluation import opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.backends.loading import Backend
    from ptycho_core.contract import EvaluateJob, ExecutionPlan, Value

__all__ = ["evaluate", "imported", "infer", "loaded", "plan_of", "plans", "probe", "reconstruct", "said", "train"]


class Sink:
    """Collects events, and asks to stop once there were so many epochs or batches."""

    def __init__(self, stop_after: int | None = None, *, snapshots: bool = False) -> None:
        self.events: list[Event] = []
        self.snapshots: list[Snapshot] = []
        self._stop_after, self._wants = stop_after, snapshots

    def emit(self, event: Event) -> None:
        """Remember an event."""
        self.events.append(event)

    @property
    def stop_requested(self) -> bool:
        """Whether there were enough epochs."""
        done = sum(event.kind == "epoch" for event in self.events)
        return self._stop_after is not None and done >= self._stop_after

    @property
    def snapshot_due(self) -> bool:
        """Whether it wants to see every epoch."""
        return self._wants

    def show(self, snapshot: Snapshot) -> None:
        """Remember a snapshot."""
        self.snapshots.append(snapshot)


def imported(name: str) -> str:
    """Import the plugin, as loading does; the type of what the entry point names."""
    return type(_plugin(name)).__name__


def said(name: str) -> Any:  # noqa: ANN401 - whatever the plugin says
    """The answer of ``ptycho_backend_spec``."""
    return _plugin(name).ptycho_backend_spec()


def loaded(name: str) -> list[str]:
    """Load the backend with all checks of the core; the claimed verbs."""
    return list(_backend(name).spec.capabilities)


def probe(name: str) -> Any:  # noqa: ANN401 - two ProbeReports
    """Probe twice; both answers."""
    backend = _backend(name)
    return backend.probe(), backend.probe()


def plans(name: str, request: ExecutionRequest) -> Any:  # noqa: ANN401 - two ExecutionPlans
    """Plan twice; both answers, and whether the request was left as it was."""
    from copy import deepcopy

    backend, before = _backend(name), deepcopy(request)
    report = backend.probe()
    return backend.plan(request, report), backend.plan(request, report), request == before


def evaluate(job: EvaluateJob | BatchRecipe, settings: Mapping[str, Value]) -> dict[str, Any]:
    """Evaluate a batch: ``answer``, and the type of each of its arrays by name (``kinds``)."""
    from ptycho_core.settings.planning import plan_verb

    backend, plan = plan_verb("evaluate", settings, {})
    answer = backend.evaluate(opened(job) if isinstance(job, BatchRecipe) else job, plan)
    arrays = {"intensities": answer.intensities, **{f"gradients.{name}": one for name, one in answer.gradients.items()}}
    if answer.patches is not None:
        arrays["patches"] = answer.patches
    return {"kinds": _kinds(arrays), "answer": answer if _plain(arrays) else None, "execution": dict(plan.execution)}


def train(
    scan: Path,
    folder: Path,
    settings: Mapping[str, Value],
    *,
    resume: bool = False,
    stop_after: int | None = None,
    model: Path | None = None,
) -> dict[str, Any]:
    """Train on one scan; the result of the hook, the events, the plan's execution settings, and readings of patterns.

    Args:
        scan: file.
        folder: of the run; made.
        settings: any that ``train`` takes.
        resume: continue from the checkpoint in ``folder``.
        stop_after: epochs after which it is asked to stop.
        model: begin with this model file instead of the one the core makes.
    """
    from ptycho_core.model import load_model
    from ptycho_core.settings.payload import create_training_payload
    from ptycho_core.training.run import training_job

    last = folder / "last.ptycho"
    payload = create_training_payload([scan], folder, settings, resume=last if resume else None, environment={})
    folder.mkdir(parents=True, exist_ok=True)
    sink = Sink(stop_after)
    job, *_ = training_job(payload, Sink())
    if model is not None:
        job = replace(job, model=load_model(model, training=resume))
    with _reads() as reads:
        result = payload.backend.train(job, payload.plan, sink)
    return {"result": result, "events": sink.events, "execution": dict(payload.plan.execution), **reads}


def infer(
    scan: Path,
    model: Path | None,
    probe: NDArray[Any],
    settings: Mapping[str, Value],
    *,
    stop_after: int | None = None,
    pause: float = 0.0,
) -> dict[str, Any]:
    """Infer a scan: frames of each batch or tile, their patches, types of what was yielded, readings of patterns.

    Args:
        scan: file.
        model: file, or None for none.
        probe: (mode, N, N), complex, in counts of the scan.
        settings: any that ``infer`` takes.
        stop_after: batches after which it is asked to stop; the rest is taken as it comes.
        pause: seconds after the first batch, in which what reads ahead gets as far ahead as it may (``ahead``).
    """
    import numpy as np

    from ptycho_core.formats.opening import open_scan
    from ptycho_core.inference.probe import ChosenProbe
    from ptycho_core.inference.run import infer_job
    from ptycho_core.inference.untrained import untrained_model
    from ptycho_core.model import load_model
    from ptycho_core.scan.canvas import object_canvas
    from ptycho_core.scan.scan import mean_counts
    from ptycho_core.scan.selection import with_saturation
    from ptycho_core.settings.payload import create_inference_payload

    payload = create_inference_payload(model, scan, None, settings, environment={})
    level = float(str(payload.groups["inference"]["saturation"] or 0))
    opened = with_saturation(open_scan(scan, payload.groups["data"]), level)
    sink = Sink(stop_after)
    positions = opened.positions - object_canvas(opened.positions, opened.size)[0]
    if model is None:
        given = untrained_model(opened, ChosenProbe(probe, "its own", mean_counts(opened)), payload.groups["model"])
    else:
        given = load_model(model)
    job = infer_job(opened, given, probe, positions, payload.groups)
    batches, patches, kinds, ahead = list[Any](), list[Any](), dict[str, str](), 0
    with _reads() as reads:
        for batch in payload.backend.infer(job, payload.plan, sink):
            if pause and not batches:
                time.sleep(pause)
                ahead = reads["reads"] - 1
            arrays = {name: value for name, value in vars(batch).items() if name != "corner"}
            kinds |= _kinds(arrays)
            batches.append(np.array(batch.frames))
            patches.append(_patches(batch, positions, opened.size))
            sink.emit(Event("epoch"))
    return {
        "batches": batches, "patches": np.concatenate(patches) if patches else None, "kinds": kinds,
        "execution": dict(payload.plan.execution), "ahead": ahead, **reads,
    }  # fmt: skip


def _patches(batch: InferBatch | InferTile, positions: NDArray[Any], size: int) -> NDArray[Any]:
    """The object in the window of each frame: (frame, N, N)."""
    import numpy as np

    if isinstance(batch, InferBatch):
        return np.array(batch.patches)
    corners = np.floor(positions[batch.frames]).astype(int) - batch.corner
    return np.stack([batch.object[row : row + size, column : column + size] for row, column in corners])


def reconstruct(
    scan: Path,
    settings: Mapping[str, Value],
    *,
    stop_after: int | None = None,
    start: Mapping[str, NDArray[Any]] | None = None,
    watch: bool = False,
) -> dict[str, Any]:
    """Reconstruct a scan: the result of the hook, types of its arrays, the start, the plan's answers, and readings of patterns.

    Args:
        scan: file.
        settings: any that ``reconstruct`` takes.
        stop_after: epochs after which it is asked to stop.
        start: ``object``, ``probe`` and ``positions`` to begin with, in place of what the core prepares.
        watch: whether it wants a snapshot of every epoch.
    """
    from ptycho_core.formats.opening import open_scan
    from ptycho_core.reconstruction.start import prepare_start
    from ptycho_core.settings.payload import create_reconstruction_payload
    from ptycho_core.settings.reconstruction import ReconstructionSettings

    payload = create_reconstruction_payload(scan, None, settings, environment={})
    groups, sink, opened = payload.groups, Sink(stop_after, snapshots=watch), open_scan(scan, payload.groups["data"])
    options = ReconstructionSettings(**{**groups["reconstruction"], "start": None})  # type: ignore[arg-type]
    prepared = prepare_start(opened, options, seed=int(groups["execution"]["seed"] or 0))
    began = dict(start or {name: getattr(prepared, name) for name in ("object", "probe", "positions")})
    with _reads() as reads:
        result = payload.backend.reconstruct(
            ReconstructJob(opened, began["object"], began["probe"], began["positions"], groups, flux=opened.flux),
            payload.plan,
            sink,
        )
    arrays = {name: getattr(result, name) for name in ("object", "probe", "positions", "held_out")}
    arrays |= {name: one for name in ("background", "flux") if (one := getattr(result, name)) is not None}
    return {
        "result": result if _plain(arrays) else None, "kinds": _kinds(arrays), "start": began, "events": sink.events,
        "snapshots": sink.snapshots, "execution": dict(payload.plan.execution), **reads,
    }  # fmt: skip


def plan_of(verb: str, settings: Mapping[str, Value]) -> ExecutionPlan:
    """The plan of a verb that has no files."""
    from ptycho_core.settings.planning import plan_verb

    return plan_verb(verb, settings, {})[1]


@contextmanager
def _reads() -> Iterator[dict[str, int]]:
    """Counts, without changing it, how often patterns are read: ``reads``; of them ``reads_here`` in the thread of the job."""
    from ptycho_core.scan.kept import KeptPatterns
    from ptycho_core.scan.patterns import ArrayPatterns

    here, found = threading.get_ident(), {"reads": 0, "reads_here": 0}
    originals = {one: one.read for one in (ArrayPatterns, KeptPatterns)}

    def watched(patterns: Any, frames: Any) -> Any:  # noqa: ANN401 - as it is
        found["reads"] += 1
        found["reads_here"] += threading.get_ident() == here
        return originals[type(patterns)](patterns, frames)

    for one in originals:
        one.read = watched  # type: ignore[assignment,method-assign]
    try:
        yield found
    finally:
        for one, read in originals.items():
            one.read = read  # type: ignore[method-assign]


def _backend(name: str) -> Backend:
    from ptycho_core.backends import choose, load

    return load(choose(name))


def _plugin(name: str) -> Any:  # noqa: ANN401 - module or object
    """What the entry point names, imported in the environment that the manifest asks for."""
    import os

    from ptycho_core.backends import choose

    row = choose(name)
    assert row.claim is not None
    assert row.spec is not None
    for variable, value in row.spec.environment.items():
        os.environ.setdefault(variable, value)
    return row.claim.imported()


def _kinds(arrays: Mapping[str, Any]) -> dict[str, str]:
    return {name: f"{type(one).__module__}.{type(one).__name__}" for name, one in arrays.items()}


def _plain(arrays: Mapping[str, Any]) -> bool:
    """Whether all are arrays of NumPy, which travel between processes."""
    import numpy as np

    return all(type(one) is np.ndarray for one in arrays.values())
