"""What the core checks of a job before a backend gets it, once for all backends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.contract import EvaluateBatchJob, EvaluateJob, InferJob, ReconstructJob
from ptycho_core.errors import DataError
from ptycho_core.physics import check_batch, check_model
from ptycho_core.physics.near_field import way_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.contract import Job, TrainJob
    from ptycho_core.model import Model
    from ptycho_core.scan.scan import Scan
    from ptycho_core.training.data import TrainingData

__all__ = ["check_job", "in_near_field", "with_bounds"]


def check_job(job: Job) -> None:
    """Check that all parts of a job fit each other: shapes, windows inside the object, known loss terms, finite numbers.

    Patterns of a scan are not read: what reads them checks them.

    Raises:
        DataError: a part does not fit another, a number is not finite, a count is negative, or a window leaves the object.
        SettingsError: a loss term is unknown, or its weight is not a finite number.
    """
    if isinstance(job, EvaluateJob):
        check_model(np.asarray(job.object), np.asarray(job.probe), job.positions, job.background, job.flux)
        check_batch(job)
        way_of(job.propagation)
    elif isinstance(job, ReconstructJob):
        check_model(job.object, job.probe, job.positions, None, job.flux)
        _check_scan(job.scan, job.probe, job.positions)
    elif isinstance(job, InferJob):
        _check_network(job.model)
        _check_scan(job.scan, job.probe, job.positions)
        _check_size(job.model, job.scan)
        _check_inference_groups(job)
    else:
        _check_network(job.model)
        probes, scans = job.model.physics["probe"], job.data.scans
        if len(probes) < len(scans):
            raise DataError(f"The model holds probes for {len(probes)} of the {len(scans)} scans.")
        for probe, one in zip(probes, scans, strict=False):  # a model may hold more
            _check_size(job.model, one.scan)
            _check_scan(one.scan, probe, one.positions)
        if isinstance(job, EvaluateBatchJob):
            _check_groups(job.groups, job.data, job.scan, job.model)


def in_near_field(job: Job) -> str:
    """What of a job is in the near field: a scan's file, or the batch; empty where all is in the far field."""
    if isinstance(job, EvaluateJob):
        return "" if job.propagation is None else "the batch"
    return next((str(scan.source) for scan in _scans(job) if scan.propagation is not None), "")


def with_bounds(job: Job) -> str:
    """What of a job has saturated pixels: a scan's file, or the batch; empty where no count is a lower bound."""
    if isinstance(job, EvaluateJob):
        return "the batch" if job.saturation else ""
    return next((str(scan.source) for scan in _scans(job) if scan.saturation is not None), "")


def _scans(job: ReconstructJob | TrainJob | InferJob | EvaluateBatchJob) -> list[Scan]:
    return [job.scan] if isinstance(job, ReconstructJob | InferJob) else [one.scan for one in job.data.scans]


def _check_scan(scan: Scan, probe: Any, positions: Any) -> None:  # noqa: ANN401 - arrays
    """That a probe and positions are for this scan."""
    size, shape = scan.size, np.shape(probe)
    if len(shape) != 3 or shape[1:] != (size, size):
        raise DataError(f"The probe for {scan.source} has shape {shape}; (mode, {size}, {size}) is expected.")
    if not np.isfinite(probe).all():
        raise DataError(f"The probe for {scan.source} holds values that are not finite.")
    if not np.any(probe):
        raise DataError(f"The probe for {scan.source} is dark, so that no pattern can be modelled.")
    if np.shape(positions) != (len(scan), 2):
        raise DataError(f"The positions for {scan.source} have shape {np.shape(positions)}; ({len(scan)}, 2) is expected.")
    if not np.isfinite(positions).all():
        raise DataError(f"The positions for {scan.source} hold values that are not finite.")


def _check_size(model: Model, scan: Scan) -> None:
    if scan.size != model.size:
        raise DataError(
            f"{scan.source} has patterns of {scan.size} x {scan.size} pixels; the network takes {model.size} x {model.size}."
        )


def _check_network(model: Model) -> None:
    for name, values in {**model.weights, **model.physics}.items():
        if not np.isfinite(values).all():
            raise DataError(f"'{name}' of the model holds values that are not finite.")


def _check_inference_groups(job: InferJob) -> None:
    frames, members = len(job.scan), job.model.gridsize**2
    groups = np.asarray(job.groups)
    if groups.shape != (frames, members) or not np.issubdtype(groups.dtype, np.integer):
        raise DataError(f"Groups are {groups.dtype} of shape {groups.shape}; integers ({frames}, {members}) are expected.")
    if groups.min() < 0 or groups.max() >= frames:
        raise DataError(f"Groups name the frames {groups.min()} to {groups.max()}; {job.scan.source} has {frames}.")


def _check_groups(groups: NDArray[np.int64], data: TrainingData, scan: int, model: Model) -> None:
    """That groups (group, gridsize²) are of frames of the scan in place ``scan``."""
    gridsize = model.gridsize
    if not 0 <= scan < len(data.scans):
        raise DataError(f"There is no scan in place {scan}: the training has {len(data.scans)}, counted from 0.")
    frames = len(data.scans[scan].positions)
    shape, kind = np.shape(groups), np.asarray(groups).dtype
    if len(shape) != 2 or shape[0] < 1 or shape[1] != gridsize**2 or not np.issubdtype(kind, np.integer):
        raise DataError(f"Groups are {kind} of shape {shape}; with gridsize {gridsize} they are integers (group, {gridsize**2}).")
    if np.min(groups) < 0 or np.max(groups) >= frames:
        named = f"{np.min(groups)} to {np.max(groups)}"
        raise DataError(f"Groups name the frames {named}; {data.scans[scan].scan.source} has {frames}, counted from 0.")
