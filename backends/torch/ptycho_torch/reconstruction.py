"""The verb ``reconstruct``: from the job's files through the engine to NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.contract import Event, EventSink, ExecutionPlan, ReconstructJob, ReconstructResult
from ptycho_core.scan.opening import open_scan
from ptycho_core.settings.reconstruction import ReconstructionSettings
from ptycho_torch.devices import configured, real_dtype
from ptycho_torch.engine import reconstruct as run_engine

if TYPE_CHECKING:
    from ptycho_core.reconstruction.schedule import Progress
    from ptycho_torch.propagation import Model


def reconstruct(job: ReconstructJob, plan: ExecutionPlan, events: EventSink) -> ReconstructResult:
    """Fit object, probe and, if asked, positions and background to one scan.

    Raises:
        DataError: if the scan's patterns cannot be used; the message names the frame.
    """
    scan = open_scan(job.scan.path, job.scan.settings)
    with np.load(job.start_path, allow_pickle=False) as start:
        object_start, probe, positions = start["object"], start["probe"], start["positions"]

    last = 0.0

    def report(progress: Progress, _: Model) -> None:
        nonlocal last
        rate = len(scan) / max(progress.seconds - last, 1e-9)
        last = progress.seconds
        events.emit(
            Event("epoch", progress.stage, progress.epoch, progress.total, progress.as_dict() | {"patterns_per_second": rate})
        )

    with configured(plan) as device:
        found = run_engine(
            scan.patterns,
            positions,
            probe,
            object_start,
            mask=scan.mask,
            options=ReconstructionSettings(**job.settings["reconstruction"]),  # type: ignore[arg-type]
            device=device,
            dtype=real_dtype(plan),
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
        facts={"notes": "; ".join(found.notes), "device": plan.device, "threads": plan.execution["threads"]},
    )
