"""A reconstruction and its file ``reconstruction.h5``; objects and probes out of the files that hold them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.product_hdf5 import Reader, write_product

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ptycho_core.contract import Value

__all__ = ["Reconstruction", "StoredObject", "load_reconstruction", "read_object", "read_probe"]

FILE_NAME = "reconstruction.h5"
_OBJECT_KEYS = ("object", "object_true", "objectGuess", "reconstructed_object")
_PROBE_KEYS = ("probe", "probe_true", "probeGuess", "probe_guess", "reconstructed_probe")
_HDF5 = (".h5", ".hdf5", ".hdf", ".cxi")


@dataclass(frozen=True)
class Reconstruction:
    """Object, probe and positions fitted to one scan.

    Attributes:
        object: (rows, columns), complex; transmission of the sample.
        probe: (mode, N, N), complex, strongest mode first; ``Σ|probe|²`` is the mean count of a pattern of an empty object.
        positions: (frame, 2), float64, (row, column) of each window's ``[0, 0]`` corner, in pixels of ``object``.
        origin: (2,), float64: ``positions + origin`` are positions as the scan's file states them.
        background: (N, N), counts added to each pattern, or None.
        mask: (N, N), bool, True = good pixel, as the patterns were used; None if it is not known.
        history: one row for each epoch or iteration (``stage``, ``epoch``, ``loss``, ``misfit``, ``held_out``, ``seconds``).
        held_out: (k,), int64, numbers of the frames that took no part in the fit.
        settings: what was asked, with provenance; anything JSON can hold.
        facts: what was decided on the way; anything JSON can hold.
        pixel_size_m: object pixel (row, column) in metres, or None without geometry.
        name: title of the reconstruction.
        comments: free text.
    """

    object: NDArray[Any]
    probe: NDArray[Any]
    positions: NDArray[np.floating[Any]]
    origin: NDArray[np.floating[Any]] = field(default_factory=lambda: np.zeros(2))
    background: NDArray[Any] | None = None
    mask: NDArray[np.bool_] | None = None
    history: Sequence[Mapping[str, Value]] = ()
    held_out: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    settings: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    pixel_size_m: tuple[float, float] | None = None
    name: str = ""
    comments: str = ""

    @property
    def N(self) -> int:  # noqa: N802 - the field's name
        """Number of pixels across a pattern, and across the window on the object."""
        return int(self.probe.shape[-1])

    @property
    def stored_size(self) -> int | None:
        """N of the scan's file, where the patterns were cropped or padded to another; None where they were not."""
        kept = self.facts.get("stored_size")
        return None if kept is None else int(kept)

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
            "background": self.background,
            "mask": self.mask,
            "history": self.history,
        }
        texts = {"name": self.name, "comments": self.comments}
        texts |= {"settings": json.dumps(dict(self.settings), default=str), "facts": json.dumps(dict(self.facts), default=str)}
        write_product(Path(path), arrays, texts, self.pixel_size_m, ready)
        return Path(path)


@dataclass(frozen=True)
class StoredObject:
    """An object out of a file, with what is beside it there.

    Attributes:
        object: (rows, columns), complex.
        probe: (mode, N, N), complex, or None.
        positions: (frame, 2), float64, (row, column) of the windows' ``[0, 0]`` corners in ``object``, or None.
        origin: (2,), float64: ``positions + origin`` are positions as the scan's file states them; None if unknown.
        pixel_size_m: object pixel (row, column) in metres, or None.
        stored_size: as of a `Reconstruction`.
    """

    object: NDArray[Any]
    probe: NDArray[Any] | None = None
    positions: NDArray[np.floating[Any]] | None = None
    origin: NDArray[np.floating[Any]] | None = None
    pixel_size_m: tuple[float, float] | None = None
    stored_size: int | None = None


def load_reconstruction(path: str | Path) -> Reconstruction:
    """Read ``reconstruction.h5``, given itself or its folder.

    Raises:
        DataError: no such file, or a key is missing or of a wrong shape.
    """
    path = _file_of(Path(path))
    with Reader(path) as reader:
        positions = reader.array("ptycho/positions_px", [2]).astype(np.float64)
        found = Reconstruction(
            object=_one_layer(reader.array("object", [2, 3]), path),
            probe=_modes(reader.array("probe", [2, 3, 4]), path),
            positions=positions,
            origin=reader.array("ptycho/object_origin", [1]).astype(np.float64),
            background=reader.array("ptycho/background", [2]) if "ptycho/background" in reader else None,
            mask=reader.array("ptycho/mask", [2]).astype(bool) if "ptycho/mask" in reader else None,
            history=reader.history(),
            held_out=reader.array("ptycho/held_out_frames", [1]).astype(np.int64),
            settings=reader.json("ptycho", "settings"),
            facts=reader.json("ptycho", "facts"),
            pixel_size_m=_pixel_size(reader),
            name=reader.text("/", "name"),
            comments=reader.text("/", "comments"),
        )
    _check(found, str(path))
    return found


