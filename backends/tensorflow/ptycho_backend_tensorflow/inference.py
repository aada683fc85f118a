"""The verb ``infer``: the patterns of a scan through a trained network, batch by batch."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho_backend_tensorflow.compiled import Compiled
from ptycho_backend_tensorflow.devices import complex_dtype, configured, is_mixed, real_dtype
from ptycho_backend_tensorflow.estimate import Illumination, estimate_object, group_canvases
from ptycho_backend_tensorflow.networks import build_network
from ptycho_backend_tensorflow.patches import predict
from ptycho_core.contract import EventSink, ExecutionPlan, InferBatch, InferJob
from ptycho_core.inference.order import inference_order
from ptycho_core.model import load_model
from ptycho_core.scan.canvas import object_canvas
from ptycho_core.scan.opening import open_scan
from ptycho_core.scan.reading import Readers
from ptycho_core.training.groups import inference_groups

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ptycho_core.model import Model
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
    with configured(plan):
        network = _Passes(model, plan, scan, positions, light)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    with closing(Readers.planned(plan.execution).read(lambda frames: _counts(scan, groups[frames]), batches)) as ahead:
        for frames in batches:
            if events.stop_requested:
                return
            counts = next(ahead)
            with configured(plan):  # the device is not to be that of what happens between two batches
                patches = network.patches(groups[frames], counts)
            yield InferBatch(frames, patches)


def _counts(scan: Scan, groups: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Counts (frame, N, N) in FFT order of the frames of groups, each once, ascending."""
    return np.fft.ifftshift(scan.patterns.read(np.unique(groups)), axes=(-2, -1))


class _Passes:
    """The network and the probe on the device."""

    def __init__(
        self, model: Model, plan: ExecutionPlan, scan: Scan, positions: npt.NDArray[np.float64], light: npt.NDArray[Any]
    ) -> None:
        dtype = real_dtype(plan)
        self._description, self._mixed, self._dtype = model.network, is_mixed(plan), dtype
        self._network = build_network(model.network, model.weights, dtype)
        self._probe = tf.constant(light.astype(complex_dtype(dtype).as_numpy_dtype))
        self._mask = None if scan.mask.all() else tf.constant(np.fft.ifftshift(scan.mask), dtype)
        self._size, self._positions, self._corners = scan.size, positions, np.floor(positions).astype(np.int64)
        self._jit = bool(plan.options.get("jit"))
        self._passed = Compiled(self._pass)

    def patches(self, groups: npt.NDArray[np.int64], counts: npt.NDArray[np.float32]) -> npt.NDArray[np.complexfloating]:
        """Patches (group, N, N) of the seed frames of groups (group, C), whose counts are those of `_counts`."""
        places = np.unique(groups, return_inverse=True)[1]
        amplitudes = tf.gather(tf.sqrt(tf.cast(counts, self._dtype)), places.reshape(-1))
        corners, flat = self._corners[groups], groups.reshape(-1)
        canvas = None if groups.shape[1] == 1 else group_canvases(corners, self._size, self._dtype, few=self._jit)
        remainders = (self._positions - self._corners)[flat]
        return np.asarray(self._passed(amplitudes, corners, remainders, canvas).numpy())

    def _pass(self, amplitudes: tf.Tensor, corners: tf.Tensor, remainders: tf.Tensor, canvas: tf.Tensor | None) -> tf.Tensor:
        amplitudes = tf.ensure_shape(amplitudes, (None, self._size, self._size))
        light = Illumination.at(self._probe, remainders, self._mask)
        estimate = estimate_object(amplitudes, corners, canvas, light, self._mask, self._description)
        return predict(self._network, estimate, self._description, mixed=self._mixed)[:, 0]
