"""CXI, the format of the Coherent X-ray Imaging Data Bank, with a scan in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Stated, Strength
from ptycho_core.formats.plausible import detector_distance, photon_energy_of, square_pixel
from ptycho_core.formats.product_cxi import OWN_GROUP
from ptycho_core.formats.ptychodus import images_of_product
from ptycho_core.physics.geometry import photon_energy

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.contents import Contents
    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source
    from ptycho_core.scan.scan import Steps

__all__ = ["Cxi", "good_bits"]

_DETECTOR: Final = "entry_1/instrument_1/detector_1"
_SOURCE: Final = "entry_1/instrument_1/source_1"
_FRAMES: Final = ("entry_1/data_1/data", f"{_DETECTOR}/data")
_TRANSLATIONS: Final = (
    "entry_1/sample_1/geometry_1/translation", "entry_1/data_1/translation", f"{_DETECTOR}/translation",
)  # fmt: skip
_ILLUMINATIONS: Final = (f"{_SOURCE}/illumination", f"{_SOURCE}/data_1/data", f"{_DETECTOR}/probe")

_SIGNAL_PRESENT: Final = 0x00001000
"""A bit of a CXI mask that does not make a pixel bad."""


class Cxi(ScanFormat):
    """Reads CXI 1.6 and earlier."""

    name = "cxi"
    title = "CXI"
    extensions = (".cxi",)
    reads = "Scans in CXI up to version 1.6, such as cdtools writes them: the first entry of a file."
    recognized_by = "`cxi_version` with frames, or frames with a translation"
    written_as = "cxi"
    writes = (
        "CXI 1.6: scans, as cdtools and ptychodus read them, and reconstructions, with probe and object in `image_1` and "
        "`image_2` and what CXI has no place for in `entry_1/ptychodus`, as ptychodus has it; or both."
    )
    needs = ("positions", "photon_energy_ev", "detector_distance_m", "detector_pixel_size_m")
    keeps = frozenset({"patterns", "mask", "probe", "probe scale", "object", "numbers", "history", "energy", "distance", "pixel"})
    conventions = (
        "`detector_1/data` is (frame, row, column), counts with zero frequency in the middle.",
        "`translation` is (frame, 3), metres: where the *sample* is, so that the window moves by minus it. `basis_vectors`, "
        "(3, 2) or (2, 3), say along which directions the rows and columns of the detector lie; without them rows are down and "
        "columns along minus x.",
        "`mask` is a field of bits: 0 and 0x1000 (signal present) are good, all else is bad.",
        "`source_1/energy` is in joules; a value that can only be eV or keV is read so, with a note.",
        "`detector_1/data_dark` is left aside: give it with `--dark`.",
        "Where ptychodus' group `entry_1/ptychodus` is there, `image_1` is the probe and `image_2` the object, on which the "
        "windows lie as `object_center_x_m` and `object_center_y_m` say.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By ``cxi_version`` next to frames; a file that states a definition of NeXus has its names and another meaning."""
        if not (frames := next((key for key in _FRAMES if source.has(key)), None)):
            return None
        if source.has("cxi_version") and not source.has("entry_1/definition"):
            return Evidence(Strength.STATED, f"has cxi_version and {frames}")
        moved = any(source.has(key) for key in _TRANSLATIONS)
        return Evidence(Strength.LAYOUT, f"has {frames} and a translation") if moved else None

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file, notes = source.hdf5, list[str]()
        frames = file.first(*_FRAMES)
        if frames is None:
            raise DataError(f"{file.path} has no dataset '{_FRAMES[0]}'.")
        place = file.first(*_TRANSLATIONS)
        mask = f"{_DETECTOR}/mask"
        if file.has("entry_2"):
            notes.append("Entries: the first one is read; there are more.")
        if file.has(f"{_DETECTOR}/data_dark"):
            notes.append(f"'{_DETECTOR}/data_dark' is left aside.")
        stated = _stated(file, notes)
        illuminated = file.first(*_ILLUMINATIONS)
        used = [frames, place, mask if file.has(mask) else None, illuminated, *(one.key.strip("'") for one in stated.values())]
        raw = RawScan(
            file.frames(frames), f"'{frames}'", None if place is None else _positions(file, place), f"'{place}'",
            unit="m" if place is None else file.unit(place, "m"), window="middle", signal="counts", stated=stated,
            mask=good_bits(file, mask) if file.has(mask) else None, mask_key=f"'{mask}'",
            probe=None if illuminated is None else _probe(file, illuminated), probe_key=f"'{illuminated}'", notes=tuple(notes),
            used=tuple(key for key in used if key),
        )  # fmt: skip
        if not file.has(OWN_GROUP):
            return raw
        images = {name: value for name, value in images_of_product(file, notes).items() if value is not None}
        return replace(raw, **images, notes=tuple(notes))

    def write(self, contents: Contents, path: Path, progress: Steps | None = None) -> tuple[str, ...]:
        """See `ScanFormat.write`."""
        from ptycho_core.formats.cxi_writing import write_cxi

        return write_cxi(contents, path, progress)


