"""The model that a training begins with: initial weights, the probe of every scan, and what inference will be bound to."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.model import Model, load_model
from ptycho_core.modelfile.trained import trained_scans, trained_settings
from ptycho_core.networks import estimates_tiles
from ptycho_core.reconstruction.modes import add_probe_modes
from ptycho_core.reconstruction.schedule import likelihood_for
from ptycho_core.scan.scan import empty_counts
from ptycho_core.training.probe import probe_in_counts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.contract import Value
    from ptycho_core.networks import Architecture
    from ptycho_core.scan.scan import Scan
    from ptycho_core.training.data import TrainingData

__all__ = ["continued_model", "initial_model", "scan_records"]


def initial_model(
    data: TrainingData,
    settings: Mapping[str, Mapping[str, Value]],
    audit: Mapping[str, Any],
    producer: Mapping[str, str],
    architecture: Architecture | None = None,
    start: Model | None = None,
) -> Model:
    """The model at the first step. The patterns of each scan are read once, for their mean counts.

    Args:
        data: the scans to learn from, then the validation scans; each gets a probe.
        settings: the groups *model* and *execution* by name.
        audit: kept with the model.
        producer: names and versions of the programs, kept with the model.
        architecture: None for the built-in one that the settings name.
        start: whose network it is, with its weights; None for initial ones. Probes are those of the scans.

    Raises:
        DataError: a scan has no probe, more modes than asked for, or no counts; the probe is dark; or ``start`` takes patterns of
            another size.
    """
    from ptycho_core.networks import describe, initial_weights

    asked, seed = settings["model"], int(settings["execution"]["seed"] or 0)
    probes, counts, light = [], [], []
    for one in data.scans:
        probe, mean = _probe(one.scan, asked, seed)
        probes.append(probe)
        counts.append(mean)
        light.append(empty_counts(one.scan, probe))
    teaching = [number for number, one in enumerate(data.scans) if len(one.train)]
    darkest = min(counts[number] / max(int(data.scans[number].scan.mask.sum()), 1) for number in teaching)
    likelihood = likelihood_for(darkest)
    if start is None:
        network = describe(data.size, asked, likelihood, architecture)
        weights = initial_weights(network, seed)
    else:
        network, weights = dict(_network_of(start, data, likelihood)), dict(start.weights)
    return Model(
        network=network,
        weights=weights,
        physics={
            "probe": np.stack(probes).astype(np.complex64),
            "log_scale": np.zeros(len(probes), dtype=np.float32),
        },
        facts={"size": data.size, **asked},
        scaling={
            "mean_counts": float(np.mean([counts[number] for number in teaching])),
            "lowest_mean_counts": min(counts[number] for number in teaching),
            "transmission": float(np.mean([counts[number] / light[number] for number in teaching])),
        },
        settings=audit,
        producer=producer,
    )


def _network_of(start: Model, data: TrainingData, likelihood: str) -> Mapping[str, Any]:
    """The network of a model for other scans, whose counts may ask for another likelihood."""
    if start.size != data.size:
        raise DataError(
            f"{data.scans[0].scan.source} has patterns of {data.size} x {data.size} pixels; the model to begin with takes"
            f" {start.size} x {start.size}.",
            remedy=f"Crop or pad the patterns with --size {start.size}, or begin without --from.",
        )
    if not estimates_tiles(start.network):
        return start.network
    return {**start.network, "estimate": {**start.network["estimate"], "likelihood": likelihood}}


def continued_model(checkpoint: Path, audit: Mapping[str, Any], producer: Mapping[str, str]) -> Model:
    """The model in a checkpoint with its training state, and the audit of the run that continues.

    Args:
        checkpoint: file that the run before left.
        audit: with ``scans`` as `scan_records` gives them. A setting that the checkpoint stated keeps the source it had there.
        producer: names and versions of the programs that continue, which write what comes.

    Raises:
        DataError: the file cannot be used, is no checkpoint, or was trained with other scans.
    """
    model = load_model(checkpoint, training=True)
    before, now = trained_scans(model.settings, str(checkpoint), all_of_them=True), audit["scans"]
    table = trained_settings(model.settings, str(checkpoint))
    for number in range(max(len(before), len(now))):
        old, new = (rows[number] if number < len(rows) else None for rows in (before, now))
        if old is not None and new is not None and _alike(old, new):
            continue  # the file may have another name
        words = [_described(row) if row is not None else "none" for row in (old, new)]
        if new is not None and words[0] == words[1]:
            raise DataError(
                f"{checkpoint} was trained with another {words[0]}: patterns or positions of {new['path']} are not the same.",
                remedy="Give the same file, or train anew in another folder.",
            )
        raise DataError(
            f"{checkpoint} was trained with other scans: in place {number + 1} it has {words[0]}, given is {words[1]}.",
            remedy="Give the same scans in the same order, or train anew in another folder.",
        )
    settings = {name: _kept(entry, table.get(name)) for name, entry in audit["settings"].items()}
    kept = {name: model.settings[name] for name in ("start_model",) if name in model.settings}
    return replace(model, settings={**kept, **audit, "settings": settings}, producer=producer)


def scan_records(data: TrainingData) -> list[dict[str, Any]]:
    """What a run keeps of its scans, for JSON, so that another run can tell whether it has the same."""
    return [
        {
            "name": one.scan.source.name,
            "path": str(one.scan.source),
            "frames": len(one.scan),
            "size": one.scan.size,
            "counts_factor": one.scan.counts_factor,
            "part": "training" if len(one.train) else "validation",
            "digest": _digest(one.scan),
        }
        for one in data.scans
    ]


def _digest(scan: Scan) -> str:
    """SHA-256 of the positions and of the counts of up to 16 frames, spread over the scan."""
    frames = np.unique(np.linspace(0, len(scan) - 1, 16).astype(np.int64))
    content = hashlib.sha256(np.ascontiguousarray(scan.positions, dtype="<f8").tobytes())
    content.update(np.ascontiguousarray(scan.patterns.read(frames), dtype="<f4").tobytes())
    return content.hexdigest()


def _probe(scan: Scan, asked: Mapping[str, Value], seed: int) -> tuple[NDArray[np.complex64], float]:
    """The probe of a scan as it is at the start, (mode, N, N) in counts, and the mean counts of its patterns."""
    if scan.probe is None:
        raise DataError(f"{scan.source} holds no probe to learn with.", remedy="Give one with --probe FILE.")
    modes = int(asked["modes"] or 1)
    if len(scan.probe) > modes:
        raise DataError(
            f"{scan.source}: the probe has {len(scan.probe)} modes, more than the {modes} asked for.",
            remedy=f"Use --modes {len(scan.probe)}.",
        )
    probe, counts = probe_in_counts(scan, asked)
    probe = probe * float(asked["probe_scale"] or 1)
    return add_probe_modes(probe, modes, seed).astype(np.complex64), counts


def _kept(entry: Mapping[str, Any], before: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """What is known of a setting, with its first source where the checkpoint handed it on."""
    if before is None or entry["origin"] != "model":
        return entry
    return {**entry, **{name: before[name] for name in ("origin", "where", "beat", "requested") if name in before}}


def _alike(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two records are of the same patterns and positions in the same part, whatever the name of the file."""
    return all(old[name] == new[name] for name in ("digest", "frames", "size", "part"))


def _described(record: Mapping[str, Any]) -> str:
    size = record["size"]
    return f"{record['name']} ({record['frames']} frames of {size} x {size}, {record['part']})"
