"""A reconstruction and its file ``reconstruction.h5``; objects and probes out of the files that hold them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.contract import ReconstructResult
from ptycho_core.errors import DataError, PtychoError
from ptycho_core.files.plain import why_not_plain
from ptycho_core.formats.guard import check_magnitude, in_double
from ptycho_core.formats.kinds import is_hdf5, is_zip
from ptycho_core.formats.object_file import (
    CENTERED_PIXEL,
    Purpose,
    numbered_corners,
    object_name,
    open_object_file,
    probe_beside,
    probe_name,
)
from ptycho_core.formats.product_hdf5 import Metres, Reader, write_product
from ptycho_core.scan.selection import chosen_frames
from ptycho_core.spelling import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from ptycho_core.formats.interface import RawResult
    from ptycho_core.formats.product_npz import NpzReader
    from ptycho_core.scan.scan import Scan

__all__ = [
    "Reconstruction",
    "StoredObject",
    "is_own_result",
    "is_result_of_others",
    "load_reconstruction",
    "read_object",
    "read_probe",
    "title_and_scale",
]

FILE_NAME = "reconstruction.h5"
_ENERGIES = ("photon_energy_eV", "probe_energy_eV")
_DISTANCES = ("detector_object_distance_m", "detector_distance_m")
_MOST = 1e30
"""Bound of numbers among the facts; ``photons`` has the same."""


@dataclass(frozen=True)
class Reconstruction(ReconstructResult):
    """Object, probe and positions fitted to one scan: what a backend answers, and what belongs to it in a file.

    Attributes:
        origin: (2,), float64: ``positions + origin`` are positions as the scan's file states them.
        mask: (N, N), bool, True = good pixel, as the patterns were used; None if it is not known.
        frames: (frame,), int64, ascending, the number that the scan's file gives each frame; None where they are 0, 1, 2 ….
        settings: what was asked, with provenance; anything JSON can hold.
        pixel_size_m: object pixel (row, column) in metres, or None without geometry.
        photon_energy_ev: photon energy in eV, or None if it is not known.
        detector_distance_m: from sample to detector in metres, or None if it is not known.
        name: title of the reconstruction.
        comments: free text.
    """

    origin: NDArray[np.floating[Any]] = field(default_factory=lambda: np.zeros(2))
    mask: NDArray[np.bool_] | None = None
    frames: NDArray[np.int64] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    pixel_size_m: tuple[float, float] | None = None
    photon_energy_ev: float | None = None
    detector_distance_m: float | None = None
    name: str = ""
    comments: str = ""

    @classmethod
    def of(cls, result: ReconstructResult, facts: Mapping[str, Any], **more: Any) -> Reconstruction:  # noqa: ANN401 - fields
        """A backend's answer with further ``facts``, and what belongs to it in a file."""
        own = {one.name: getattr(result, one.name) for one in fields(ReconstructResult)}
        return cls(**{**own, "facts": {**result.facts, **facts}}, **more)

    @property
    def N(self) -> int:  # noqa: N802 - the field's name
        """Number of pixels across a pattern, and across the window on the object."""
        return int(self.probe.shape[-1])

    @property
    def stored_size(self) -> int | None:
        """N of the scan's file, where another N made the object's pixels others: none in the near field, or as it was stored."""
        kept = self.facts.get("stored_size")
        return None if kept is None or self.near_field else int(kept)

    @property
    def near_field(self) -> bool:
        """Whether the patterns are of the near field."""
        return self.facts.get("regime") == "near"

    def save(self, path: str | Path, *, ready: Callable[[], None] | None = None) -> Path:
        """Write ``reconstruction.h5`` (``specs/result-folder.md``), replacing a file of that name in one step.

        Args:
            path: of the file.
            ready: called when the new file is on the disk, just before it takes its name.

        Raises:
            DataError: shapes that do not belong together.
            OutputError: the file cannot be written.
        """
        _check(self, "The reconstruction")
        arrays = {
            "object": self.object,
            "probe": self.probe,
            "positions": np.asarray(self.positions, dtype=np.float64),
            "origin": np.asarray(self.origin, dtype=np.float64),
            "held_out": np.asarray(self.held_out, dtype=np.int64),
            "held_out_sums": self.held_out_sums,
            "background": self.background,
            "flux": self.flux,
            "mask": self.mask,
            "frames": self.frames,
            "history": self.history,
        }
        texts = {"name": self.name, "comments": self.comments}
        texts |= {"settings": json.dumps(dict(self.settings), default=str), "facts": json.dumps(dict(self.facts), default=str)}
        pixel = self.pixel_size_m
        focus = self.facts.get("focus_to_sample_m")
        metres = None if pixel is None else Metres(pixel, self.photon_energy_ev, self.detector_distance_m, focus)
        texts["regime"] = "near" if self.near_field else "far"
        write_product(Path(path), arrays, texts, metres, ready)
        return Path(path)


