"""Prepared scans of PtychoShelves: ``S*_data_*.h5``, HDF5 with ``measurement/n0`` and ``detector/n0``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.hdf5_positions import vectors
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Strength

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source

__all__ = ["PtychoShelves"]

_SCANS: Final = "measurement"


class PtychoShelves(ScanFormat):
    """Reads prepared scans of PtychoShelves."""

    name = "ptychoshelves"
    title = "PtychoShelves prepared data"
    extensions = (".h5",)
    reads = "Scans that PtychoShelves and fold_slice have prepared (`S*_data_*.h5`, format 2, as their `prep_h5data` writes it)."
    recognized_by = "`measurement/n0/data` and `measurement/n0/positions`"
    conventions = (
        "`data` is (frame, row, column), counts, with zero frequency at `[0, 0]`; unlike those of `dp`, frames lie as they are.",
        "`positions` is (frame, 2), whole object pixels, row first: the corner of each window.",
        "`detector/n0/bad_pixels` is (pixel, 2), row and column, counted from 0; what lies outside of all `modules` is bad, too.",
        "Of several scans the first, `n0`, is read, or that of `--dataset measurement/n1`.",
        "The file states no geometry: lengths need `--photon-energy-ev`, `--detector-distance-m`, `--detector-pixel-size-m`.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By the groups of a first scan."""
        if source.has(f"{_SCANS}/n0/data", f"{_SCANS}/n0/positions"):
            return Evidence(Strength.LAYOUT, f"has {_SCANS}/n0 with data and positions")
        return None

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file, notes = source.hdf5, list[str]()
        scans = [f"{_SCANS}/{name}" for name in file.members(_SCANS) if file.has(f"{_SCANS}/{name}/data")]
        if not scans:
            raise DataError(f"{file.path} has no scan '{_SCANS}/n0' with data.")
        scan = next((one for one in scans if source.dataset in (one, f"{one}/data")), scans[0])
        if len(scans) > 1 and not source.dataset:
            notes.append(f"Scans: '{scan}' is read; there are {len(scans)}: {', '.join(scans[:8])} (--dataset).")
        frames = file.frames(f"{scan}/data")
        places = f"{scan}/positions"
        positions = vectors(file, places, frames.shape[0])[:, :2] if file.has(places) else None
        mask = _good(file, scan, frames.shape[1:])
        return RawScan(
            frames, f"'{scan}/data'", positions, f"'{places}'", signal="counts", zero="shifted", mask=mask,
            mask_key=f"the detector of '{scan}'", notes=tuple(notes), used=(f"{scan}/data", places),
        )  # fmt: skip


def _good(file: Hdf5Source, scan: str, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """The good pixels of a frame as it is stored; None where the file does not say.

    Raises:
        DataError: a pixel lies outside of the frames.
    """
    number = np.asarray(file.attribute(scan, "detector"))
    detector = f"detector/n{int(number.reshape(-1)[0]) if number.dtype.kind in 'iuf' and number.size else 0}"
    modules, bad = f"{detector}/modules", (f"{detector}/bad_pixels", f"{scan}/bad_pixels")
    found = [key for key in bad if file.has(key)]
    if not found and not file.has(modules):
        return None
    good = np.ones(shape, dtype=np.bool_)
    if file.has(modules) and (boxes := file.array(modules, [2])).size:
        if boxes.shape[1] != 4:
            raise DataError(
                f"{file.where(modules)} has shape {boxes.shape}; modules are (module, 4): rows, columns, first of each."
            )
        good[:] = False
        for rows, columns, row, column in boxes.astype(np.int64):
            good[max(row, 0) : row + rows, max(column, 0) : column + columns] = True
    for key in found:
        pixels = file.array(key, [1, 2])
        if not pixels.size:
            continue
        places = pixels.reshape(-1, 2).astype(np.int64)
        if pixels.shape[-1] != 2 or (places < 0).any() or (places >= shape).any():
            raise DataError(f"{file.where(key)}, shape {pixels.shape}, names pixels outside of {shape[0]} x {shape[1]}.")
        good[places[:, 0], places[:, 1]] = False
    return good
