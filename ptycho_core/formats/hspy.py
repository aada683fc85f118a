"""Scans of electrons in HyperSpy's own format, ``.hspy``: HDF5 with the axes as attributes of groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.formats.electron_grid import Axis, chosen_cube, electron_energy, pixel_axes, scan_of_cube
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Stated, Strength

if TYPE_CHECKING:
    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source

__all__ = ["Hspy"]

_EXPERIMENTS: Final = "Experiments"
_AXES: Final = 4
_MICROSCOPE: Final = "metadata/Acquisition_instrument/TEM"


class Hspy(ScanFormat):
    """Reads HyperSpy's own files."""

    name = "hspy"
    title = "HyperSpy"
    extensions = (".hspy",)
    reads = "Scans of electrons that HyperSpy saves in its own format, `.hspy`; `.zspy` is none of them."
    recognized_by = "`file_format` HyperSpy and an experiment with four axes"
    conventions = (
        "`Experiments/NAME/data` is counts; `axis-0` to `axis-3` state `name`, `scale`, `offset` and `units`. Those that "
        "HyperSpy navigates, else those whose unit is a length, are those of the scan, the slow one first.",
        "A step of the detector in 1/length gives the object's pixel, one in mrad does so with the energy.",
        "`beam_energy` (keV) and `camera_length` (mm) are those of electrons, with the relativistic wavelength.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By the format that the file states, and data with four axes."""
        if not source.has() or not source.hdf5.text("/", "file_format").lower().startswith("hyperspy"):
            return None
        cubes = _cubes(source.hdf5)
        return Evidence(Strength.STATED, f"is of HyperSpy, with four axes in '{cubes[0]}'") if cubes else None

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file, notes = source.hdf5, list[str]()
        key = chosen_cube(source, _cubes(file), file.shape_of)
        group, shape = key.rpartition("/")[0], file.shape_of(key)
        axes = [_axis(file, f"{group}/axis-{place}", length) for place, length in enumerate(shape)]
        pixels = _signal_axes(file, group) or pixel_axes(axes) or (2, 3)
        rows, columns = (place for place in range(_AXES) if place not in pixels)
        energy, camera = (_microscope(file, group, name) for name in ("beam_energy", "camera_length"))
        return scan_of_cube(
            file, key, axes, [f"{group}/axis-{place}" for place in range(_AXES)], (rows, columns, *pixels),
            electron_energy([energy], notes), None if camera[0] is None else Stated(camera[0] * 1e-3, camera[1]), notes,
        )  # fmt: skip


def _cubes(file: Hdf5Source) -> list[str]:
    """Keys of the arrays with four axes."""
    keys = [f"{_EXPERIMENTS}/{name}/data" for name in file.members(_EXPERIMENTS)]
    return [key for key in keys if file.is_numbers(key) and len(file.shape_of(key)) == _AXES]


def _axis(file: Hdf5Source, key: str, length: int) -> Axis:
    if not file.has(key):
        return Axis("", "", np.arange(length, dtype=np.float64))
    scale, offset = (_attribute(file, key, name) for name in ("scale", "offset"))
    points = np.arange(length, dtype=np.float64) * (1.0 if scale is None else scale) + (offset or 0.0)
    return Axis(file.text(key, "name"), "" if scale is None else file.text(key, "units").strip(), points)


def _attribute(file: Hdf5Source, key: str, name: str) -> float | None:
    value: Any = np.asarray(file.attribute(key, name))
    return float(value.reshape(())) if value.dtype.kind in "iuf" and value.size == 1 and np.isfinite(value) else None


def _signal_axes(file: Hdf5Source, group: str) -> tuple[int, int] | None:
    """The two axes that HyperSpy does not navigate; None where it does not say."""
    navigated = [np.asarray(file.attribute(f"{group}/axis-{place}", "navigate")) for place in range(_AXES)]
    found = [place for place, one in enumerate(navigated) if one.dtype.kind == "b" and not one.any()]
    return (found[0], found[1]) if len(found) == 2 else None


def _microscope(file: Hdf5Source, group: str, name: str) -> tuple[float | None, str]:
    """A number that the metadata of the microscope state, and its key."""
    key = f"{group}/{_MICROSCOPE}"
    return (_attribute(file, key, name), f"'{key}@{name}'") if file.has(key) else (None, "")
