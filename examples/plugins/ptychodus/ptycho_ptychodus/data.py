"""Data of ptychodus and of ptycho, of which each reads the other's files.

What goes over to a job are ptychodus' own files, which ptycho reads as any scan; what comes back are its products. Its readers
and writers of files make the same of scans and results that people open.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ptychodus.api import diffraction, geometry, io
from ptychodus.api.assemble import AssembledDiffractionData
from ptychodus.api.object import Object, ObjectCenter
from ptychodus.api.probe import ProbeSequence
from ptychodus.api.probe_positions import ProbePositionSequence
from ptychodus.api.product import LossValue, Product

import ptycho_core
from ptycho_core.errors import DataError
from ptycho_core.formats.product import read_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from ptychodus.api.reconstruct import ReconstructInput

__all__ = ["Frames", "Products", "hand_over", "stated_by", "taken_back"]

_PARTS: Final = ("object", "probe", "positions", "frames", "pixel_size_m", "photon_energy_ev", "detector_distance_m")
"""Of a result, what a product has too."""


def hand_over(given: ReconstructInput, folder: Path) -> NDArray[np.float64]:
    """Write what ptychodus hands over as ``diffraction.h5`` and ``product.h5``, paired as they are: both are numbered 0, 1, 2 ….

    Args:
        given: patterns and positions, paired by ptychodus.
        folder: where the files go.

    Returns:
        (2,), float64, object pixels: the middle of a window in ptychodus less the position of the window in ptycho.

    Raises:
        DataError: they cannot be read as a scan.
    """
    product, numbers = given.product, np.arange(len(given.diffraction_patterns))
    points = [replace(one, index=number) for number, one in enumerate(product.probe_positions)]
    # The pitch of the detector is not known here: the object's pixel, energy and distance are in the product.
    data = AssembledDiffractionData(numbers, given.diffraction_patterns, geometry.PixelGeometry(0.0, 0.0), given.bad_pixels)
    io.save_diffraction_data(io.StandardFileLayout.DIFFRACTION.path(folder), data)
    io.save_product(io.StandardFileLayout.PRODUCT.path(folder), replace(product, probe_positions=ProbePositionSequence(points)))
    metres = np.array([(one.y_m, one.x_m) for one in points])
    shift: NDArray[np.float64] = (metres / _pixel(product) - ptycho_core.open_scan(folder).positions).mean(axis=0)
    return shift


def stated_by(product: Product, folder: Path) -> dict[str, Any]:
    """The settings that a product states: its object as start, unless it is flat, and as many modes as its probe has."""
    image, modes = product.object_.get_array(), product.probes.get_array().shape[1]
    flat = len(image) != 1 or bool((image == image.flat[0]).all())
    start = {} if flat else {"start": str(io.StandardFileLayout.PRODUCT.path(folder))}
    return start | ({"modes": modes} if modes > 1 else {})


def taken_back(path: Path, given: Product, shift: NDArray[np.float64], losses: Sequence[LossValue]) -> Product:
    """A product in metres: in ptychodus the middles ``(N − 1) / 2`` of windows and ``(W − 1) / 2`` of the object have places.

    Args:
        path: a `ptycho_core.Reconstruction` that a job wrote; its frames are the numbers given by `hand_over`.
        given: what the job began with; its metadata and the numbers of its positions stay.
        shift: as `hand_over` gave it.
        losses: the course of the fit.
    """
    found, pixel = ptycho_core.load_reconstruction(path), _pixel(given)
    numbers = range(len(found.positions)) if found.frames is None else found.frames
    row, column = (found.origin + shift + (np.array(found.object.shape) - found.N) / 2) * pixel
    pairs = zip(numbers, (found.positions + found.origin + shift) * pixel, strict=True)
    points = [replace(given.probe_positions[int(number)], x_m=float(x), y_m=float(y)) for number, (y, x) in pairs]
    square = geometry.PixelGeometry(pixel, pixel)
    return Product(
        metadata=replace(given.metadata, probe_photon_count=float((np.abs(found.probe).astype(np.float64) ** 2).sum())),
        probe_positions=ProbePositionSequence(points),
        probes=ProbeSequence(array=found.probe, opr_weights=None, pixel_geometry=square),
        object_=Object(array=found.object, pixel_geometry=square, center=ObjectCenter(x_m=float(column), y_m=float(row))),
        losses=losses,
    )


def _pixel(product: Product) -> float:
    """The object's pixel in metres, as ptycho reads it."""
    return float(product.object_.get_pixel_geometry().width_m)


class Frames:
    """Reads the patterns of a scan: detector counts, zero frequency in the middle."""

    def read(self, file_path: Path) -> diffraction.SimpleDiffractionDataset:
        """The data set of a scan in any format that ptycho reads; one that cannot be read is a ``DataError``."""
        scan = ptycho_core.open_scan(file_path)
        patterns, scale, label = scan.patterns.read(slice(None)), scan.geometry, file_path.stem
        extent = geometry.ImageExtent(scan.size, scan.size)
        told = diffraction.DiffractionMetadata([len(scan)], patterns.dtype, extent, file_path=file_path)
        if scale is not None:
            pitch = geometry.PixelGeometry(scale.detector_pixel_size_m, scale.detector_pixel_size_m)
            energy, distance = scale.photon_energy_ev, scale.detector_distance_m
            told = replace(told, detector_distance_m=distance, photon_energy_eV=energy, detector_pixel_geometry=pitch)
        tree = diffraction.DiffractionDatasetLayoutNode.create_root()
        tree.add_child(label, scan.format, f"{patterns.dtype}{patterns.shape}")
        array = diffraction.SimpleDiffractionArray(label, np.arange(len(scan)), patterns)
        return diffraction.SimpleDiffractionDataset(told, tree, [array], bad_pixels=~scan.mask)


class Products:
    """Reads the product of a result, or of a scan, as ``ptycho convert --to ptychodus`` writes it; and writes a result."""

    def read(self, file_path: Path) -> Product:
        """The product; a file that lacks what a product needs is a ``DataError``."""
        with TemporaryDirectory() as folder:
            try:
                ptycho_core.convert(file_path, place := Path(folder) / "product.h5", "ptychodus")
                return io.load_product(place)
            except (DataError, KeyError) as error:  # the second where there is no probe
                why = f"{file_path} holds no probe. Give --probe." if isinstance(error, KeyError) else str(error)
                raise DataError(why, remedy="The flags are of 'ptycho convert FILE OUT.h5 --to ptychodus'.") from None

    def write(self, file_path: Path, product: Product) -> None:
        """Write ``reconstruction.h5`` of ptycho."""
        with TemporaryDirectory() as folder:
            io.save_product(place := Path(folder) / "product.h5", product)
            found, told = read_object(place), product.metadata
        parts = {name: getattr(found, name) for name in _PARTS}
        ptycho_core.Reconstruction(**parts, name=told.name, comments=told.comments).save(file_path)