def good_bits(file: Hdf5Source, key: str) -> NDArray[np.bool_]:
    """The good pixels (row, column) of a CXI mask."""
    bits = file.array(key, [2])
    if bits.dtype.kind not in "biu":
        raise DataError(f"{file.where(key)} is of type {bits.dtype}, shape {bits.shape}; a mask of bits is whole numbers.")
    good: NDArray[np.bool_] = (bits.astype(np.uint64) & ~np.uint64(_SIGNAL_PRESENT)) == 0
    return good


def _positions(file: Hdf5Source, key: str) -> NDArray[np.float64]:
    """(frame, 2): the window's motion along the rows and the columns of the detector."""
    moved = file.floats(key, [2])
    if moved.shape[1] != 3:
        raise DataError(f"{file.where(key)} has shape {moved.shape}; translations are (frame, 3): x, y, z.")
    basis = np.array([[0.0, -1.0], [-1.0, 0.0], [0.0, 0.0]])
    vectors = f"{_DETECTOR}/basis_vectors"
    if file.has(vectors):
        basis = np.asarray(file.array(vectors, [2]), dtype=np.float64)
        basis = basis.T if basis.shape == (2, 3) else basis
        if basis.shape != (3, 2):
            raise DataError(f"{file.where(vectors)} has shape {basis.shape}; one vector for each axis is (3, 2) or (2, 3).")
        lengths = np.linalg.norm(basis, axis=0)
        if not (lengths > 0).all() or np.linalg.matrix_rank(basis / lengths) < 2:
            raise DataError(f"{file.where(vectors)} does not span the detector: {basis.tolist()}.")
        basis = basis / lengths
    found: NDArray[np.float64] = -moved @ np.linalg.pinv(basis).T
    return found


def _stated(file: Hdf5Source, notes: list[str]) -> dict[str, Stated]:
    energy = photon_energy_of(file, f"{_SOURCE}/energy", "J", notes)
    wavelength = file.length(f"{_SOURCE}/wavelength")
    if energy is None and wavelength is not None and wavelength.value > 0:
        energy = Stated(photon_energy(wavelength.value), f"'{_SOURCE}/wavelength'")
    distance = detector_distance(file, f"{_DETECTOR}/distance", "m", notes)
    pixel = square_pixel(file, f"{_DETECTOR}/y_pixel_size", f"{_DETECTOR}/x_pixel_size", "m", notes)
    known = {"photon_energy_ev": energy, "detector_distance_m": distance, "detector_pixel_size_m": pixel}
    return {name: one for name, one in known.items() if one is not None}


def _probe(file: Hdf5Source, key: str) -> NDArray[Any] | None:
    values = file.array(key, [2, 3, 4])
    return None if not np.iscomplexobj(values) else values.reshape(-1, *values.shape[-2:])
