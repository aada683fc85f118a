"""The HDF5 side of ``reconstruction.h5``: ptychodus' product names at the root, our own in the group ``ptycho``.

The text that binds is ``specs/result-folder.md``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.hdf5_file import write_hdf5

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["FORMAT_VERSION", "Reader", "write_product"]

FORMAT_VERSION = 1


def write_product(
    path: Path,
    arrays: Mapping[str, Any],
    texts: Mapping[str, str],
    pixel_size_m: tuple[float, float] | None,
    ready: Callable[[], None] | None = None,
) -> None:
    """Write the arrays of a reconstruction.

    Args:
        path: file to make; an existing one is replaced.
        arrays: ``object`` (rows, columns), ``probe`` (mode, N, N), ``positions`` (frame, 2), ``origin`` (2,), ``held_out``,
            ``background`` or None, ``mask`` or None, ``history`` (sequence of rows).
        texts: ``name``, ``comments``, ``settings`` (JSON), ``facts`` (JSON).
        pixel_size_m: object pixel (row, column) in metres; without it no ``*_m`` field is written.
        ready: called when the new file is on the disk, just before it takes its name.

    Raises:
        OutputError: the file cannot be written.
    """

    def fill(storage: Any) -> None:  # noqa: ANN401 - a binary file of Python's
        with h5py.File(storage, "w") as file:
            _write_ptychodus(file, arrays, texts, pixel_size_m)
            _write_own(file.create_group("ptycho"), arrays, texts)

    size = sum(getattr(array, "nbytes", 0) for array in arrays.values())
    write_hdf5(path, fill, size=size, ready=ready)


def _write_ptychodus(
    file: h5py.File, arrays: Mapping[str, Any], texts: Mapping[str, str], pixel_size_m: tuple[float, float] | None
) -> None:
    positions, window = arrays["positions"], arrays["probe"].shape[-1]
    file.attrs["name"] = texts["name"]
    file.attrs["comments"] = texts["comments"]
    image = file.create_dataset("object", data=arrays["object"][np.newaxis])
    probe = file.create_dataset("probe", data=arrays["probe"][np.newaxis])
    file["probe_position_indexes"] = np.arange(len(positions), dtype=np.int64)
    epochs = [(row.get("epoch"), row.get("loss")) for row in arrays["history"]]
    known = [(epoch, loss) for epoch, loss in epochs if epoch is not None and loss is not None]
    file["loss_epochs"] = np.array([epoch for epoch, _ in known], dtype=np.int64)
    file["loss_values"] = np.array([loss for _, loss in known], dtype=np.float64)
    if pixel_size_m is None:
        return
    height, width = pixel_size_m
    for data in (image, probe):
        data.attrs["pixel_height_m"], data.attrs["pixel_width_m"] = height, width
    image.attrs["center_x_m"] = image.attrs["center_y_m"] = 0.0
    rows, columns = arrays["object"].shape
    file["probe_position_y_m"] = (positions[:, 0] + window // 2 - (rows - 1) / 2) * height
    file["probe_position_x_m"] = (positions[:, 1] + window // 2 - (columns - 1) / 2) * width
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
    for column, values in _columns(arrays["history"]).items():
        text = any(isinstance(value, str) for value in values)
        if text:
            history.create_dataset(column, data=["" if v is None else str(v) for v in values], dtype=h5py.string_dtype())
        else:
            history[column] = np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


class Reader:
    """Reads one HDF5 file; every complaint names the file, the key and the shape."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.file = h5py.File(path, "r")
        except FileNotFoundError:
            raise DataError(f"There is no file {path}.") from None
        except OSError as error:
            raise DataError(f"{path} cannot be read as HDF5: {error}.") from error

    def __enter__(self) -> Self:
        """The reader itself; leaving closes the file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.file.close()

    def __contains__(self, key: str) -> bool:
        """Whether the file has the dataset or group."""
        return key in self.file

    def array(self, key: str, dimensions: Iterable[int]) -> NDArray[Any]:
        """The numeric dataset ``key``, which must have one of the numbers of dimensions."""
        allowed = tuple(dimensions)
        if key not in self.file or not isinstance(self.file[key], h5py.Dataset):
            raise DataError(f"{self.path} has no dataset '{key}'; it is not a reconstruction.")
        data = self.file[key]
        if data.dtype.kind not in "iufcb":
            raise DataError(f"{self.path}: '{key}' is of type {data.dtype}, not numbers.")
        if data.ndim not in allowed:
            wanted = " or ".join(str(number) for number in allowed)
            raise DataError(f"{self.path}: '{key}' has shape {data.shape}; {wanted} dimensions are expected.")
        values: NDArray[Any] = data[()]
        if not np.isfinite(values).all():
            raise DataError(f"{self.path}: '{key}' of shape {data.shape} holds values that are not finite.")
        return values

    def text(self, key: str, attribute: str) -> str:
        """A text attribute, empty if it is missing."""
        value = self.file[key].attrs.get(attribute, "")
        return value.decode() if isinstance(value, bytes) else str(value)

    def json(self, key: str, attribute: str) -> dict[str, Any]:
        """A JSON attribute that holds an object; empty if it is missing."""
        text = self.text(key, attribute)
        try:
            found = json.loads(text or "{}")
        except json.JSONDecodeError as error:
            raise DataError(f"{self.path}: attribute '{attribute}' of '{key}' is not JSON ({error}).") from error
        if not isinstance(found, dict):
            raise DataError(f"{self.path}: attribute '{attribute}' of '{key}' is not a JSON object.")
        return found

    def history(self) -> tuple[dict[str, Any], ...]:
        """Rows of ``ptycho/history``; what was missing in a row is None."""
        if "ptycho/history" not in self.file:
            return ()
        group = self.file["ptycho/history"]
        columns: dict[str, list[Any]] = {}
        for name in group:
            if h5py.check_string_dtype(group[name].dtype):
                columns[name] = [value or None for value in group[name].asstr()[()]]
            else:
                numbers = self.file["ptycho/history"][name][()]
                columns[name] = [_plain(name, float(value)) for value in numbers]
        length = max((len(values) for values in columns.values()), default=0)
        if any(len(values) != length for values in columns.values()):
            raise DataError(f"{self.path}: the columns of 'ptycho/history' are of different length.")
        return tuple({name: columns[name][row] for name in columns} for row in range(length))


def _plain(name: str, value: float) -> float | int | None:
    if np.isnan(value):
        return None
    return int(value) if name == "epoch" else value
