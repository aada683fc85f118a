"""What is learned from: scans, the frames that teach and the validation frames, and true objects where they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.errors import DataError, SettingsError
from ptycho_core.formats.product import StoredObject, read_object
from ptycho_core.scan.canvas import object_canvas
from ptycho_core.scan.pairing import paired
from ptycho_core.scan.size import followed_object
from ptycho_core.settings.data import RECONSTRUCT, file_of
from ptycho_core.training.epoch import ScanPart
from ptycho_core.training.groups import check_neighbours, check_number
from ptycho_core.training.rng import Purpose, drawn_order, stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.contract import Value
    from ptycho_core.scan.scan import Scan

__all__ = ["SIZE_STEP", "SMALLEST_SIZE", "TrainingData", "TrainingScan", "check_size", "check_sizes", "training_data"]

SIZE_STEP = 16
"""A network halves its input up to four times, so N must be a multiple of this."""

SMALLEST_SIZE = 32

_FLAT = 1e-6
"""An object that differs from its mean by less than this part of its largest modulus is flat."""


@dataclass(frozen=True, eq=False)
class TrainingScan:
    """One scan and the part its frames have.

    Attributes:
        scan: the scan; its patterns are read when asked for.
        positions: (n, 2), float64, (row, column) of every window's ``[0, 0]`` corner, pixels of the canvas: the smallest object
            that holds all windows.
        shape: (rows, columns) of the canvas.
        train: numbers of the frames that are learned from, int64, ascending; none for a validation scan.
        validation: numbers of the validation frames, int64, ascending.
        labels: (rows, columns), complex64, the object on the canvas that is known, or None where none is needed.
    """

    scan: Scan
    positions: NDArray[np.float64]
    shape: tuple[int, int]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    labels: NDArray[np.complex64] | None


@dataclass(frozen=True, eq=False)
class TrainingData:
    """All scans of a job, those to learn from first, then the validation scans; ``Batch.scan`` counts them in this order."""

    scans: tuple[TrainingScan, ...]

    @property
    def size(self) -> int:
        """N, the pixels across a pattern, the same in all scans."""
        return self.scans[0].scan.size

    def training_parts(self) -> list[ScanPart]:
        """What `epoch_batches` takes; one part for each scan."""
        return [ScanPart(one.train, one.positions) for one in self.scans]

    def validation_parts(self) -> list[ScanPart]:
        """What `validation_batches` takes; one part for each scan."""
        return [ScanPart(one.validation, one.positions) for one in self.scans]


def training_data(
    scans: Sequence[Scan], settings: Mapping[str, Mapping[str, Value]], validation: Sequence[Scan] = ()
) -> TrainingData:
    """Decide which frames of opened scans do what; no pattern is read. Labels that scans make themselves are still missing.

    Args:
        scans: to learn from.
        settings: the groups *model*, *training* and *execution* by name, as a job holds them: with a number for each weight.
        validation: scans that only validate.

    Raises:
        DataError: no scan; N differs or is not a multiple of 16 from 32 up; fewer frames than settings ask
            for; a true object is needed and missing, flat, or does not cover its scan. The message names the file.
        SettingsError: ``labels`` names one object for several scans.
    """
    if not scans:
        raise DataError("There is no scan to learn from.")
    training: Mapping[str, Any] = settings["training"]
    model: Mapping[str, Any] = settings["model"]
    seed = int(settings["execution"]["seed"] or 0)
    labels = file_of("labels", training["labels"])
    if labels is not None and len(scans) > 1:
        raise SettingsError(
            f"labels names one object, {labels}, for {len(scans)} scans.",
            remedy="Leave labels out: each scan's own file may hold its object as 'object_true'.",
        )
    compared = training["realspace_weight"] > 0 and training["labels"] != RECONSTRUCT
    every = [*scans, *validation]
    check_sizes(every)
    found = []
    for number, scan in enumerate(every):
        teaches = number < len(scans)
        train, judging = _parts(scan, number, training, seed, teaches=teaches)
        _check_parts(scan, train, judging, training, model, teaches=teaches)
        origin, shape = object_canvas(scan.positions, scan.size)
        truth = None
        if compared:
            truth = _labels(scan, labels if teaches else None, origin, shape)
        found.append(TrainingScan(scan, scan.positions - origin, shape, train, judging, truth))
    return TrainingData(tuple(found))


def check_sizes(scans: Sequence[Scan]) -> None:
    """Refuse scans that no network takes together.

    Raises:
        DataError: N differs, or as `check_size`.
    """
    for scan in scans:
        check_size(scan)
        if scan.size != scans[0].size:
            raise DataError(
                f"The scans differ in N: {scans[0].source} has {scans[0].size} x {scans[0].size} pixels, {scan.source}"
                f" {scan.size} x {scan.size}; one network takes one size."
            )


def check_size(scan: Scan) -> None:
    """Refuse patterns that no network takes.

    Raises:
        DataError: N is not a multiple of 16 from 32 up.
    """
    if scan.size < SMALLEST_SIZE or scan.size % SIZE_STEP:
        raise DataError(
            f"{scan.source} has patterns of {scan.size} x {scan.size} pixels; a network takes a multiple of {SIZE_STEP} from"
            f" {SMALLEST_SIZE} up.",
            remedy="Crop or pad the patterns to such a size with --size N; both keep the detector's scale.",
        )


def _parts(
    scan: Scan, number: int, training: Mapping[str, Any], seed: int, *, teaches: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The frames to learn from and the validation frames."""
    used = _subsample(scan, number, training, seed)
    if not teaches:
        return used[:0], used
    share = float(training["validation_split"])
    if not share > 0:
        return used, used[:0]
    angle = 2 * np.pi * stream(Purpose.VALIDATION, seed=seed, scan=number).random()
    along = scan.positions[used, 0] * np.cos(angle) + scan.positions[used, 1] * np.sin(angle)
    order = np.argsort(along, kind="stable")
    border = len(used) - max(1, round(share * len(used)))
    return np.sort(used[order[:border]]), np.sort(used[order[border:]])


