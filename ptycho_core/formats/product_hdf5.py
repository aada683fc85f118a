"""The HDF5 side of ``reconstruction.h5``: ptychodus' product names at the root, our own in the group ``ptycho``.

The text that binds is ``specs/result-folder.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import h5py
import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.hdf5_file import write_hdf5
from ptycho_core.formats.hdf5_reading import Hdf5File

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["FORMAT_VERSION", "Metres", "Reader", "fill_product", "write_product"]

FORMAT_VERSION = 2

_MOST_EPOCHS = 2**53

_UNKNOWN: Final = ("exposure_time_s", "mass_attenuation_m2_per_kg", "tomography_angle_deg", "tilt_angle_deg")
"""What a product of ptychodus states of an experiment and nothing here does."""


class Metres(NamedTuple):
    """The scale of a result.

    Object pixel (row, column) in metres, photon energy (eV), distances from sample to detector and, in the near field, from the
    focus of a divergent beam to the sample (m).
    """

    pixel_m: tuple[float, float]
    photon_energy_ev: float | None
    detector_distance_m: float | None
    focus_to_sample_m: float | None = None


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
            ``background``, ``flux`` and ``mask`` or None, ``frames`` (frame,) or None, ``history`` (sequence of rows).
        texts: ``name``, ``comments``, ``regime`` (``far`` where it is left out), ``settings`` (JSON), ``facts`` (JSON).
        metres: the scale; without it no ``*_m`` field is written.
        ready: called when the new file is on the disk, just before it takes its name.

    Raises:
        OutputError: the file cannot be written.
    """

    def fill(storage: Any) -> None:  # noqa: ANN401 - a binary file of Python's
        with h5py.File(storage, "w") as file:
            fill_product(file, arrays, texts, metres)
            _write_own(file.create_group("ptycho"), arrays, texts)

    size = sum(getattr(array, "nbytes", 0) for array in arrays.values())
    write_hdf5(path, fill, size=size, ready=ready)


def fill_product(
    file: h5py.File, arrays: Mapping[str, Any], texts: Mapping[str, str], metres: Metres | None, *, in_counts: bool = True
) -> None:
    """Fill a file with all that ptychodus 1.7 reads of a product; what is not known is what it writes itself for that, 0.

    Args:
        file: open for writing.
        arrays: ``object``, ``probe``, ``positions``, ``frames`` and ``history``, as in `write_product`.
        texts: ``name``, ``comments``, ``regime``.
        metres: the scale; without it no ``*_m`` field is written.
        in_counts: whether ``Σ|probe|²`` is the mean count of an empty object.
    """
    positions, window = arrays["positions"], arrays["probe"].shape[-1]
    power = float((np.abs(arrays["probe"]).astype(np.float64) ** 2).sum())
    file.attrs["name"], file.attrs["comments"] = texts["name"], texts["comments"]
    file.attrs["probe_photon_count"] = power if in_counts else 0.0
    file.attrs["far_field"] = texts.get("regime", "far") == "far"
    for name in _UNKNOWN:
        file.attrs[name] = 0.0
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
    file.attrs["focus_object_distance_m"] = metres.focus_to_sample_m or 0.0
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
    for name in ("held_out_sums", "background", "flux", "mask"):
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


class Reader(Hdf5File):
    """Reads one HDF5 file that holds a result, or an object or probe under the name that another program gave it.

    Raises:
        DataError: it cannot be opened.
    """

    def check_version(self) -> None:
        """Refuse a layout that is not known.

        Raises:
            DataError: the file states no version, or one that no version of this program wrote, or a later one did.
        """
        stated = np.asarray(() if (found := self.attribute("ptycho", "version")) is None else found)
        if stated.size != 1 or stated.dtype.kind not in "iu" or not int(stated.reshape(())) >= 1:
            raise DataError(f"{self.path}: the group 'ptycho' has no attribute 'version' that is a whole number from 1 on.")
        if (version := int(stated.reshape(()))) > FORMAT_VERSION:
            raise DataError(
                f"{self.path} is written in version {version} of this layout; versions up to {FORMAT_VERSION} are known.",
                remedy="Read it with a later ptycho.",
            )

    def history(self) -> tuple[dict[str, Any], ...]:
        """Rows of ``ptycho/history``; what was missing in a row is None, and an epoch that is no whole number too.

        Raises:
            DataError: a column is no list of numbers or texts, or of another length than the others.
        """
        if "ptycho/history" not in self:
            return ()
        columns = {name: self._column(name) for name in self.names("ptycho/history")}
        length = max((len(values) for values in columns.values()), default=0)
        if short := next((name for name, values in columns.items() if len(values) != length), None):
            raise DataError(
                f"{self.path}: the columns of 'ptycho/history' are of different length: '{short:.60}' has {len(columns[short])}"
                f" rows, another {length}."
            )
        return tuple({name: columns[name][row] for name in columns} for row in range(length))

    def _column(self, name: str) -> list[Any]:
        values = self.column(f"ptycho/history/{name}")
        return [value or None if isinstance(value, str) else _plain(name, value) for value in values]


def _plain(name: str, value: float) -> float | int | None:
    if np.isnan(value):
        return None
    if name != "epoch":
        return value
    return int(value) if abs(value) < _MOST_EPOCHS and value == int(value) else None
