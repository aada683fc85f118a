"""The HDF5 side of ``reconstruction.h5``: ptychodus' product names at the root, our own in the group ``ptycho``.

The text that binds is ``specs/result-folder.md``.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import h5py
import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.hdf5_file import write_hdf5

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["FORMAT_VERSION", "Metres", "Reader", "is_hdf5", "write_product"]

FORMAT_VERSION = 2

_LARGE = 2**28
_DENSEST = 2000
"""An array above so many bytes must be stored in no less than one of so many; gzip reaches 1000 on zeros."""


class Metres(NamedTuple):
    """The scale of a result: object pixel (row, column) in metres, photon energy (eV) and distance to the detector (m)."""

    pixel_m: tuple[float, float]
    photon_energy_ev: float | None
    detector_distance_m: float | None


def write_product(
    path: Path,
    arrays: Mapping[str, Any],
    texts: Mapping[str, str],
    metres: Metres | None,
    ready: Callable[[], None] | None = None,
) -> None:
    """Write the arrays of a reconstruction.

    Args:
        path: file to make; an existing one is replaced.
        arrays: ``object`` (rows, columns), ``probe`` (mode, N, N), ``positions`` (frame, 2), ``origin`` (2,), ``held_out``,
            ``background`` or None, ``mask`` or None, ``frames`` (frame,) or None, ``history`` (sequence of rows).
        texts: ``name``, ``comments``, ``settings`` (JSON), ``facts`` (JSON).
        metres: the scale; without it no ``*_m`` field is written.
        ready: called when the new file is on the disk, just before it takes its name.

    Raises:
        OutputError: the file cannot be written.
    """

    def fill(storage: Any) -> None:  # noqa: ANN401 - a binary file of Python's
        with h5py.File(storage, "w") as file:
            _write_ptychodus(file, arrays, texts, metres)
            _write_own(file.create_group("ptycho"), arrays, texts)

    size = sum(getattr(array, "nbytes", 0) for array in arrays.values())
    write_hdf5(path, fill, size=size, ready=ready)


def _write_ptychodus(file: h5py.File, arrays: Mapping[str, Any], texts: Mapping[str, str], metres: Metres | None) -> None:
    positions, window = arrays["positions"], arrays["probe"].shape[-1]
    file.attrs["name"] = texts["name"]
    file.attrs["comments"] = texts["comments"]
    file.attrs["probe_photon_count"] = float((np.abs(arrays["probe"]).astype(np.float64) ** 2).sum())
    image = file.create_dataset("object", data=arrays["object"][np.newaxis])
    probe = file.create_dataset("probe", data=arrays["probe"][np.newaxis])
    numbers = np.arange(len(positions)) if arrays["frames"] is None else arrays["frames"]
    file["probe_position_indexes"] = np.asarray(numbers, dtype=np.int64)
    epochs = [(row.get("epoch"), row.get("loss")) for row in arrays["history"]]
    known = [(epoch, loss) for epoch, loss in epochs if epoch is not None and loss is not None]
    file["loss_epochs"] = np.array([epoch for epoch, _ in known], dtype=np.int64)
    file["loss_values"] = np.array([loss for _, loss in known], dtype=np.float64)
    if metres is None:
        return
    if metres.photon_energy_ev is not None:
        file.attrs["photon_energy_eV"] = metres.photon_energy_ev
    if metres.detector_distance_m is not None:
        file.attrs["detector_object_distance_m"] = metres.detector_distance_m
    height, width = metres.pixel_m
    for data in (image, probe):
        data.attrs["pixel_height_m"], data.attrs["pixel_width_m"] = height, width
    image.attrs["center_x_m"] = image.attrs["center_y_m"] = 0.0
    middle = np.asarray(positions) + (window - 1) / 2 - (np.array(arrays["object"].shape) - 1) / 2
    file["probe_position_y_m"], file["probe_position_x_m"] = middle[:, 0] * height, middle[:, 1] * width
    file["object_layer_spacing_m"] = np.zeros(0)


def _write_own(group: h5py.Group, arrays: Mapping[str, Any], texts: Mapping[str, str]) -> None:
    group.attrs["version"] = FORMAT_VERSION
    group.attrs["settings"] = texts["settings"]
    group.attrs["facts"] = texts["facts"]
    group["positions_px"] = arrays["positions"]
    group["object_origin"] = arrays["origin"]
    group["held_out_frames"] = arrays["held_out"]
    for name in ("background", "mask"):
        if arrays[name] is not None:
            group[name] = arrays[name]
    history = group.create_group("history")
    for column in dict.fromkeys(name for row in arrays["history"] for name in row):
        values = [row.get(column) for row in arrays["history"]]
        text = any(isinstance(value, str) for value in values)
        if text:
            history.create_dataset(column, data=["" if v is None else str(v) for v in values], dtype=h5py.string_dtype())
        else:
            history[column] = np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does."""
    try:
        with path.open("rb") as file:
            return file.read(8) == b"\x89HDF\r\n\x1a\n"
    except OSError:
        return False


