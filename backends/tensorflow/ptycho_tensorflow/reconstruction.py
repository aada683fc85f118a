"""The verb ``reconstruct``: a job's files through the engine, on the planned device."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ptycho_core.reconstruction.job import fit_scan
from ptycho_tensorflow.devices import configured, real_dtype
from ptycho_tensorflow.engine import reconstruct as run_engine

if TYPE_CHECKING:
    from ptycho_core.contract import EventSink, ExecutionPlan, ReconstructJob, ReconstructResult


def reconstruct(job: ReconstructJob, plan: ExecutionPlan, events: EventSink) -> ReconstructResult:
    """Fit object, probe and, if asked, positions and background to one scan.

    Raises:
        DataError: if the scan's patterns cannot be used; the message names the frame.
    """
    with configured(plan):
        return fit_scan(job, plan, events, partial(run_engine, dtype=real_dtype(plan)))
