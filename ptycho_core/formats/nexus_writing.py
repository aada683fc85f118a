"""NXcxi_ptycho as it is written: the fields that the NeXus definition requires, under the names of CXI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np

from ptycho_core.formats.contents import PatternStream
from ptycho_core.formats.cxi_writing import DETECTOR, SOURCE, TRANSLATION, bad_bits, sample_moves
from ptycho_core.formats.hdf5_file import put_patterns, stream_hdf5
from ptycho_core.physics.geometry import wavelength
from ptycho_core.units import ENERGIES

if TYPE_CHECKING:
    from pathlib import Path

    from ptycho_core.formats.contents import Contents
    from ptycho_core.scan.scan import Steps

__all__ = ["write_nexus"]

_BEAM: Final = "entry_1/instrument_1/beam_1"
_MOVES: Final = "entry_1/sample_1/transformations"

_CLASSES: Final = {
    "entry_1": "NXentry", "entry_1/instrument_1": "NXinstrument", SOURCE: "NXsource", _BEAM: "NXbeam", DETECTOR: "NXdetector",
    f"{DETECTOR}/transformations": "NXtransformations", "entry_1/sample_1": "NXsample", _MOVES: "NXtransformations",
    "entry_1/sample_1/geometry_1": "NXcollection", "entry_1/data_1": "NXcollection", "entry_1/data": "NXdata",
}  # fmt: skip
"""The class of each group."""

_UNKNOWN: Final = (
    "'source_1/energy' (of the machine), 'source_1/probe', 'source_1/type' and 'beam_1/incident_energy_spread', which the "
    "definition requires, are not known: they are NaN."
)


def write_nexus(contents: Contents, path: Path, progress: Steps | None) -> tuple[str, ...]:
    """See `ptycho_core.formats.interface.ScanFormat.write`."""
    assert contents.patterns is not None
    stream = PatternStream(contents.patterns, signed=True)
    whole = stream.take_whole_numbers()

    def fill(storage: Any) -> None:  # noqa: ANN401 - a binary file of Python's
        with h5py.File(storage, "w") as file:
            file["cxi_version"] = 160
            file.attrs["default"] = "entry_1"
            for key, name in _CLASSES.items():
                file.create_group(key).attrs["NX_class"] = name
            file["entry_1"].attrs["default"] = "data"
            file["entry_1/definition"], file["entry_1/title"] = "NXcxi_ptycho", contents.name
            _beam(file, contents)
            _detector(file, contents)
            data = put_patterns(file, f"{DETECTOR}/data", stream, progress)
            data.attrs["units"], data.attrs["interpretation"] = "counts", "image"
            _motion(file, contents)
            _links(file)

    stream_hdf5(path, fill)
    text = "The definition asks for whole numbers in 'detector_1/data'; some of these counts are fractions."
    return (_UNKNOWN,) if whole else (_UNKNOWN, text)


def _put(file: h5py.File, key: str, value: Any, units: str) -> None:  # noqa: ANN401 - a number or an array
    file[key] = value
    file[key].attrs["units"] = units


def _beam(file: h5py.File, contents: Contents) -> None:
    energy = contents.photon_energy_ev
    assert energy is not None
    file[f"{SOURCE}/name"] = "not known"
    file[f"{SOURCE}/probe"] = file[f"{SOURCE}/type"] = np.nan  # numbers in the definition, though names elsewhere in NeXus
    _put(file, f"{SOURCE}/energy", np.nan, "J")
    _put(file, f"{SOURCE}/wavelength", wavelength(energy), "m")  # by which readers of CXI find the photons
    for name in ("energy", "incident_beam_energy"):
        _put(file, f"{_BEAM}/{name}", energy / ENERGIES["J"], "J")
    _put(file, f"{_BEAM}/incident_energy_spread", np.nan, "J")


def _detector(file: h5py.File, contents: Contents) -> None:
    group = file[DETECTOR]
    group.attrs["axes"], group.attrs["signal"] = "[, data]", "data"
    _put(file, f"{DETECTOR}/distance", contents.detector_distance_m, "m")
    rows = contents.detector_pixel_size_m
    for axis, pitch in (("x", contents.detector_pixel_width_m or rows), ("y", rows)):
        _put(file, f"{DETECTOR}/{axis}_pixel_size", pitch, "m")
    file[f"{DETECTOR}/transformations/vector"] = np.array([0.0, 0.0, 1.0])
    file[f"{DETECTOR}/mask"] = bad_bits(contents)
    file[f"{DETECTOR}/data_1"] = h5py.SoftLink(f"/{DETECTOR}/data")


def _motion(file: h5py.File, contents: Contents) -> None:
    """The motion as CXI has it, and by its axes."""
    moved = sample_moves(contents)
    _put(file, f"{DETECTOR}/translation", moved, "m")
    file[f"{DETECTOR}/translation"].attrs.update({"axes": "translation:y:x", "interpretation": "image"})
    file[_MOVES].attrs["vector"] = np.array([1.0, 1.0, 0.0])
    for number, axis in enumerate("xy"):
        _put(file, f"{_MOVES}/{axis}", moved[:, number], "m")
        vector = np.eye(3)[number]
        entries = {"vector": vector, "transformation_type": "translation", "depends_on": "." if axis == "x" else f"/{_MOVES}/x"}
        file[f"{_MOVES}/{axis}"].attrs.update(entries)


def _links(file: h5py.File) -> None:
    for place in ("entry_1/data_1/translation", TRANSLATION):
        file[place] = h5py.SoftLink(f"/{DETECTOR}/translation")
    file["entry_1/data_1/data"] = h5py.SoftLink(f"/{DETECTOR}/data")
    data = file["entry_1/data"]
    data.attrs["signal"], data.attrs["axes"] = "data", ["x", ".", "."]
    data["data"] = h5py.SoftLink(f"/{DETECTOR}/data")
    for axis in "xy":
        data[axis] = h5py.SoftLink(f"/{_MOVES}/{axis}")
        data[f"{axis}_indices"] = "0"
        data.attrs[f"{axis}_indices"] = 0