class Reader:
    """Reads one HDF5 file; every complaint names the file, the key and the shape.

    Nothing outside the file is followed: links to other files, arrays that lie in other files, and soft links are refused.

    Raises:
        DataError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.file = h5py.File(path, "r")
        except FileNotFoundError:
            raise DataError(f"There is no file {path}.") from None
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError(f"{path} cannot be read as HDF5: {error}.") from error

    def __enter__(self) -> Self:
        """The reader itself; leaving closes the file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.file.close()

    def __contains__(self, key: str) -> bool:
        """Whether the file has the dataset or group."""
        with self._guarded(key):
            return key in self.file

    def array(self, key: str, dimensions: Iterable[int]) -> NDArray[Any]:
        """The numeric dataset ``key``, which must have one of the numbers of dimensions.

        Raises:
            DataError: it is missing, no numbers, of another number of dimensions, not finite, damaged or outside the file.
        """
        with self._guarded(key):
            data = self._dataset(key)
            if data.dtype.kind not in "iufcb":
                raise DataError(f"{self.path}: '{key}' is of type {data.dtype}, not numbers.")
            allowed = tuple(dimensions)
            if data.shape is None or data.ndim not in allowed:
                wanted = " or ".join(str(number) for number in allowed)
                raise DataError(f"{self.path}: '{key}' has shape {data.shape}; {wanted} dimensions are expected.")
            values: NDArray[Any] = data[()]
            values = np.asarray(values)
            if not np.isfinite(values).all():
                raise DataError(f"{self.path}: '{key}' of shape {data.shape} holds values that are not finite.")
        return values

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of a dataset, whose values are not read; () for one without."""
        with self._guarded(key):
            return tuple(self._dataset(key).shape or ())

    def number(self, key: str) -> float | None:
        """A real number: a dataset, else for ``object_NAME`` the attribute ``NAME`` of ``object``, else an attribute of the file.

        None if there is none of these.

        Raises:
            DataError: it is something else.
        """
        if key in self:
            value: Any = self.array(key, [0, 1])
        else:
            owner = "object" if key.startswith("object_") and "object" in self else "/"
            with self._guarded(key):
                value = self._node(owner).attrs.get(key.removeprefix("object_"))
        if value is None:
            return None
        values = np.asarray(value)
        if values.dtype.kind not in "iufb" or values.size != 1 or not np.isfinite(values).all():
            raise DataError(f"{self.path}: '{key}' must be one number; it has shape {values.shape} and type {values.dtype}.")
        return float(values.reshape(()))

    def text(self, key: str, attribute: str) -> str:
        """A text attribute, empty if it is missing."""
        with self._guarded(key, attribute):
            value = self._node(key).attrs.get(attribute, "")
        return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

    def json(self, key: str, attribute: str) -> dict[str, Any]:
        """A JSON attribute that holds an object; empty if it is missing."""
        text = self.text(key, attribute)
        try:
            found = json.loads(text or "{}")
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.path}: attribute '{attribute}' of '{key}' is not JSON ({error}).") from error
        if not isinstance(found, dict):
            raise DataError(f"{self.path}: attribute '{attribute}' of '{key}' is not a JSON object.")
        return found

    def check_version(self) -> None:
        """Refuse a layout that is not known.

        Raises:
            DataError: the file states no version, or one that no version of this program wrote, or a later one did.
        """
        with self._guarded("ptycho", "version"):
            stated = np.asarray(self._node("ptycho").attrs.get("version", ()))
        if stated.size != 1 or stated.dtype.kind not in "iu" or not int(stated.reshape(())) >= 1:
            raise DataError(f"{self.path}: the group 'ptycho' has no attribute 'version' that is a whole number from 1 on.")
        if (version := int(stated.reshape(()))) > FORMAT_VERSION:
            raise DataError(
                f"{self.path} is written in version {version} of this layout; versions up to {FORMAT_VERSION} are known.",
                remedy="Read it with a later ptycho.",
            )

    def history(self) -> tuple[dict[str, Any], ...]:
        """Rows of ``ptycho/history``; what was missing in a row is None.

        Raises:
            DataError: a column is no list of numbers or texts, or of another length than the others.
        """
        if "ptycho/history" not in self:
            return ()
        with self._guarded("ptycho/history"):
            group = self._node("ptycho/history")
            if not isinstance(group, h5py.Group):
                raise DataError(f"{self.path}: 'ptycho/history' is no group of columns.")
            names = list(group)
        columns = {name: self._column(name) for name in names}
        length = max((len(values) for values in columns.values()), default=0)
        if any(len(values) != length for values in columns.values()):
            raise DataError(f"{self.path}: the columns of 'ptycho/history' are of different length.")
        return tuple({name: columns[name][row] for name in columns} for row in range(length))

    def _column(self, name: str) -> list[Any]:
        key = f"ptycho/history/{name}"
        with self._guarded(key):
            data = self._dataset(key)
            if data.shape is None or data.ndim != 1:
                raise DataError(f"{self.path}: '{key}' has shape {data.shape}; one value for each row is expected.")
            if h5py.check_string_dtype(data.dtype):
                return [value or None for value in data.asstr()[()]]
            if data.dtype.kind not in "iufb":
                raise DataError(f"{self.path}: '{key}' is of type {data.dtype}, neither numbers nor text.")
            return [_plain(name, float(value)) for value in data[()]]

    def _dataset(self, key: str) -> Any:  # noqa: ANN401 - h5py has no types
        data = self._node(key)
        if not isinstance(data, h5py.Dataset):
            raise DataError(f"{self.path} has no dataset '{key}'; it is not a reconstruction.")
        if data.is_virtual or data.external:
            raise DataError(f"{self.path}: '{key}' lies in another file, which is not followed.")
        size = 0 if data.shape is None else data.size * data.dtype.itemsize
        if size > _LARGE and size > _DENSEST * data.id.get_storage_size():
            raise DataError(
                f"{self.path}: '{key}' of shape {data.shape} would take {size:.2g} bytes; the file does not hold them."
            )
        return data

    def _node(self, key: str) -> Any:  # noqa: ANN401 - h5py has no types
        node = self.file
        for name in key.strip("/").split("/") if key != "/" else ():
            link = node.get(name, getlink=True) if isinstance(node, h5py.Group) else None
            if link is None:
                raise DataError(f"{self.path} has no dataset '{key}'; it is not a reconstruction.")
            if not isinstance(link, h5py.HardLink):
                raise DataError(f"{self.path}: '{key}' is a link, which is not followed.")
            node = node[name]
        return node

    @contextmanager
    def _guarded(self, key: str, attribute: str = "") -> Iterator[None]:
        """Whatever a damaged file makes HDF5 raise, in any of its calls, is one sentence."""
        try:
            yield
        except DataError:
            raise
        except Exception as error:
            what = f"attribute '{attribute}' of '{key}'" if attribute else f"'{key}'"
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(f"{self.path}: {what} cannot be read: {reason}.") from error


def _plain(name: str, value: float) -> float | int | None:
    if np.isnan(value):
        return None
    return int(value) if name == "epoch" and np.isfinite(value) else value
