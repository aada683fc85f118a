"""CXI, the format of the Coherent X-ray Imaging Data Bank, with a scan in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.hdf5_masks import cxi_good, good_pixels
from ptycho_core.formats.hdf5_positions import OTHERS, moves, summed, vectors
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Stated, Strength
from ptycho_core.formats.nexus_groups import beam_energy, part, parts, signal_of
from ptycho_core.formats.plausible import detector_distance, photon_energy_of, pixel_pitch
from ptycho_core.formats.product_cxi import OWN_GROUP
from ptycho_core.formats.ptychodus import images_of_product

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.contents import Contents
    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source
    from ptycho_core.scan.scan import Steps

__all__ = ["Cxi"]

_ENTRIES: Final = ("entry_1", "entry", "entry1")
_MASKS: Final = ("mask", "mask_shared")
_ILLUMINATIONS: Final = ("illumination", "probe", "data_1/data")


class Cxi(ScanFormat):
    """Reads CXI 1.6 and earlier."""

    name = "cxi"
    title = "CXI"
    extensions = (".cxi",)
    reads = "Scans in CXI up to version 1.6, such as cdtools and PyNX write them: the first entry of a file."
    recognized_by = "`cxi_version` with frames, or frames with a translation"
    written_as = "cxi"
    writes = (
        "CXI 1.6: scans, as cdtools and ptychodus read them, and reconstructions, with probe and object in `image_1` and "
        "`image_2` and what CXI has no place for in `entry_1/ptychodus`, as ptychodus has it; or both."
    )
    needs = ("positions", "photon_energy_ev", "detector_distance_m", "detector_pixel_size_m")
    keeps = frozenset({"patterns", "mask", "probe", "probe scale", "object", "numbers", "history", "energy", "distance", "pixel"})
    conventions = (
        "`detector_1/data` is (frame, row, column), or (slow, fast, row, column) of a raster, counts with zero frequency in the "
        "middle. Of several detectors the first is read, or that of `--dataset`.",
        "`translation` is (frame, 3), metres: where the *sample* is, so that the window moves by minus it; also (3, frame), "
        "(frame, 2), or `x` and `y` apart. `basis_vectors`, (3, 2) or (2, 3), say along which directions the rows and columns of "
        "the detector lie; without them rows are down and columns along minus x.",
        "`mask` is a field of bits: 0 and 0x1000 (signal present) are good, all else is bad; one for each frame is read, too.",
        "`source_1/energy` is in joules; a value that can only be eV or keV is read so, with a note. Without it `wavelength` "
        "(metres) is read, or the energy of `beam_1` (eV).",
        "`detector_1/data_dark` is left aside: give it with `--dark`.",
        "Where ptychodus' group `entry_1/ptychodus` is there, `image_1` is the probe and `image_2` the object, on which the "
        "windows lie as `object_center_x_m` and `object_center_y_m` say.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By ``cxi_version`` next to frames; a file that states a definition of NeXus has its names and another meaning."""
        if not source.has() or (place := _find(source)) is None:
            return None
        if source.has("cxi_version") and not source.has(f"{place.entry}/definition"):
            return Evidence(Strength.STATED, f"has cxi_version and {place.frames}")
        if place.entry != _ENTRIES[0]:
            return None  # NeXus is like it but for the numbers
        moved = _translation(source.hdf5, place)
        return None if moved is None else Evidence(Strength.LAYOUT, f"has {place.frames} and {moved}")

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file, notes = source.hdf5, list[str]()
        if (place := _find(source)) is None:
            raise DataError(
                f"{file.path} has no frames: neither 'entry_1/data_1/data' nor 'entry_1/instrument_1/detector_1/data'."
            )
        frames = file.frames(place.frames, tuple(range(len(file.shape_of(place.frames)) - 2)))
        _tell(file, place, notes)
        none: tuple[None, str, tuple[str, ...]] = (None, "m", ())
        positions, unit, keys = none if source.positions else _positions(file, place, frames.shape[0], notes)
        mask = file.first(*(f"{place.detector}/{name}" for name in _MASKS))
        stated = _stated(file, place, notes)
        illuminated, probe = _probe(file, place, notes)
        used = [place.frames, *keys, mask, illuminated, *(one.key.strip("'") for one in stated.values())]
        raw = RawScan(
            frames, f"'{place.frames}'", positions, " and ".join(f"'{key}'" for key in keys), unit=unit, window="middle",
            signal="counts", stated=stated,
            mask=None if mask is None else good_pixels(file, mask, frames.shape[1:], cxi_good, notes), mask_key=f"'{mask}'",
            probe=probe, probe_key=f"'{illuminated}'", notes=tuple(notes), used=tuple(key for key in used if key),
        )  # fmt: skip
        if not file.has(OWN_GROUP):
            return raw
        images = {name: value for name, value in images_of_product(file, notes).items() if value is not None}
        return replace(raw, **images, notes=tuple(notes))

    def write(self, contents: Contents, path: Path, progress: Steps | None = None) -> tuple[str, ...]:
        """See `ScanFormat.write`."""
        from ptycho_core.formats.cxi_writing import write_cxi

        return write_cxi(contents, path, progress)


