"""A model in ONNX next to the reference: one made batch through ONNX Runtime and through NumPy in double precision."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ptycho_core.conformance.batches import made_batch
from ptycho_core.conformance.parity import relative_distance
from ptycho_core.conformance.reference.evaluation import evaluate_batch, scaled_probe
from ptycho_core.evaluation import opened
from ptycho_core.files.scratch import scratch_folder
from ptycho_core.onnx import inputs_of

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

    from ptycho_core.model import Model

__all__ = ["exported_distance"]


def exported_distance(graph: ModelProto, model: Model, file: Path) -> float:
    """How far the patches of a graph are from those of the reference, relative L2; infinite where one is not finite.

    Args:
        graph: of the model.
        model: what is in the model file.
        file: that model file.

    Raises:
        DataError: no scan can be made for the model.
    """
    import onnxruntime

    with scratch_folder() as folder:
        job = opened(replace(made_batch(model, file, folder).recipe, gradients=False))
        unmerged = replace(job.model, facts={**job.model.facts, "merge": "none"})  # the graph merges nothing
        wanted = evaluate_batch(replace(job, model=unmerged)).patches
        one, frames = job.data.scans[0], job.groups[:, 0]
        probe = scaled_probe(model.physics["probe"][0], float(model.physics["log_scale"][0]))
        given = inputs_of(one.scan.patterns.read(frames), one.positions[frames], probe, one.scan.mask)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # that inputs have defaults is no news
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (pairs,) = session.run(None, given._asdict())
    return relative_distance(pairs[..., 0] + 1j * pairs[..., 1].astype("float64"), wanted)
