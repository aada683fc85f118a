"""Scans and results of ptycho in ptychodus, which opens every module of this folder.

Nothing here keeps it from starting: what is needed is imported when it is used, and a failure to register is a line in the log.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["register_plugins"]

_SCANS = "Scans and results that ptycho reads (*.npz *.h5 *.hdf5 *.cxi *.nxs *.emd *.mat)"
_RESULTS = "Results of ptycho (*.h5)"


class Frames:
    """Reads the patterns of a scan: detector counts, zero frequency in the middle."""

    def read(self, file_path: Path) -> Any:  # noqa: ANN401 - of ptychodus
        """The data set of a scan in any format that ptycho reads; one that cannot be read is a ``DataError``."""
        import numpy as np
        from ptychodus.api import diffraction as api
        from ptychodus.api.geometry import ImageExtent, PixelGeometry

        from ptycho_core import open_scan

        scan = open_scan(file_path)
        patterns, scale = scan.patterns.read(slice(None)), scan.geometry
        known = {} if scale is None else {
            "detector_distance_m": scale.detector_distance_m, "photon_energy_eV": scale.photon_energy_ev,
            "detector_pixel_geometry": PixelGeometry(scale.detector_pixel_size_m, scale.detector_pixel_size_m),
        }  # fmt: skip
        told = api.DiffractionMetadata(
            [len(scan)], patterns.dtype, ImageExtent(scan.size, scan.size), file_path=file_path, **known
        )
        tree = api.DiffractionDatasetLayoutNode.create_root()
        tree.add_child(file_path.stem, scan.format, f"{patterns.dtype}{patterns.shape}")
        array = api.SimpleDiffractionArray(label=file_path.stem, indexes=np.arange(len(scan)), patterns=patterns)
        return api.SimpleDiffractionDataset(told, tree, [array], bad_pixels=~scan.mask)


class Products:
    """Reads the product of a result, or of a scan, whose object is 1 throughout where it has none; and writes a result."""

    def read(self, file_path: Path) -> Any:  # noqa: ANN401 - of ptychodus
        """The product; a file that lacks what a product needs is a ``DataError``."""
        import numpy as np
        from ptychodus.api.probe_positions import ProbePosition
        from ptychodus.api.product import ProductMetadata

        from ptycho_core import load_reconstruction, open_scan
        from ptycho_core.errors import DataError
        from ptycho_core.formats.product import is_own_result, title_and_scale
        from ptycho_core.scan.canvas import object_canvas
        from ptycho_ptychodus.data import placed

        if is_own_result(file_path):
            found: dict[str, Any] = vars(load_reconstruction(file_path))
        else:
            scan = open_scan(file_path)
            image, origin = scan.object_guess, np.zeros(2)
            if image is None:
                origin, shape = object_canvas(scan.positions, scan.size)
                image = np.ones(shape, complex)
            found = {"object": image, "probe": scan.probe, "positions": scan.positions - origin, "origin": origin}
            found |= {"comments": "", **title_and_scale(scan)}
        scale = [found.get(name) for name in ("pixel_size_m", "photon_energy_ev", "detector_distance_m")]
        if None in scale or found["probe"] is None:
            raise DataError(
                f"{file_path} lacks a probe, the photon energy, the distance or the pixel, which a product of ptychodus needs.",
                remedy="State what is missing by flags of 'ptycho convert FILE OUT.h5 --to ptychodus', and open that.",
            )
        (pixel, _), energy, distance = scale
        numbers = np.arange(len(found["positions"])) if found["frames"] is None else found["frames"]
        power = float((np.abs(found["probe"]) ** 2).sum())
        return placed(
            **{name: np.asarray(found[name]) for name in ("object", "probe", "positions", "origin")}, pixel=pixel,
            shift=(found["probe"].shape[-1] - 1) / 2, points=[ProbePosition(int(one), 0.0, 0.0) for one in numbers],
            metadata=ProductMetadata(found["name"], found["comments"], distance, energy, power, 0.0, 0.0, 0.0),
        )  # fmt: skip

    def write(self, file_path: Path, product: Any) -> None:  # noqa: ANN401 - of ptychodus
        """Write ``reconstruction.h5`` of ptycho."""
        from pathlib import Path
        from tempfile import TemporaryDirectory

        from ptychodus.api.io import save_product

        from ptycho_core import Reconstruction
        from ptycho_core.formats.product import read_object

        with TemporaryDirectory() as folder:
            save_product(place := Path(folder) / "product.h5", product)
            found = read_object(place)
        told, pixel = product.metadata, product.object_.get_pixel_geometry()
        Reconstruction(
            found.object, found.probe, found.positions, frames=found.frames, pixel_size_m=(pixel.height_m, pixel.width_m),
            photon_energy_ev=told.photon_energy_eV, detector_distance_m=told.detector_distance_m, name=told.name,
            comments=told.comments,
        ).save(file_path)  # fmt: skip


def register_plugins(registry: Any) -> None:  # noqa: ANN401 - of ptychodus
    """Register them, or say in the log why not."""
    try:
        registry.diffraction_file_readers.register_plugin(Frames(), simple_name="ptycho", display_name=_SCANS)
        registry.register_product_file_reader_with_adapters(Products(), simple_name="ptycho", display_name=_SCANS)
        registry.product_file_writers.register_plugin(Products(), simple_name="ptycho", display_name=_RESULTS)
    except Exception:
        logging.getLogger(__name__).exception("The files of ptycho cannot be opened here.")
