"""A fit of the engine from plain arrays, as the hook of a backend starts it."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ptycho_core.contract import Event, ExecutionPlan, ReconstructJob, ReconstructResult, Snapshot
from ptycho_core.engine.arrays import ArrayOps
from ptycho_core.engine.reconstruct import reconstruct
from ptycho_core.scan.scan import Scan
from ptycho_core.settings.reconstruction import ReconstructionSettings

__all__ = ["Fitted", "fit"]


@dataclass(frozen=True)
class Fitted(ReconstructResult):
    """What a fit gave, and what it said."""

    notes: tuple[str, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()


@dataclass
class Sink:
    """Takes events and, where ``watch``, a snapshot of every epoch; asks to stop after ``most`` epochs."""

    most: int | None
    watch: bool
    events: list[Event] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    @property
    def stop_requested(self) -> bool:
        return self.most is not None and sum(event.kind == "epoch" for event in self.events) >= self.most

    @property
    def snapshot_due(self) -> bool:
        return self.watch

    def show(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)


def fit(
    xp: ArrayOps,
    patterns: Any,
    positions: np.ndarray,
    probe: np.ndarray,
    object_start: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    options: ReconstructionSettings | None = None,
    seed: int = 0,
    stop_after: int | None = None,
    watch: bool = False,
    hook: Callable[..., ReconstructResult] = reconstruct,
) -> Fitted:
    """Fit arrays: ``patterns`` reads counts, the others are those of a `ReconstructJob`."""
    size = patterns.shape[-1]
    scan = Scan(patterns, positions, np.ones((size, size), bool) if mask is None else mask)
    groups = {"reconstruction": vars(options or ReconstructionSettings()), "execution": {}, "data": {}}
    plan = ExecutionPlan("cpu", {"seed": seed, "threads": 1, "precision": "float32"}, {}, {})
    sink = Sink(stop_after, watch)
    job = ReconstructJob(scan, object_start, probe.reshape(-1, size, size), positions, groups)
    found = hook(job, plan, sink, xp)
    told = tuple(event.message for event in sink.events if event.kind == "message")
    return Fitted(**{one.name: getattr(found, one.name) for one in fields(found)}, notes=told, snapshots=tuple(sink.snapshots))