class _Place(NamedTuple):
    """Where things lie: the entry, its instrument, the detector that is read, its frames, and the frames of other detectors."""

    entry: str
    instrument: str
    detector: str
    frames: str
    others: tuple[str, ...]


def _find(source: Source) -> _Place | None:
    """The frames of a file: those of the data group, else of the first detector, or those that the user names."""
    file = source.hdf5
    for entry in filter(file.has, _ENTRIES):
        instrument = part(file, entry, "NXinstrument", "instrument")
        detectors = parts(file, instrument, "NXdetector", "detector") if instrument else []
        found = {f"{one}/data": one for one in detectors if _is_stack(file, f"{one}/data")}
        first = next(iter(detectors), f"{instrument or entry}/detector_1")
        shown = [
            key for group in parts(file, entry, "NXdata", "data") if (key := signal_of(file, group)) and _is_stack(file, key)
        ]
        keys = [*shown, *found]
        if not keys:
            continue
        named = [key for key in keys if source.dataset in (key, key.rpartition("/")[0])]
        chosen = (named or keys)[0]
        return _Place(entry, instrument or entry, found.get(chosen, first), chosen, tuple(key for key in found if key != chosen))
    return None


def _is_stack(file: Hdf5Source, key: str) -> bool:
    """Whether there is a dataset of frames, or one that lies in another file, of which `read` says what is wrong with it."""
    try:
        return file.has(key) and len(file.shape_of(key)) >= 3
    except DataError:
        return True


def _tell(file: Hdf5Source, place: _Place, notes: list[str]) -> None:
    """What is left aside."""
    if file.has("entry_2"):
        notes.append("Entries: the first one is read; there are more.")
    if file.has(f"{place.detector}/data_dark"):
        notes.append(f"'{place.detector}/data_dark' is left aside.")
    others = [key for key in place.others if key != f"{place.detector}/data"]
    if others:
        notes.append(f"Detectors: '{place.frames}' is read; others have frames, too: {', '.join(others[:8])} (--dataset).")


def _translation(file: Hdf5Source, place: _Place) -> str | None:
    """The dataset that says where the sample was."""
    sample = part(file, place.entry, "NXsample", "sample") or f"{place.entry}/sample_1"
    groups = (f"{sample}/geometry_1", f"{sample}/geometry", sample, place.frames.rpartition("/")[0], place.detector)
    return file.first(*(f"{group}/translation" for group in groups), f"{place.entry}/data_1/translation")


def _positions(
    file: Hdf5Source, place: _Place, frames: int, notes: list[str]
) -> tuple[NDArray[np.float64] | None, str, tuple[str, ...]]:
    """(frame, 2): how the window moves along the rows and the columns of the detector, the unit and the keys; None for none."""
    keys: tuple[str, ...]
    if (key := _translation(file, place)) is not None:
        moved, unit, keys = vectors(file, key, frames), file.unit(key, "m"), (key,)
    elif (apart := _apart(file, place)) is not None:
        moved, unit, keys = apart
    else:
        return None, "m", ()
    sample = np.zeros((len(moved), 3))
    sample[:, : moved.shape[1]] = moved
    return -sample @ np.linalg.pinv(_basis(file, place, notes)).T, unit, keys


