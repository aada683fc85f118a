"""What is in a model file, all of it checked, as plain data that JSON can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


__all__ = ["summarise_model"]

_UNASKED = ("core default", "backend default", "command default")


def summarise_model(path: str | Path) -> dict[str, Any]:
    """Read a model file, or the best one of a run's folder, whole, check every member, and say what is in it.

    Returns:
        ``file``, ``bytes``, ``format``, ``version``, ``checkpoint``, ``facts``, ``network`` (the description), ``parameters``
        (how many numbers the network has), ``tensors`` (list of ``name``, ``dtype``, ``shape``, ``rms``), ``probes``
        (for each scan ``counts`` = Σ|probe|² and ``log_scale``), ``scaling``, ``producer``, ``history`` (rows),
        ``untrained`` (figures), ``settings`` (list of ``name``, ``value``, ``origin``, ``where``, ``default``),
        ``training`` (None, or its ``tensors`` and ``state``), ``hashes`` (sha256 by member, each found to be right).

    Raises:
        DataError: as ``ptycho_core.model.load_model``.
    """
    import numpy as np

    from ptycho_core.model import load_with_manifest, model_file

    file = model_file(path)
    manifest, model = load_with_manifest(file, training=None)
    powers = np.sum(np.abs(model.physics["probe"].astype(np.complex128)) ** 2, axis=(1, 2, 3))
    logs, kept = model.physics["log_scale"], model.training
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "format": manifest["format"],
        "version": manifest["version"],
        "checkpoint": kept is not None,
        "facts": dict(model.facts),
        "network": dict(model.network),
        "parameters": sum(array.size for array in model.weights.values()),
        "tensors": _with_rms({**_named("network", model.weights), **_named("physics", model.physics)}),
        "probes": [{"counts": float(power), "log_scale": float(log)} for power, log in zip(powers, logs, strict=True)],
        "scaling": dict(model.scaling),
        "producer": dict(model.producer),
        "history": list(model.history),
        "untrained": dict(model.untrained),
        "settings": _settings(model.settings),
        "training": None if kept is None else {"tensors": _tensors(kept.arrays), "state": dict(kept.state)},
        "hashes": manifest["hashes"],
    }


def _named(part: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{part}.{name}": array for name, array in arrays.items()}


def _tensors(arrays: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "dtype": str(array.dtype), "shape": list(array.shape)} for name, array in arrays.items()]


def _with_rms(arrays: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tensors with their root mean square; squares of numbers of single precision stay finite in double."""
    import numpy as np

    rows = _tensors(arrays)
    for row, array in zip(rows, arrays.values(), strict=True):
        row["rms"] = float(np.sqrt(np.mean(np.abs(array.astype(np.complex128)) ** 2))) if array.size else 0.0
    return rows


def _settings(audit: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings of an audit with their origin; a file may hold anything there, so nothing is taken for granted."""
    table = audit.get("settings")
    entries = table if isinstance(table, dict) else {}
    rows = []
    for name, one in entries.items():
        known = one if isinstance(one, dict) else {"value": one}
        row = {key: known.get(key) for key in ("value", "origin", "where")}
        rows.append({"name": name, **row, "default": known.get("origin") in _UNASKED})
    return rows
