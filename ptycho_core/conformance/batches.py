"""The batch that a model file is verified with: of a scan that is given, or of one that is made from the model itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.contract import BatchRecipe
from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan
from ptycho_core.physics import intensities
from ptycho_core.training.data import SIZE_STEP, SMALLEST_SIZE, training_data
from ptycho_core.training.groups import inference_groups

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.model import Model
    from ptycho_core.training.data import TrainingScan

__all__ = ["VerificationBatch", "batch_from_scan", "known_object", "made_batch"]

_PATCHES: Final = 16
_LEAST_GROUPS: Final = 3
"""A batch has enough groups for so many patches, but no fewer than this: patches of groups overlap, and are merged."""

_BAD: Final = 0.02
"""Share of the pixels that are bad in a scan that is made."""

_COUNTABLE: Final = 1e9
"""Counts of a pixel beyond which noise is no matter, and drawing it is."""

_PHASE: Final = 0.8
"""Of the object of a scan that is made, radian."""

_POISSON_WEIGHT, _ABSOLUTE_WEIGHT = 0.3, 0.5


@dataclass(frozen=True)
class VerificationBatch:
    """A job for every backend, and what is to be said of it.

    Attributes:
        recipe: the batch; every loss term that can be has a weight.
        text: what it is, in a few words.
        notes: what it leaves out, a sentence each.
    """

    recipe: BatchRecipe
    text: str
    notes: tuple[str, ...] = ()


def made_batch(model: Model, path: Path, folder: Path) -> VerificationBatch:
    """A batch of a scan that is made from the model: its probe, a smooth object, positions between the pixels, Poisson counts.

    Args:
        model: what is in the model file.
        path: the model file.
        folder: where the scan is written.

    Raises:
        DataError: the model's probe is dark, or it takes patterns of a size that no scan has.
    """
    if model.size < SMALLEST_SIZE or model.size % SIZE_STEP:
        raise DataError(
            f"{path} takes patterns of {model.size} pixels; a scan has a multiple of {SIZE_STEP} from {SMALLEST_SIZE}."
        )
    probe = model.physics["probe"][0].astype(np.complex128)
    if not np.abs(probe).max() > 0:
        raise DataError(f"{path}: the probe of scan 0 is dark, so that no pattern can be made with it.")
    scan = folder / "scan.npz"
    among = model.facts.get("neighbor_count")
    frames = max(_PATCHES, 4 * model.gridsize**2 if among is None else int(among))
    _write_scan(scan, probe * np.exp(float(model.physics["log_scale"][0]) / 2), frames, model.size)
    found = batch_from_scan(model, path, scan)
    return replace(found, text=f"{found.text} of a scan made from the model")


def batch_from_scan(model: Model, path: Path, scan: Path) -> VerificationBatch:
    """A batch from the middle of a scan, with the model's probe of scan 0.

    Args:
        model: what is in the model file.
        path: the model file.
        scan: the scan's file, read as it states itself.

    Raises:
        DataError: the scan cannot be read, or the model does not take its patterns.
    """
    from ptycho_core.settings.model import LATER
    from ptycho_core.settings.resolution import resolve

    light = float((np.abs(model.physics["probe"][0].astype(np.complex128)) ** 2).sum()) / model.size**2
    own = max(1.0, light)  # what compares objects, not patterns, does not grow with the counts
    weights = {"nll_weight": _POISSON_WEIGHT, "amplitude_weight": 1.0, "mae_weight": _ABSOLUTE_WEIGHT, "tv_weight": own}
    groups = resolve("train", overrides={**weights, "realspace_weight": 0.0}).groups()
    facts = {name: value for name, value in groups["model"].items() if name in LATER} | dict(model.facts)
    if missing := [name for name in groups["model"] if name not in facts]:
        raise DataError(f"{path}: the fact '{missing[0]}' is missing; a model file states every model setting as it was used.")
    groups["model"] = {name: facts[name] for name in groups["model"]}
    opened = open_scan(scan, groups["data"])
    one = training_data([opened], groups).scans[0]
    if one.scan.size != model.size:
        trained = f"{model.size} x {model.size}"
        raise DataError(f"{scan} has patterns of {one.scan.size} x {one.scan.size} pixels; {path} was trained with {trained}.")
    notes: tuple[str, ...] = ()
    labelled = {**groups, "training": {**groups["training"], "realspace_weight": own}}
    try:
        training_data([opened], labelled)
        groups = labelled
    except DataError as error:
        notes = (f"The term realspace is left out: {error.message}",)
    chosen = _chosen_groups(one, model, scan)
    text = f"{chosen.size} patterns of {model.size} x {model.size} in groups of {chosen.shape[1]}"
    return VerificationBatch(BatchRecipe((scan,), path, groups, 0, chosen), text, notes)


def _chosen_groups(one: TrainingScan, model: Model, scan: Path) -> NDArray[np.int64]:
    """The groups of the frames nearest to the middle: (group, C)."""
    among = model.facts.get("neighbor_count")
    count = None if among is None else int(among)
    groups = inference_groups(one.positions, model.gridsize, neighbor_count=count, source=str(scan))
    number = max(_LEAST_GROUPS, math.ceil(_PATCHES / model.gridsize**2))
    far = np.hypot(*(one.positions - np.median(one.positions, axis=0)).T)
    return groups[np.argsort(far, kind="stable")[:number]]


def _write_scan(path: Path, probe: NDArray[np.complex128], frames: int, size: int) -> None:
    """A scan and its object; nothing of it depends on anything but the arguments."""
    from ptycho_core.formats.plain_npz import write_plain_npz

    random = np.random.default_rng(0)
    side = math.ceil(math.sqrt(frames))
    steps = np.stack(np.divmod(np.arange(frames), side), axis=1) * (size / 8)
    positions = steps + random.uniform(0, 1, steps.shape)
    positions[0] = np.floor(positions[0])
    rows, columns = (int(last) + 2 + size for last in steps.max(axis=0))
    truth = known_object((rows, columns), _PHASE)
    modelled = intensities(truth, probe, positions)
    counts = random.poisson(modelled) if modelled.max() < _COUNTABLE else np.rint(modelled)
    mask = random.random((size, size)) >= _BAD
    counts = np.where(mask, counts, counts.max())
    arrays: dict[str, Any] = {
        "intensity": counts.astype(np.float64), "positions_px": positions, "mask": mask, "object_true": truth,
    }  # fmt: skip
    write_plain_npz(path, arrays)


def known_object(shape: tuple[int, int], phase: float) -> NDArray[np.complex64]:
    """An object with structure at many scales, of amplitude 0.55 to 0.95 and phase within ± ``phase`` rad."""
    row, column = np.mgrid[: shape[0], : shape[1]]
    amplitude = 0.75 + 0.2 * np.sin(row / 2.5) * np.cos(column / 3)
    found: NDArray[np.complex64] = (amplitude * np.exp(1j * phase * np.sin(row / 4 + column / 3))).astype(np.complex64)
    return found