def _apart(file: Hdf5Source, place: _Place) -> tuple[NDArray[np.float64], str, tuple[str, ...]] | None:
    """(frame, 2): x and y of the sample where each is a dataset, their unit, and the keys."""
    sample = part(file, place.entry, "NXsample", "sample") or f"{place.entry}/sample_1"
    for group in (f"{sample}/geometry_1", f"{sample}/transformations", sample, f"{place.entry}/data_1"):
        if found := moves(file, group):
            unit = file.unit(found["x"][0].key, "m")
            x, y = (summed(file, found[axis], unit) for axis in "xy")
            keys = tuple(one.key for axis in "xy" for one in found[axis])
            if len(x) != len(y):
                raise DataError(
                    f"{file.path}: {keys[0]} has {len(x)} values and {keys[-1]} {len(y)}; each is one a frame.", remedy=OTHERS
                )
            return np.stack([x, y], axis=1), unit, keys
    return None


def _basis(file: Hdf5Source, place: _Place, notes: list[str]) -> NDArray[np.float64]:
    """(3, 2): unit vectors along the rows' and the columns' direction of the detector."""
    usual = np.array([[0.0, -1.0], [-1.0, 0.0], [0.0, 0.0]])
    key = f"{place.detector}/basis_vectors"
    if not file.has(key):
        return usual
    basis = np.asarray(file.array(key, [2]), dtype=np.float64)
    basis = basis.T if basis.shape == (2, 3) else basis
    if basis.shape == (2, 2):
        basis = np.vstack([basis.T, np.zeros(2)])  # as (2, 3), without z
    if basis.shape != (3, 2):
        raise DataError(f"{file.where(key)} has shape {basis.shape}; one vector for each axis is (3, 2) or (2, 3).")
    if not basis.any():
        notes.append(f"{file.where(key)} is zero and is left aside: rows are taken to be down, and columns along minus x.")
        return usual
    lengths = np.linalg.norm(basis, axis=0)
    if not (lengths > 0).all() or np.linalg.matrix_rank(basis / lengths) < 2:
        raise DataError(f"{file.where(key)} does not span the detector: {basis.tolist()}.")
    return np.asarray(basis / lengths)


def _stated(file: Hdf5Source, place: _Place, notes: list[str]) -> dict[str, Stated]:
    illuminated = part(file, place.instrument, "NXsource", "source") or f"{place.instrument}/source_1"
    beam = part(file, place.instrument, "NXbeam", "beam") or f"{place.instrument}/beam_1"
    energy = photon_energy_of(file, f"{illuminated}/energy", "J", notes)
    if energy is None:
        energy = beam_energy(file, (illuminated, beam), "m", notes)
    distance = detector_distance(file, f"{place.detector}/distance", "m", notes) or _corner(file, place)
    known = {"photon_energy_ev": energy, "detector_distance_m": distance}
    found = {name: one for name, one in known.items() if one is not None}
    return found | pixel_pitch(file, place.detector, "m", notes)


def _corner(file: Hdf5Source, place: _Place) -> Stated | None:
    """The distance as z of the detector's corner, where nothing else states it."""
    key = f"{place.detector}/corner_position"
    if not file.has(key) or file.size_of(key) != 3:
        return None
    z = float(file.array(key, [1, 2]).reshape(-1)[2])
    return Stated(abs(z), f"'{key}'") if z else None


def _probe(file: Hdf5Source, place: _Place, notes: list[str]) -> tuple[str | None, NDArray[Any] | None]:
    """The key of the illumination, and what it holds; None for one that is not complex."""
    illuminated = part(file, place.instrument, "NXsource", "source") or f"{place.instrument}/source_1"
    key = file.first(*(f"{illuminated}/{name}" for name in _ILLUMINATIONS), f"{place.detector}/probe")
    if key is None:
        return None, None
    values = file.array(key, [2, 3, 4])
    if not np.iscomplexobj(values):
        notes.append(f"Probe: {file.where(key)} of type {values.dtype} is not complex and is left aside.")
        return key, None
    return key, values.reshape(-1, *values.shape[-2:])
