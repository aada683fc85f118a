"""The hook ``ptycho_evaluate``: a batch of a training, its network included, or a batch of the forward model alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.conformance.reference.batch import Batch
from ptycho_core.conformance.reference.passes import gradients, hold, intensities, losses, merged, weights_of
from ptycho_core.contract import EvaluateBatchJob, EvaluateResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ptycho_core.conformance.reference.passes import Slopes
    from ptycho_core.model import Model
    from ptycho_core.scan.scan import Scan

__all__ = ["batch_of", "evaluate_batch", "of_probe", "of_scale", "probe_unit", "scaled_probe"]


def evaluate_batch(job: EvaluateBatchJob) -> EvaluateResult:
    """Evaluate one batch of a training.

    Returns:
        Terms with a weight above 0, gradients of all that learns, intensities with zero frequency at ``[N // 2, N // 2]``, and
        merged patches; float64 and complex128.

    Raises:
        DataError: if the scan's patterns cannot be used.
    """
    model, one = job.model, job.data.scans[job.scan]
    weights = weights_of(job.settings["training"])
    probe = scaled_probe(model.physics["probe"][job.scan], float(model.physics["log_scale"][job.scan]))
    batch = batch_of(model, model.weights, probe, one.scan, one.positions, job.groups, one.labels)
    held = hold(batch)
    patches = merged(batch, held)
    return EvaluateResult(
        intensities=np.fft.fftshift(intensities(batch, patches), axes=(-2, -1)),
        losses=losses(batch, held, tuple(weights)),
        gradients=_gradients(model, batch, job, gradients(batch, held, weights)) if job.gradients else {},
        patches=patches,
    )


def scaled_probe(probe: NDArray[Any], log_scale: float) -> NDArray[np.complex128]:
    """A probe (mode, N, N) times the root of its factor on the intensity."""
    found: NDArray[np.complex128] = probe.astype(np.complex128) * np.exp(log_scale / 2)
    return found


def batch_of(
    model: Model,
    weights: Mapping[str, NDArray[Any]],
    probe: NDArray[np.complex128],
    scan: Scan,
    positions: NDArray[np.float64],
    groups: NDArray[np.int64],
    labels: NDArray[np.complex64] | None,
) -> Batch:
    """The frames of some groups of a scan alone, numbered anew.

    Args:
        model: whose network it is, and which says how patches are merged.
        weights: the network's tensors by name, as they are now.
        probe: complex (mode, N, N), √counts, with the factor of the scale.
        scan: the scan.
        positions: (frame, 2), of all its frames; with labels, on their canvas.
        groups: (group, C), numbers of its frames.
        labels: complex (rows, columns), the true object, or None.
    """
    frames, places = np.unique(groups, return_inverse=True)
    counts = np.where(scan.mask, scan.patterns.read(frames), 0.0)
    return Batch(
        network=model.network,
        weights={name: value.astype(np.float64) for name, value in weights.items()},
        probe=probe,
        positions=positions[frames],
        groups=places.reshape(groups.shape).astype(np.int64),
        roots=np.sqrt(np.fft.ifftshift(counts, axes=(-2, -1)).astype(np.float64)),
        good=np.fft.ifftshift(scan.mask),
        labels=None if labels is None else labels.astype(np.complex128),
        merge=str(model.facts["merge"]),
        way=scan.propagation,
        ends=None if scan.saturation is None else scan.saturation[frames],
    )


def probe_unit(probes: NDArray[Any]) -> NDArray[np.float64]:
    """The unit s of the probes (scan, mode, N, N) of every scan: (scan,)."""
    found: NDArray[np.float64] = np.sqrt((np.abs(probes.astype(np.complex128)) ** 2).sum(axis=1).mean(axis=(1, 2)))
    return found


def of_probe(slopes: Slopes, unit: float, log_scale: float) -> NDArray[np.complex128]:
    """Gradient with respect to q = P / s without the factor of the scale: complex (mode, N, N)."""
    found: NDArray[np.complex128] = unit * np.exp(log_scale / 2) * slopes.probe
    return found


def of_scale(slopes: Slopes, batch: Batch) -> float:
    """Gradient with respect to ``log_scale``."""
    return float(0.5 * (batch.probe.conj() * slopes.probe).real.sum())


def _gradients(model: Model, batch: Batch, job: EvaluateBatchJob, slopes: Slopes) -> dict[str, NDArray[Any]]:
    """By name and in the units of ``specs/network.md``, for all scans at once."""
    found: dict[str, NDArray[Any]] = {f"network.{name}": value for name, value in slopes.weights.items()}
    stored = model.physics["probe"].astype(np.complex128)
    if model.facts["train_probe"]:
        found["physics.probe"] = np.zeros_like(stored)
        scale = float(model.physics["log_scale"][job.scan])
        found["physics.probe"][job.scan] = of_probe(slopes, float(probe_unit(stored)[job.scan]), scale)
    if model.facts["train_scale"]:
        found["physics.log_scale"] = np.zeros(len(stored))
        found["physics.log_scale"][job.scan] = of_scale(slopes, batch)
    return found