@dataclass(frozen=True)
class StoredObject:
    """An object out of a file, with what is next to it there.

    Attributes:
        object: (rows, columns), complex.
        probe: (mode, N, N), complex, or None.
        positions: (frame, 2), float64, (row, column) of the windows' ``[0, 0]`` corners in ``object``, or None.
        origin: (2,), float64: ``positions + origin`` are positions as the scan's file states them; None if unknown.
        pixel_size_m: object pixel (row, column) in metres, or None.
        stored_size: as of a `Reconstruction`.
        frames: (frame,), int64, ascending, the number that the file gives each frame; None where it counts them from 0.
        notes: what the file holds and could not be taken, a sentence each.
        photon_energy_ev: as of a `Reconstruction`.
        detector_distance_m: as of a `Reconstruction`.
    """

    object: NDArray[Any]
    probe: NDArray[Any] | None = None
    positions: NDArray[np.floating[Any]] | None = None
    origin: NDArray[np.floating[Any]] | None = None
    pixel_size_m: tuple[float, float] | None = None
    stored_size: int | None = None
    frames: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()
    photon_energy_ev: float | None = None
    detector_distance_m: float | None = None


def title_and_scale(scan: Scan) -> dict[str, Any]:
    """What a `Reconstruction` takes over of its scan by name: title, numbers of the frames, and the metric scale where known."""
    # A name that is no UTF-8 cannot be a title as it is.
    found: dict[str, Any] = {"name": printable(scan.source.stem), "frames": chosen_frames(scan)}
    if (pixels := scan.object_pixels_m) is not None:
        found["pixel_size_m"] = pixels
    if scan.geometry is not None:
        found |= {"photon_energy_ev": scan.geometry.photon_energy_ev, "detector_distance_m": scan.geometry.detector_distance_m}
    return found


def load_reconstruction(path: str | Path) -> Reconstruction:
    """Read ``reconstruction.h5``, given itself or its folder.

    Versions 1 and 2 of the layout are read; positions are those of the group ``ptycho``, which were right in both.

    Raises:
        DataError: no such file, a later version of the layout, or a key is missing or of a wrong shape.
    """
    path = _file_of(Path(path))
    with Reader(path) as reader:
        if "ptycho" in reader:
            reader.check_version()
        facts, positions = _facts(reader), _real(reader, "ptycho/positions_px", 2)
        found = Reconstruction(
            object=_one_layer(reader.array("object", [2, 3]), path),
            probe=_modes(reader.array("probe", [2, 3, 4]), path),
            positions=positions,
            origin=_real(reader, "ptycho/object_origin", 1),
            background=_real(reader, "ptycho/background", 2) if "ptycho/background" in reader else None,
            flux=_real(reader, "ptycho/flux", 1) if "ptycho/flux" in reader else None,
            mask=reader.array("ptycho/mask", [2]).astype(bool) if "ptycho/mask" in reader else None,
            frames=_numbers(reader, len(positions)),
            history=reader.history(),
            held_out=_whole(reader, "ptycho/held_out_frames"),
            held_out_sums=_real(reader, "ptycho/held_out_sums", 2) if "ptycho/held_out_sums" in reader else None,
            settings=reader.json("ptycho", "settings"),
            facts=facts,
            stopped_by=str(facts.get("stopped_by") or ""),
            interrupted=bool(facts.get("interrupted")),
            pixel_size_m=_pixel_size(reader),
            photon_energy_ev=reader.number("photon_energy_eV"),
            detector_distance_m=reader.number("detector_object_distance_m"),
            name=reader.text("/", "name"),
            comments=reader.text("/", "comments"),
        )
    _check(found, str(path))
    return found


