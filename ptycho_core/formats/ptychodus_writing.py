"""A file of ptychodus 1.7 as it is written: diffraction and product in one, so that it opens as either."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py

from ptycho_core.formats.contents import PatternStream
from ptycho_core.formats.hdf5_file import put_patterns, stream_hdf5
from ptycho_core.formats.product_hdf5 import Metres, fill_product

if TYPE_CHECKING:
    from pathlib import Path

    from ptycho_core.formats.contents import Contents
    from ptycho_core.scan.scan import Steps

__all__ = ["write_ptychodus"]

_NO_PROBE = "ptychodus opens it as diffraction only, since a product needs a probe: give one with --probe FILE."


def write_ptychodus(contents: Contents, path: Path, progress: Steps | None) -> tuple[str, ...]:
    """See `ptycho_core.formats.interface.ScanFormat.write`."""
    notes = () if contents.probe is None else contents.on_an_object()[2]

    def fill(storage: Any) -> None:  # noqa: ANN401 - a binary file of Python's
        with h5py.File(storage, "w") as file:
            if contents.probe is None:
                _places(file, contents)
            else:
                _product(file, contents)
            if contents.patterns is not None:
                data = put_patterns(file, "patterns", PatternStream(contents.patterns), progress)
                for side in ("width", "height"):
                    data.attrs[f"detector_pixel_{side}_m"] = contents.detector_pixel_size_m
                file["indexes"], file["bad_pixels"] = contents.numbers, ~contents.good

    stream_hdf5(path, fill)
    return notes if contents.probe is not None else (_NO_PROBE,)


def _product(file: h5py.File, contents: Contents) -> None:
    image, positions, _ = contents.on_an_object()
    pixel = contents.object_pixel_m
    assert pixel is not None
    arrays = {"object": image, "probe": contents.probe, "positions": positions, "frames": contents.frames}
    metres = Metres((pixel, pixel), contents.photon_energy_ev, contents.detector_distance_m)
    texts = {"name": contents.name, "comments": ""}
    fill_product(file, arrays | {"history": contents.history}, texts, metres, in_counts=contents.probe_in_counts)


def _places(file: h5py.File, contents: Contents) -> None:
    """Positions and scale under the names of a product, which without a probe is none."""
    file.attrs["name"], file.attrs["photon_energy_eV"] = contents.name, contents.photon_energy_ev
    file.attrs["detector_object_distance_m"] = contents.detector_distance_m
    file["probe_position_indexes"] = contents.numbers
    file["probe_position_y_m"], file["probe_position_x_m"] = contents.metres((contents.size - 1) / 2).T
