"""Scans of PtyLab: ``ptychogram``, ``encoder``, ``wavelength``, ``dxd``, ``zo`` in HDF5."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.interface import Evidence, RawResult, RawScan, ScanFormat, Stated, Strength
from ptycho_core.formats.plausible import wavelength_energy
from ptycho_core.orientation import Orientation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source

__all__ = ["PtyLab"]

_REQUIRED: Final = ("ptychogram", "encoder", "wavelength", "dxd", "zo")


class PtyLab(ScanFormat):
    """Reads scans of PtyLab."""

    name = "ptylab"
    title = "PtyLab"
    extensions = (".hdf5", ".h5")
    reads = "Scans of PtyLab 0.3: one HDF5 file. Its results (`object`, `probe`, `dxp`) serve `--start`, `--probe` and `score`."
    recognized_by = "`ptychogram`, `encoder`, `wavelength`, `dxd`, `zo`"
    conventions = (
        "`ptychogram` is (frame, row, column), counts with zero frequency in the middle.",
        "`encoder` is (frame, 2), metres, row first; a file of MATLAB has it as (2, frame).",
        "`orientation` 0 to 7 is applied to the frames on reading: 1 flips columns, 2 rows, 3 both, 4 swaps rows and columns, "
        "4 + i swaps and then does i.",
        "`wavelength`, `zo` (distance) and `dxd` (detector pixel) are in metres. `No`, `entrancePupilDiameter` are left aside.",
        "A result has six axes (wavelength, object mode, probe mode, slice, row, column); its positions are `encoder_corrected`, "
        "in metres: corner = round(position / dxp) + No // 2 − Np // 2.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By its five required keys."""
        if source.has(*_REQUIRED):
            return Evidence(Strength.LAYOUT, f"has {', '.join(_REQUIRED)}")
        return Evidence(Strength.NAMES, "has ptychogram and encoder") if source.has("ptychogram", "encoder") else None

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file, notes = source.hdf5, list[str]()
        used = [key for key in (*_REQUIRED, "orientation", "binningFactor") if file.has(key)]
        return RawScan(
            file.frames("ptychogram"), "'ptychogram'", _encoder(file), "'encoder'", unit="m", window="center", signal="counts",
            turning=Orientation.of_code(_orientation(file)), stated=_stated(file, notes), notes=tuple(notes), used=tuple(used),
        )  # fmt: skip

    def result(self, source: Source) -> RawResult | None:
        """Object, probe and corrected positions."""
        if not source.has("dxp", "zo") or not (source.has("object") or source.has("probe")):
            return None
        file, notes = source.hdf5, list[str]()
        image = _last(file, "object", 3, notes) if file.has("object") else None
        probe = _last(file, "probe", 4, notes)[:, 0] if file.has("probe") else None
        pixel = file.length("dxp")
        if pixel is None or pixel.value <= 0:
            raise DataError(f"{file.where('dxp')} must be a length above 0 m.")
        positions = None
        if image is not None and probe is not None and file.is_numbers("encoder_corrected"):
            metres = file.array("encoder_corrected", [2])
            if metres.shape[1] != 2:
                raise DataError(f"{file.where('encoder_corrected')} has shape {metres.shape}; positions are (frame, 2).")
            middles = np.array(image.shape[-2:]) // 2 - np.array(probe.shape[-2:]) // 2
            positions = np.rint(metres.astype(np.float64) / pixel.value) + middles
        return RawResult(image, probe, positions, (pixel.value, pixel.value), tuple(notes))


def _last(file: Hdf5Source, key: str, axes: int, notes: list[str]) -> NDArray[Any]:
    """The last axes of an array that has at most six; of those before the first entry is taken."""
    values = file.array(key, range(2, 7))
    if not values.size:
        raise DataError(f"{file.where(key)} has shape {values.shape}: it is empty.")
    values = values.reshape((1,) * (6 - values.ndim) + values.shape) if values.ndim in (2, 6) else _modes_first(values)
    before = int(np.prod(values.shape[: 6 - axes], dtype=np.int64))
    if before > 1:
        notes.append(
            f"{file.where(key)} has shape {values.shape}; of {before} wavelengths and modes of the object the first is taken."
        )
    found: NDArray[Any] = values.reshape(-1, *values.shape[6 - axes :])[0]
    return found


def _modes_first(values: NDArray[Any]) -> NDArray[Any]:
    """Six axes of an array that was stored without those of one: what is left counts modes."""
    return values.reshape(1, 1, -1, 1, *values.shape[-2:])


def _encoder(file: Hdf5Source) -> NDArray[np.float64]:
    values = file.floats("encoder", [2])
    return values.T if values.shape[0] < values.shape[1] else values


def _orientation(file: Hdf5Source) -> int:
    code = file.one("orientation") or 0
    if code not in range(8):
        raise DataError(f"{file.where('orientation')} is {code:g}; it must be a whole number from 0 to 7.")
    return int(code)


def _stated(file: Hdf5Source, notes: list[str]) -> dict[str, Stated]:
    found = {}
    for name, key in (("detector_distance_m", "zo"), ("detector_pixel_size_m", "dxd")):
        if (length := file.length(key)) is not None:
            found[name] = Stated(length.value, f"'{key}'")
    if (energy := wavelength_energy(file, "wavelength", "m", notes)) is not None:
        found["photon_energy_ev"] = energy
    return found
