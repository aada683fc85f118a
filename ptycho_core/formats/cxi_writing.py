"""CXI 1.6 as it is written: a scan, a reconstruction as ptychodus lays it out in CXI, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np

from ptycho_core.formats.contents import PatternStream
from ptycho_core.formats.hdf5_file import put_patterns, stream_hdf5
from ptycho_core.formats.product_cxi import OWN_GROUP
from ptycho_core.physics.geometry import wavelength
from ptycho_core.units import ENERGIES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.contents import Contents
    from ptycho_core.scan.scan import Steps

__all__ = ["DETECTOR", "SOURCE", "TRANSLATION", "bad_bits", "sample_moves", "write_cxi"]

DETECTOR: Final = "entry_1/instrument_1/detector_1"
SOURCE: Final = "entry_1/instrument_1/source_1"
TRANSLATION: Final = "entry_1/sample_1/geometry_1/translation"
_INVALID: Final = 1
"""The bit of a CXI mask for a pixel that measures nothing."""


def write_cxi(contents: Contents, path: Path, progress: Steps | None) -> tuple[str, ...]:
    """See `ptycho_core.formats.interface.ScanFormat.write`."""

    def fill(storage: Any) -> None:  # noqa: ANN401 - a binary file of Python's
        with h5py.File(storage, "w") as file:
            file["cxi_version"], file["number_of_entries"] = 160, 1
            file["entry_1/title"] = contents.name
            _setup(file, contents)
            file[TRANSLATION] = sample_moves(contents)
            file["entry_1/data_1/translation"] = h5py.SoftLink(f"/{TRANSLATION}")
            if contents.patterns is not None:
                file[f"{DETECTOR}/mask"] = bad_bits(contents)
                put_patterns(file, f"{DETECTOR}/data", PatternStream(contents.patterns, signed=True), progress)
                file["entry_1/data_1/data"] = h5py.SoftLink(f"/{DETECTOR}/data")
            if contents.probe is not None:
                _put_probe(file, contents)
            if contents.object is not None:
                _put_object(file, contents)

    stream_hdf5(path, fill)
    return ()


def sample_moves(contents: Contents) -> NDArray[Any]:
    """Where the sample is, (frame, 3), metres: x and y of the middle of each window, along the detector's columns and rows.

    The window moves against the sample, and the usual basis vectors of the detector point down and against x, so that two minus
    signs cancel.
    """
    rows, columns = contents.metres((contents.size - 1) / 2).T
    return np.stack([columns, rows, np.zeros_like(rows)], axis=1)


def bad_bits(contents: Contents) -> NDArray[Any]:
    """The mask (row, column) as CXI has it, uint32: 0 at good pixels."""
    return np.where(contents.good, 0, _INVALID).astype(np.uint32)


def _setup(file: h5py.File, contents: Contents) -> None:
    energy, distance, pitch = contents.photon_energy_ev, contents.detector_distance_m, contents.detector_pixel_size_m
    assert energy is not None
    assert pitch is not None
    file[f"{SOURCE}/energy"] = energy / ENERGIES["J"]
    file[f"{SOURCE}/wavelength"] = wavelength(energy)
    file[f"{DETECTOR}/distance"] = distance
    width = contents.detector_pixel_width_m or pitch
    file[f"{DETECTOR}/x_pixel_size"], file[f"{DETECTOR}/y_pixel_size"] = width, pitch
    file[f"{DETECTOR}/basis_vectors"] = np.array([[0, -width], [-pitch, 0], [0, 0]])


def _put_probe(file: h5py.File, contents: Contents) -> None:
    assert contents.probe is not None
    _put_image(file, "image_1", contents.probe[np.newaxis], ("amplitude", "coherent:incoherent:y:x"), contents.object_pixels_m)
    file[f"{SOURCE}/illumination"] = h5py.SoftLink("/entry_1/image_1/data")
    own = file.require_group(OWN_GROUP)
    own["probe_pixel_height_m"], own["probe_pixel_width_m"] = contents.object_pixels_m
    if contents.probe_in_counts:
        own["probe_photon_count"] = float((np.abs(contents.probe).astype(np.float64) ** 2).sum())


def _put_object(file: h5py.File, contents: Contents) -> None:
    """The object, and what ptychodus has in its own group: its middle, the frame of each position, the course of the fit."""
    assert contents.object is not None
    _put_image(file, "image_2", contents.object[np.newaxis], ("electron density", "layer:y:x"), contents.object_pixels_m)
    own = file.require_group(OWN_GROUP)
    own["probe_position_indexes"] = contents.numbers
    own["object_pixel_height_m"], own["object_pixel_width_m"] = contents.object_pixels_m
    own["object_center_x_m"] = own["object_center_y_m"] = own["tomography_angle_deg"] = 0.0
    course = [(row["epoch"], row["loss"]) for row in contents.history if None not in (row.get("epoch"), row.get("loss"))]
    if course:
        own["loss_epochs"], own["loss_values"] = np.array([epoch for epoch, _ in course]), np.array([loss for _, loss in course])


def _put_image(file: h5py.File, name: str, values: NDArray[Any], meaning: tuple[str, str], pixels: tuple[float, float]) -> None:
    """An image of real space; ``meaning`` is the kind of its values and its axes."""
    group = file.create_group(f"entry_1/{name}")
    group.create_dataset("data", data=values).attrs["axes"] = meaning[1]
    group["data_type"], group["data_space"] = meaning[0], "real"
    group["image_size"] = np.array([values.shape[-1] * pixels[1], values.shape[-2] * pixels[0], 0])
