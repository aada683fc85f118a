"""The verb ``infer``: the patterns of a scan through a trained network, batch by batch."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ptycho_backend_torch.arrays import TorchArrays
from ptycho_backend_torch.devices import configured, is_mixed, real_dtype
from ptycho_backend_torch.estimate import Illumination, estimate_object
from ptycho_backend_torch.networks import as_used, build_network
from ptycho_backend_torch.patches import predict
from ptycho_core.contract import EventSink, ExecutionPlan, InferBatch, InferJob
from ptycho_core.inference.order import inference_order
from ptycho_core.model import load_model
from ptycho_core.scan.canvas import object_canvas
from ptycho_core.scan.opening import open_scan
from ptycho_core.scan.reading import Readers
from ptycho_core.training.groups import inference_groups

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ptycho_core.scan.scan import Scan

__all__ = ["infer"]


def infer(job: InferJob, plan: ExecutionPlan, events: EventSink) -> Iterator[InferBatch]:
    """Yield the patch of every frame, in the order of `ptycho_core.inference.order.inference_order`.

    A frame's patch is that of the group whose seed frame it is, so that it does not depend on the batch it came in. Ends early if
    asked to stop.

    Raises:
        DataError: if patterns, model file or probe cannot be used.
    """
    scan = open_scan(job.scan.path, job.scan.settings)
    model = load_model(job.model_path)
    with np.load(job.probe_path, allow_pickle=False) as stored:
        light = stored["probe"]
    positions = scan.positions - object_canvas(scan.positions, scan.size)[0]
    among = model.facts["neighbor_count"]
    groups = inference_groups(
        positions, model.gridsize, neighbor_count=None if among is None else int(among), source=str(scan.source)
    )
    order = np.concatenate(inference_order(positions, scan.size))
    batch_size = int(job.settings["execution"]["inference_batch_size"] or 1)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    readers = Readers.planned(plan.execution)
    ahead = readers.read(lambda frames: _counts(scan, groups[frames]), batches)
    with configured(plan) as device, closing(ahead):
        dtype = real_dtype(plan)
        xp = TorchArrays(device, dtype)
        network = build_network(model.network, model.weights, device, dtype).eval()
        passes = as_used(network, compiled=bool(plan.options.get("compile")))
        probe = torch.as_tensor(light, device=device).to(dtype.to_complex())
        mask = None
        if not scan.mask.all():
            mask = torch.as_tensor(np.fft.ifftshift(scan.mask), device=device).to(dtype)
        for frames in batches:
            if events.stop_requested:
                return
            counts = xp.from_numpy(next(ahead), pinned=readers.pinned)
            with torch.no_grad():
                estimate = _estimated(counts, groups[frames], positions, probe, mask, model.network)
                patches = predict(passes, estimate, model.network, mixed=is_mixed(plan))[:, 0]
            yield InferBatch(frames, patches.cpu().numpy())


def _counts(scan: Scan, groups: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Counts (frame, N, N) in FFT order of the frames of groups, each once, ascending."""
    return np.fft.ifftshift(scan.patterns.read(np.unique(groups)), axes=(-2, -1))


def _estimated(
    counts: torch.Tensor,
    groups: npt.NDArray[np.int64],
    positions: npt.NDArray[np.float64],
    probe: torch.Tensor,
    mask: torch.Tensor | None,
    description: Any,  # noqa: ANN401 - JSON
) -> Any:  # noqa: ANN401 - an Estimate
    """The estimate for groups (group, C), whose counts are those of `_counts`."""
    places = np.unique(groups, return_inverse=True)[1]
    amplitudes = counts.sqrt()
    flat = groups.reshape(-1)
    corners = np.floor(positions).astype(np.int64)
    light = Illumination.at(probe, (positions - corners)[flat], mask)
    return estimate_object(amplitudes[torch.as_tensor(places.reshape(-1))], corners[groups], light, mask, description)