def read_object(path: str | Path, purpose: Purpose = "result") -> StoredObject:
    """Read an object, and probe and positions where they are next to it.

    Reads our ``reconstruction.h5`` or its folder, products and training files of ptychodus, results that a format of another
    program reads (`ScanFormat.result`), other HDF5 files and ``.npz`` with
    one of the keys ``object``, ``reconstructed_object``, ``object_guess``, ``objectGuess``, ``object_true``, and ``.npy``.

    Args:
        path: the file, or a result folder.
        purpose: ``start`` never takes the truth; ``reference`` takes ``object_true`` first, with the true positions; ``result``
            takes it where there is nothing else.

    Raises:
        DataError: no such file, no such key, only the truth for a start, or a wrong shape or type.
    """
    path = _file_of(Path(path))
    if (foreign := _foreign(path)) is not None:
        return _of_another_program(path, foreign)
    with open_object_file(path) as file:
        if not (isinstance(file, Reader) and "ptycho" in file):
            return _stored(file, purpose)
    whole = load_reconstruction(path)
    return StoredObject(
        whole.object, whole.probe, whole.positions, whole.origin, whole.pixel_size_m, whole.stored_size, whole.frames
    )


def read_probe(path: str | Path, notes: list[str] | None = None) -> NDArray[Any]:
    """Read a probe to start from, (mode, N, N), complex: from the files that `read_object` reads; an ``.npy`` holds the probe.

    Args:
        path: the file, or a result folder.
        notes: what the file holds and could not be taken is added to it.

    Raises:
        DataError: no such file, no such key, only the true probe, or a wrong shape or type.
    """
    path = _file_of(Path(path))
    if (foreign := _foreign(path)) is not None:
        if foreign.probe is None:
            raise DataError(f"{path} holds an object and no probe.")
        if notes is not None:
            notes.extend((*foreign.notes, *_left_out(foreign.probe, path)))
        return _modes(foreign.probe, path)
    with open_object_file(path, plain="probe") as file:
        values = file.array(probe_name(file, "start"), [2, 3, 4])
    if notes is not None:
        notes.extend(_left_out(values, path))
    return _modes(values, path)


def is_own_result(path: Path) -> bool:
    """Whether a file is a ``reconstruction.h5``, or a folder has one; nothing of it is checked."""
    place = path / FILE_NAME if path.is_dir() else path
    if why_not_plain(place) or not is_hdf5(place):
        return False
    with Reader(place) as reader:
        return "ptycho/positions_px" in reader


def is_result_of_others(path: Path) -> bool:
    """Whether a file is the result of another program: one that a format reads so, or a product of ptychodus.

    Raises:
        DataError: it is one, and damaged.
    """
    if path.is_dir():
        return False
    if _foreign(path) is not None:
        return True
    if not (is_hdf5(path) or is_zip(path)):
        return False
    with open_object_file(path) as file:
        return "object" in file and "probe_position_x_m" in file


