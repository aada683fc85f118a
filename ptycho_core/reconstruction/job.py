"""From the files of a job through a backend's engine to the answer of ``ptycho_reconstruct``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.contract import Event, EventSink, ExecutionPlan, ReconstructJob, ReconstructResult
from ptycho_core.scan.opening import open_scan
from ptycho_core.scan.reading import Readers
from ptycho_core.settings.reconstruction import ReconstructionSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from ptycho_core.reconstruction.schedule import Progress
    from ptycho_core.reconstruction.stages import Result

__all__ = ["fit_scan"]


def fit_scan(
    job: ReconstructJob, plan: ExecutionPlan, events: EventSink, reconstruct: Callable[..., Result]
) -> ReconstructResult:
    """Fit object, probe and, if asked, positions and background to the scan of a job.

    Args:
        job: its files are read here.
        plan: for the seed and the record.
        events: told of every epoch and of the notes.
        reconstruct: the engine's function, with its device and data type already given.

    Raises:
        DataError: if the scan's patterns cannot be used; the message names the frame.
    """
    scan = open_scan(job.scan.path, job.scan.settings)
    with np.load(job.start_path, allow_pickle=False) as start:
        object_start, probe, positions = start["object"], start["probe"], start["positions"]
    last, readers = 0.0, Readers.planned(plan.execution)

    def report(progress: Progress, _: Any) -> None:  # noqa: ANN401 - the engine's model
        nonlocal last
        rate = len(scan) / max(progress.seconds - last, 1e-9)
        last = progress.seconds
        values = progress.as_dict() | {"patterns_per_second": rate}
        events.emit(Event("epoch", progress.stage, progress.epoch, progress.total, values))

    found = reconstruct(
        scan.patterns,
        positions,
        probe,
        object_start,
        mask=scan.mask,
        options=ReconstructionSettings(**job.settings["reconstruction"]),  # type: ignore[arg-type]
        readers=readers,
        seed=int(plan.execution["seed"] or 0),
        report=report,
        stop_requested=lambda: events.stop_requested,
    )
    for note in found.notes:
        events.emit(Event("message", message=note))
    background = found.background
    if background is not None:
        background = np.broadcast_to(background, probe.shape[-2:]).copy()
    return ReconstructResult(
        object=found.object,
        probe=found.probe,
        positions=found.positions,
        background=background,
        history=found.history,
        held_out=found.held_out,
        stopped_by=found.stopped_by,
        interrupted=found.interrupted,
        facts={"notes": "; ".join(found.notes), "device": plan.device, "threads": plan.execution["threads"]} | readers.facts(),
    )
