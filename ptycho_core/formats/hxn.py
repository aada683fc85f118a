"""Scans of the HXN beamline of NSLS-II: ``diffamp`` of ptycho_gui, or ``dp`` of holoptycho, with ``points``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ptycho_core.errors import DataError
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Stated, Strength
from ptycho_core.formats.plausible import detector_distance, square_pixel, wavelength_energy
from ptycho_core.orientation import AS_STATED, Orientation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source

__all__ = ["Hxn"]

_BACK: Final = Orientation(swap=True, flip_rows=True)
"""Undoes the ``rot90(axes=(1, 0))`` with which ptycho_gui stores a frame."""

_GEOMETRY: Final = ("lambda_nm", "z_m", "ccd_pixel_um")


class Hxn(ScanFormat):
    """Reads scans of NSLS-II HXN."""

    name = "hxn"
    title = "NSLS-II HXN"
    extensions = (".h5", ".hdf5")
    reads = "Scans of NSLS-II HXN: `scan_*.h5` of ptycho_gui with `diffamp`, and dumps of holoptycho with `dp`."
    recognized_by = "`diffamp` or `dp`, with `points`"
    conventions = (
        "`diffamp` is the square root of counts, with zero frequency shifted to `[0, 0]` and each frame turned by 90 degrees: "
        "it is squared, shifted and turned back.",
        "`points` of a file with `diffamp` is (2, frame), micrometres: rows = −points[1], columns = points[0].",
        "`dp` is counts with zero frequency in the middle; its `points` are (slow, fast): rows = points[0], columns = points[1]. "
        "Frames whose point is not finite are left out.",
        "`lambda_nm`, `z_m`, `ccd_pixel_um` are wavelength, distance and detector pixel; `angle` and others are left aside.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By frames and points in one file."""
        key = next((key for key in ("diffamp", "dp") if source.has(key, "points")), None)
        if key is None:
            return Evidence(Strength.NAMES, "has 'diffamp'") if source.has("diffamp") else None
        sure = source.has("lambda_nm") or source.has("ccd_pixel_um") or key == "diffamp"
        return Evidence(Strength.LAYOUT if sure else Strength.NAMES, f"has '{key}' and 'points'")

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file, notes = source.hdf5, list[str]()
        old = file.has("diffamp")
        key = "diffamp" if old else "dp"
        if not old and (turned := file.text("/", "dp_orient")):
            notes.append(
                f"Orientation: holoptycho turned the frames ({turned:.40}) before it stored them; they are taken as they are."
            )
        points = _points(file) if file.has("points") else None
        if points is not None:
            points = points[:, ::-1] * (-1.0, 1.0) if old else points
        return RawScan(
            file.frames(key), f"'{key}'", points, "'points'", unit=file.unit("points", "um") if points is not None else "um",
            window="center", signal="amplitude" if old else "counts", zero="shifted" if old else "center",
            turning=_BACK if old else AS_STATED, stated=_stated(file, notes), notes=tuple(dict.fromkeys(notes)),
            used=tuple(name for name in (key, "points", *_GEOMETRY) if file.has(name)),
        )  # fmt: skip


def _points(file: Hdf5Source) -> NDArray[np.float64]:
    """(frame, 2), in the order of the file."""
    points = file.floats("points", [2])
    if 2 not in points.shape:
        raise DataError(f"{file.where('points')} has shape {points.shape}; it must be (2, frame).")
    return points.T if points.shape[0] == 2 else points


def _stated(file: Hdf5Source, notes: list[str]) -> dict[str, Stated]:
    found = dict[str, Stated]()
    if (distance := detector_distance(file, "z_m", "m", notes)) is not None:
        found["detector_distance_m"] = distance
    if (pitch := square_pixel(file, "ccd_pixel_um", "um", notes)) is not None:
        found["detector_pixel_size_m"] = pitch
    if (energy := wavelength_energy(file, "lambda_nm", "nm", notes)) is not None:
        found["photon_energy_ev"] = energy
    return found