def _foreign(path: Path) -> RawResult | None:
    """What a format reads as the result of its program; None where none does.

    Raises:
        DataError: it is a result that cannot be used.
    """
    from ptycho_core.formats.registry import usable_formats
    from ptycho_core.formats.source import ScanFile, Source

    source = Source(ScanFile(path))
    for form in usable_formats():
        try:
            found = form.result(source)
        except PtychoError:
            raise
        except Exception:  # noqa: BLE001, S112 - a format of a third party can raise anything, and must hide no other
            continue
        if found is not None:
            return found
    return None


def _of_another_program(path: Path, found: RawResult) -> StoredObject:
    if found.object is None:
        raise DataError(f"{path} holds a probe and no object.")
    image, notes, probe = _one_layer(found.object, path), found.notes, None
    if found.probe is not None:
        probe, notes = _modes(found.probe, path), (*notes, *_left_out(found.probe, path))
    energy = found.photon_energy_ev
    return StoredObject(image, probe, found.positions, pixel_size_m=found.pixel_size_m, notes=notes, photon_energy_ev=energy)


def _stored(file: Reader | NpzReader, purpose: Purpose) -> StoredObject:
    name = object_name(file, purpose)
    image, true = _one_layer(file.array(name, [2, 3]), file.path), name == "object_true"
    probe: NDArray[Any] | None = None
    notes: tuple[str, ...] = ()
    if beside := probe_beside(file, purpose, true=true):
        values = file.array(beside, [2, 3, 4])
        probe, notes = _modes(values, file.path), _left_out(values, file.path)
    shape = (image.shape[0], image.shape[1])
    found = numbered_corners(file, shape, None if probe is None else probe.shape[-1], true=true)
    positions, frames = found or (None, None)
    energy, distance = (_positive(file, *names) for names in (_ENERGIES, _DISTANCES))
    return StoredObject(
        image, probe, positions, pixel_size_m=_pixel_size(file), frames=frames, notes=notes, photon_energy_ev=energy,
        detector_distance_m=distance,
    )  # fmt: skip


def _positive(file: Reader | NpzReader, *names: str) -> float | None:
    """The first of some numbers that a file has, where it is one above 0; an object can be used without it."""
    try:
        found = next((value for name in names if (value := file.number(name)) is not None), None)
    except DataError:
        return None
    return found if found is not None and 0 < found < _MOST else None


def _file_of(path: Path) -> Path:
    if path.is_dir():
        path = path / FILE_NAME
    if why := why_not_plain(path):
        raise DataError(f"There is no file {path}." if why == "does not exist" else f"{path} {why}.")
    return path


def _real(reader: Reader, key: str, dimensions: int) -> NDArray[np.float64]:
    """Real numbers of a result, float64."""
    values, what = reader.array(key, [dimensions]), f"{reader.path}: '{key}'"
    if np.iscomplexobj(values):
        raise DataError(f"{what} has shape {values.shape} and type {values.dtype}; real numbers are expected.")
    return in_double(what, values)


def _whole(reader: Reader, key: str) -> NDArray[np.int64]:
    """Whole numbers of a result (number,), int64."""
    values = reader.array(key, [1])
    if values.size and values.dtype.kind not in "iu":
        raise DataError(f"{reader.path}: '{key}' has shape {values.shape} and type {values.dtype}; whole numbers are expected.")
    return values.astype(np.int64)


