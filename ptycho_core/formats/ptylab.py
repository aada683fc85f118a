"""Scans of PtyLab: ``ptychogram``, ``encoder``, ``wavelength``, ``dxd``, ``zo`` in HDF5."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ptycho_core.errors import DataError
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Stated, Strength
from ptycho_core.orientation import Orientation
from ptycho_core.physics.geometry import photon_energy

if TYPE_CHECKING:
    import numpy as np
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
    reads = "Scans of PtyLab 0.3: one HDF5 file."
    recognized_by = "`ptychogram`, `encoder`, `wavelength`, `dxd`, `zo`"
    conventions = (
        "`ptychogram` is (frame, row, column), counts with zero frequency in the middle.",
        "`encoder` is (frame, 2), metres, row first; a file of MATLAB has it as (2, frame).",
        "`orientation` 0 to 7 is applied to the frames on reading: 1 flips columns, 2 rows, 3 both, 4 swaps rows and columns, "
        "4 + i swaps and then does i.",
        "`wavelength`, `zo` (distance) and `dxd` (detector pixel) are in metres. `No`, `entrancePupilDiameter` are left aside.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By its five required keys."""
        if source.has(*_REQUIRED):
            return Evidence(Strength.LAYOUT, f"has {', '.join(_REQUIRED)}")
        return Evidence(Strength.NAMES, "has ptychogram and encoder") if source.has("ptychogram", "encoder") else None

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file = source.hdf5
        used = [key for key in (*_REQUIRED, "orientation", "binningFactor") if file.has(key)]
        return RawScan(
            file.frames("ptychogram"), "'ptychogram'", _encoder(file), "'encoder'", unit="m", window="center", signal="counts",
            turning=Orientation.of_code(_orientation(file)), stated=_stated(file), used=tuple(used),
        )  # fmt: skip


def _encoder(file: Hdf5Source) -> NDArray[np.float64]:
    values = file.floats("encoder", [2])
    return values.T if values.shape[0] < values.shape[1] else values


def _orientation(file: Hdf5Source) -> int:
    code = file.one("orientation") or 0
    if code not in range(8):
        raise DataError(f"{file.where('orientation')} is {code:g}; it must be a whole number from 0 to 7.")
    return int(code)


def _stated(file: Hdf5Source) -> dict[str, Stated]:
    found = {}
    for name, key in (("detector_distance_m", "zo"), ("detector_pixel_size_m", "dxd")):
        if (length := file.length(key)) is not None:
            found[name] = Stated(length.value, f"'{key}'")
    if (wavelength := file.length("wavelength")) is not None and wavelength.value > 0:
        found["photon_energy_ev"] = Stated(photon_energy(wavelength.value), "'wavelength'")
    return found