def _subsample(scan: Scan, number: int, training: Mapping[str, Any], seed: int) -> NDArray[np.int64]:
    wanted = training["n_subsample"]
    if wanted is None:
        return np.arange(len(scan), dtype=np.int64)
    if wanted > len(scan):
        raise DataError(
            f"{scan.source} has {len(scan)} frames; n_subsample asks for {wanted} of each scan.",
            remedy=f"Ask for {len(scan)} at most, or leave it out to use all.",
        )
    if training["sequential_sampling"]:
        return np.arange(wanted, dtype=np.int64)
    own = seed if training["subsample_seed"] is None else int(training["subsample_seed"])
    return np.sort(drawn_order(len(scan), stream(Purpose.SUBSAMPLE, seed=own, scan=number))[:wanted])


def _check_parts(
    scan: Scan,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    training: Mapping[str, Any],
    model: Mapping[str, Any],
    *,
    teaches: bool,
) -> None:
    gridsize, neighbours = int(model["gridsize"]), model["neighbor_count"]
    used = "" if training["n_subsample"] is None else f" of n_subsample {training['n_subsample']}"
    divided = f" of validation_split {training['validation_split']:g}" if teaches and len(validation) else ""
    if teaches:
        part = f"{scan.source}, the part to learn from{divided}{used}," if divided or used else str(scan.source)
        check_neighbours(len(train), gridsize, neighbours, source=part)
        if training["n_groups"] is not None:
            check_number(len(train), gridsize, neighbours, int(training["n_groups"]), source=part)
    if len(validation):
        part = f"{scan.source}, the validation part{divided}{used}," if divided or used else str(scan.source)
        check_neighbours(len(validation), gridsize, neighbours, source=part)


def _labels(scan: Scan, path: Path | None, origin: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.complex64]:
    """The true object on the scan's canvas."""
    where = scan.source if path is None else path
    if path is None:
        stored = _own_object(scan)
    else:
        stored = followed_object(scan, read_object(path, "reference"), path, own=path == scan.source)
    values = stored.object
    if np.abs(values - values.mean()).max() <= _FLAT * np.abs(values).max():
        raise DataError(
            f"{where}: the object of shape {values.shape} is flat, so there is nothing to learn from it.", remedy=_REMEDY
        )
    row, column = (int(np.rint(value)) for value in origin - _corner(stored, scan, where))
    rows, columns = shape
    if row < 0 or column < 0 or row + rows > values.shape[0] or column + columns > values.shape[1]:
        raise DataError(
            f"{where}: the object of {values.shape[0]} x {values.shape[1]} pixels does not cover {scan.source}, whose windows"
            f" take its rows {row} to {row + rows - 1} and columns {column} to {column + columns - 1}.",
            remedy="Give an object on which every window of the scan lies.",
        )
    return values[row : row + rows, column : column + columns].astype(np.complex64)


_REMEDY = "Give the true object with --labels FILE, store it in the scan's file as 'object_true', or train without labels."


def _own_object(scan: Scan) -> StoredObject:
    """The object in the scan's file."""
    try:
        stored = read_object(scan.source, "reference")
    except DataError as error:
        raise DataError(f"{scan.source} has no true object to learn from: {error.message}", remedy=_REMEDY) from error
    return followed_object(scan, stored, scan.source, own=True)


def _corner(stored: StoredObject, scan: Scan, where: Path) -> NDArray[np.float64]:
    """Where the object's ``[0, 0]`` pixel lies in the coordinates of the scan's positions."""
    if stored.origin is not None:
        return np.asarray(stored.origin, dtype=np.float64)
    if stored.positions is None:  # an object without positions is one that the scan's own index
        return np.zeros(2)
    if (pairs := paired(scan.positions, stored.positions, None, stored.frames)) is None:
        raise DataError(
            f"{where}: the object comes with {len(stored.positions)} positions, {scan.source} has {len(scan)} frames; where it"
            " belongs is not determined."
        )
    offset: NDArray[np.float64] = (scan.positions[pairs[0]] - stored.positions[pairs[1]]).mean(axis=0)
    return offset