def _one_layer(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if array.ndim == 3 and len(array) == 1:
        array = array[0]
    if array.ndim != 2 or min(array.shape) < 1:
        raise DataError(f"{path}: the object has shape {array.shape}; one layer (rows, columns) is expected.")
    check_magnitude(f"{path}: the object", array)
    return array if np.iscomplexobj(array) else array.astype(np.complex128)


def _modes(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Probe as (mode, N, N); of (OPR mode, mode, N, N) the first OPR mode is taken."""
    shape = array.shape
    if array.ndim == 4 and len(array):
        array = array[0]
    if array.ndim == 2:
        array = array[np.newaxis]
    if array.ndim != 3 or array.shape[1] != array.shape[2] or 0 in array.shape:
        raise DataError(f"{path}: the probe has shape {shape}; (mode, N, N) is expected.")
    check_magnitude(f"{path}: the probe", array)
    return array if np.iscomplexobj(array) else array.astype(np.complex128)


def _left_out(probe: NDArray[Any], path: Path) -> tuple[str, ...]:
    """What of a stored probe (OPR mode, mode, N, N) is not taken."""
    if probe.ndim != 4 or len(probe) < 2:
        return ()
    message = "the first is taken; what they change from frame to frame is left out"
    return (f"{path}: of {len(probe)} OPR modes of the probe {message}.",)


def _pixel_size(file: Reader | NpzReader) -> tuple[float, float] | None:
    height, width = (file.number(f"object_pixel_{side}_m") or file.number(CENTERED_PIXEL) for side in ("height", "width"))
    return (height, width) if height and width and min(height, width) > 0 else None


def _numbers(reader: Reader, frames: int) -> NDArray[np.int64] | None:
    """The numbers of the frames, where they are not 0, 1, 2 …."""
    if "probe_position_indexes" not in reader:
        return None
    numbers = reader.array("probe_position_indexes", [1])
    if numbers.dtype.kind not in "iu" or len(numbers) != frames or (np.diff(numbers.astype(np.int64)) <= 0).any():
        raise DataError(
            f"{reader.path}: 'probe_position_indexes' has shape {numbers.shape} and type {numbers.dtype}; it must hold"
            f" ascending whole numbers, one for each of {frames} frames."
        )
    return None if np.array_equal(numbers, np.arange(frames)) else numbers.astype(np.int64)


def _facts(reader: Reader) -> dict[str, Any]:
    """The facts of a reconstruction; what is counted with must be numbers."""
    facts = reader.json("ptycho", "facts")
    for name, kind, wanted in (("stored_size", int, "a whole number"), ("counts_factor", (int, float), "a number")):
        value = facts.get(name)
        if value is not None and not (isinstance(value, kind) and not isinstance(value, bool) and 0 < value < _MOST):
            raise DataError(f"{reader.path}: '{name}' in the facts of 'ptycho' is {value!r:.40}; {wanted} above 0 is expected.")
    return facts


def _check(one: Reconstruction, where: str) -> None:
    positions = np.asarray(one.positions)
    if one.object.ndim != 2:
        raise DataError(f"{where}: the object has shape {one.object.shape}; (rows, columns) is expected.")
    if one.probe.ndim != 3 or one.probe.shape[1] != one.probe.shape[2]:
        raise DataError(f"{where}: the probe has shape {one.probe.shape}; (mode, N, N) is expected.")
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise DataError(f"{where}: the positions have shape {positions.shape}; (frame, 2) is expected.")
    if np.shape(one.origin) != (2,):
        raise DataError(f"{where}: the object's origin has shape {np.shape(one.origin)}; (2,) is expected.")
    if one.flux is not None and one.flux.shape != (len(one.positions),):
        raise DataError(f"{where}: the flux has shape {one.flux.shape}, the positions {one.positions.shape}.")
    if one.background is not None and one.background.shape != one.probe.shape[1:]:
        raise DataError(f"{where}: the background has shape {one.background.shape}, the probe {one.probe.shape}.")
    if one.mask is not None and one.mask.shape != one.probe.shape[1:]:
        raise DataError(f"{where}: the mask has shape {one.mask.shape}, the probe {one.probe.shape}.")
    if len(one.held_out) and not (int(np.min(one.held_out)) >= 0 and int(np.max(one.held_out)) < len(positions)):
        raise DataError(f"{where}: held-out frames {np.min(one.held_out)} to {np.max(one.held_out)} of {len(positions)} frames.")
    if one.held_out_sums is not None and np.shape(one.held_out_sums) != (len(one.held_out), 2):
        found = np.shape(one.held_out_sums)
        raise DataError(f"{where}: the sums of frames held out have shape {found}; ({len(one.held_out)}, 2) is expected.")