def read_object(path: str | Path) -> StoredObject:
    """Read an object, and probe and positions where they are beside it.

    Reads our ``reconstruction.h5`` or its folder, another HDF5 file with a dataset ``object``, ``.npy``, and ``.npz`` with one of
    the keys ``object``, ``object_true``, ``objectGuess``, ``reconstructed_object`` (and ``probe``, ``positions_px``).

    Raises:
        DataError: no such file, no such key, or a wrong shape or type.
    """
    path = _file_of(Path(path))
    if path.suffix.lower() in _HDF5:
        with Reader(path) as reader:
            if "ptycho/positions_px" not in reader:
                probe = _modes(reader.array("probe", [2, 3, 4]), path) if "probe" in reader else None
                return StoredObject(_one_layer(reader.array("object", [2, 3]), path), probe, pixel_size_m=_pixel_size(reader))
        whole = load_reconstruction(path)
        return StoredObject(whole.object, whole.probe, whole.positions, whole.origin, whole.pixel_size_m, whole.stored_size)
    arrays = _arrays(path, (*_OBJECT_KEYS, *_PROBE_KEYS, "positions_px"))
    key = _first(arrays, _OBJECT_KEYS, path, "object")
    probe_key = next((name for name in _PROBE_KEYS if name in arrays), None)
    positions = arrays.get("positions_px")
    if positions is not None and (positions.ndim != 2 or positions.shape[1] != 2):
        raise DataError(f"{path}: 'positions_px' has shape {positions.shape}; (frame, 2) is expected.")
    return StoredObject(
        object=_one_layer(_finite(arrays[key], path, key), path),
        probe=_modes(_finite(arrays[probe_key], path, probe_key), path) if probe_key else None,
        positions=None if positions is None else _finite(positions, path, "positions_px").astype(np.float64),
    )


def read_probe(path: str | Path) -> NDArray[Any]:
    """Read a probe, (mode, N, N), complex: from the files that `read_object` reads; an ``.npy`` holds the probe itself.

    Raises:
        DataError: no such file, no such key, or a wrong shape or type.
    """
    path = _file_of(Path(path))
    if path.suffix.lower() in _HDF5:
        with Reader(path) as reader:
            return _modes(reader.array("probe", [2, 3, 4]), path)
    arrays = _arrays(path, _PROBE_KEYS, plain="probe")
    key = _first(arrays, _PROBE_KEYS, path, "probe")
    return _modes(_finite(arrays[key], path, key), path)


def _file_of(path: Path) -> Path:
    if path.is_dir():
        path = path / FILE_NAME
    if not path.is_file():
        raise DataError(f"There is no file {path}.")
    return path


def _arrays(path: Path, keys: Sequence[str], plain: str = "object") -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:  # np.load itself leaves a damaged archive open
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {plain: loaded}
            with loaded:
                return {key: loaded[key] for key in keys if key in loaded.files}
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise DataError(f"{path} cannot be read as npz or npy: {str(error).splitlines()[0]}.") from error


def _first(arrays: Mapping[str, NDArray[Any]], keys: Sequence[str], path: Path, what: str) -> str:
    for key in keys:
        if key in arrays:
            return key
    raise DataError(f"{path} holds no {what}: none of the keys {', '.join(keys)} is in it.")


def _finite(array: NDArray[Any], path: Path, key: str) -> NDArray[Any]:
    if array.dtype.kind not in "iufc":
        raise DataError(f"{path}: '{key}' is of type {array.dtype}, not numbers.")
    if not np.isfinite(array).all():
        raise DataError(f"{path}: '{key}' of shape {array.shape} holds values that are not finite.")
    return array


def _one_layer(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if array.ndim == 3 and len(array) == 1:
        array = array[0]
    if array.ndim != 2 or min(array.shape) < 1:
        raise DataError(f"{path}: the object has shape {array.shape}; one layer (rows, columns) is expected.")
    return array if np.iscomplexobj(array) else array.astype(np.complex128)


def _modes(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Probe as (mode, N, N); of (OPR mode, mode, N, N) the first, mean, OPR mode is taken."""
    if array.ndim == 4:
        array = array[0]
    if array.ndim == 2:
        array = array[np.newaxis]
    if array.ndim != 3 or array.shape[1] != array.shape[2] or 0 in array.shape:
        raise DataError(f"{path}: the probe has shape {array.shape}; (mode, N, N) is expected.")
    return array if np.iscomplexobj(array) else array.astype(np.complex128)


def _pixel_size(reader: Reader) -> tuple[float, float] | None:
    attributes = reader.file["object"].attrs
    size = tuple(float(attributes.get(name, 0.0)) for name in ("pixel_height_m", "pixel_width_m"))
    return (size[0], size[1]) if min(size) > 0 else None


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
    if one.background is not None and one.background.shape != one.probe.shape[1:]:
        raise DataError(f"{where}: the background has shape {one.background.shape}, the probe {one.probe.shape}.")
    if one.mask is not None and one.mask.shape != one.probe.shape[1:]:
        raise DataError(f"{where}: the mask has shape {one.mask.shape}, the probe {one.probe.shape}.")
    if len(one.held_out) and not (int(np.min(one.held_out)) >= 0 and int(np.max(one.held_out)) < len(positions)):
        raise DataError(f"{where}: held-out frames {np.min(one.held_out)} to {np.max(one.held_out)} of {len(positions)} frames.")
