"""Scans of ptychodus: diffraction with the product that holds its positions, and training files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.files.plain import why_not_plain
from ptycho_core.formats.hdf5_masks import good_pixels, zero_is_good
from ptycho_core.formats.hdf5_source import Hdf5Source
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Stated, Strength
from ptycho_core.formats.kinds import HDF5, ZIP, kind_of
from ptycho_core.formats.npz_scan import npz_frames
from ptycho_core.formats.plausible import plausible
from ptycho_core.formats.product_cxi import OWN_GROUP as _IN_CXI
from ptycho_core.formats.product_npz import NpzReader
from ptycho_core.physics.geometry import photon_energy

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.contents import Contents
    from ptycho_core.formats.source import Source
    from ptycho_core.scan.frames import Frames
    from ptycho_core.scan.scan import Steps

    Store = Hdf5Source | NpzReader

__all__ = ["PtychodusPair", "PtychodusTraining", "images_of_product"]

_METRES: Final = ("probe_position_y_m", "probe_position_x_m")
_DP: Final = "dp"
"""The key of the frames in pairs of ptycho-vit and pty-chi."""

_SUFFIXES: Final = (".h5", ".hdf5", ".npz", ".cxi")
_SAME_POWER: Final = 1e-3


class PtychodusPair(ScanFormat):
    """Reads diffraction files of ptychodus, with the product."""

    name = "ptychodus"
    title = "ptychodus diffraction and product"
    extensions = (".h5", ".hdf5", ".npz")
    reads = (
        "`diffraction.h5` (or `.npz`) of ptychodus, with the product (`.h5`, `.npz`, `.cxi`) that holds the positions: the "
        "file of the same name with `product` for `diffraction`, or that of `--positions`. Either may be given, or their folder, "
        "or one file that is both. "
        "Pairs `*_dp.hdf5` and `*_para.hdf5` of ptycho-vit and pty-chi are such files, too."
    )
    recognized_by = "`patterns` with `indexes` or `bad_pixels`, or `probe_position_x_m`; `dp` next to a file with that"
    written_as = "ptychodus"
    writes = (
        "Scans and reconstructions for ptychodus 1.7, diffraction and product in one HDF5 file, which it opens as either. A scan "
        "without an object gets one that is 1 throughout; one without a probe opens as diffraction only."
    )
    needs = ("positions", "photon_energy_ev", "detector_distance_m", "detector_pixel_size_m")
    keeps = frozenset({"patterns", "mask", "probe", "probe scale", "object", "numbers", "history", "energy", "distance", "pixel"})
    conventions = (
        "`patterns` is (frame, row, column), counts with zero frequency in the middle; `bad_pixels` is True = bad.",
        "Frames and positions pair by value: `indexes` and `probe_position_indexes`; of several of one the mean is taken.",
        "`probe_position_x_m` is the column and `probe_position_y_m` the row of a window's middle `(N − 1) / 2`, in metres; "
        "`center_x_m`, `center_y_m` of the object are at its middle.",
        "The object's pixel is that of the product; energy and distance are, too. Of several OPR modes of the probe the first is "
        "taken, and an object of several layers is left aside.",
        "`dp` of a pair is (frame, row, column), counts; `probe` next to it is (mode, slice, row, column), too. `dx` and "
        "`lambda` (metres) state the scale where the object does not.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By the names of what it holds."""
        if source.kind == "folder":
            found = _in_folder(source)
            return None if found is None else Evidence(Strength.LAYOUT, f"has {found[0].name} and {found[1].name}")
        if source.has("patterns") and not source.has("probe_position_x_px"):
            sure = source.has("indexes") or source.has("bad_pixels")
            return Evidence(Strength.LAYOUT if sure else Strength.NAMES, "has patterns" + " with indexes" * source.has("indexes"))
        if source.holds("patterns", "indexes"):
            return Evidence(Strength.LAYOUT, "has 'patterns' and 'indexes'")
        if source.has("dp") and (para := _pair(source)[1]) is not None:
            return Evidence(Strength.STATED, f"has 'dp', and {para.name} positions in metres under the names of ptychodus")
        if source.has(*_METRES) or source.holds(*_METRES) or source.has(f"{_IN_CXI}/probe_position_indexes"):
            return Evidence(Strength.LAYOUT, "is a product, which holds positions in metres")
        return None

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        diffraction, product = _pair(source)
        frames, key, store = _diffraction(source, diffraction)
        stated, used = dict[str, Stated](), [key]
        if (pitch := _pitch(store)) is not None:
            stated["detector_pixel_size_m"] = pitch
        notes = list[str]()
        mask = _mask(store, frames, notes)
        used += [] if mask is None else ["bad_pixels"]
        numbers = _whole(store, "indexes")
        used += [] if numbers is None else ["indexes"]
        common: dict[str, Any] = {"mask": mask, "mask_key": "'bad_pixels'", "signal": "counts", "frame_numbers": numbers}
        if product is None:
            return RawScan(frames, f"'{key}'", None, stated=stated, used=tuple(used), notes=tuple(notes), **common)
        return _with_product(source, product, frames, key, stated, used, notes, common)

    def write(self, contents: Contents, path: Path, progress: Steps | None = None) -> tuple[str, ...]:
        """See `ScanFormat.write`."""
        from ptycho_core.formats.ptychodus_writing import write_ptychodus

        return write_ptychodus(contents, path, progress)


class PtychodusTraining(ScanFormat):
    """Reads training files of ptychodus."""

    name = "ptychodus_training"
    title = "ptychodus training"
    extensions = (".h5", ".hdf5")
    reads = "Training files of ptychodus 1.7: frames, positions, probe and object in one HDF5 file."
    recognized_by = "`patterns` and `probe_position_x_px`"
    conventions = (
        "`patterns` is (frame, row, column), counts; `bad_pixels` is True where a pixel is bad.",
        "`probe_position_x_px` is the column and `probe_position_y_px` the row of a window's middle `(N − 1) / 2`, in pixels of "
        "`object`.",
        "`object_pixel_width_m`, `detector_object_distance_m` and `photon_energy_eV` give the scale.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By the names of what it holds."""
        if source.has("patterns", "probe_position_x_px", "probe_position_y_px"):
            return Evidence(Strength.STATED, "has patterns, probe_position_x_px and probe_position_y_px")
        return None

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file, notes = source.hdf5, list[str]()
        columns = [file.floats(key, [1, 2]).reshape(-1) for key in ("probe_position_y_px", "probe_position_x_px")]
        if len(columns[0]) != len(columns[1]):
            raise DataError(f"{file.path}: 'probe_position_y_px' and 'probe_position_x_px' are of different length.")
        probe, in_counts = _probe(file, notes)
        guess = _object(file, notes)
        frames = file.frames("patterns")
        bad = _mask(file, frames, notes)
        used = ["patterns", "probe_position_y_px", "probe_position_x_px", "bad_pixels", "probe", "object"]
        return RawScan(
            frames, "'patterns'", np.stack(columns, axis=1), "'probe_position_y_px' and 'probe_position_x_px'",
            window="middle", signal="counts", stated=_scale(file, notes), mask=bad, mask_key="'bad_pixels'", probe=probe,
            probe_key="'probe'", probe_in_counts=in_counts, object_guess=guess, notes=tuple(notes),
            used=tuple(key for key in used if file.has(key)),
        )  # fmt: skip


def _with_product(
    source: Source,
    path: Path,
    frames: Frames,
    key: str,
    stated: dict[str, Stated],
    used: list[str],
    notes: list[str],
    common: dict[str, Any],
) -> RawScan:
    """The frames with the positions, the probe and the scale of a product."""
    store = _store(source, path)
    _check_far_field(store)
    positions, position_key = _positions(store, path)
    product_stated = {name: Stated(one.value, f"{one.key} of {path.name}") for name, one in _scale(store, notes).items()}
    prefix = f"{_IN_CXI}/" if f"{_IN_CXI}/probe_position_indexes" in store else ""
    numbers = _whole(store, f"{prefix}probe_position_indexes")
    numbers = _in_order(numbers, common, frames.shape[0], path, notes)
    images = images_of_product(store, notes, pair=key == _DP)
    return RawScan(
        frames, f"'{key}'", positions, f"{position_key} of {path.name}", unit="m", window="middle",
        stated=stated | product_stated, probe_key=f"the probe of {path.name}", position_numbers=numbers,
        used=(*used, *_METRES), **images, notes=tuple(notes), **common,
    )  # fmt: skip


def _in_order(
    numbers: NDArray[np.int64] | None, common: dict[str, Any], frames: int, path: Path, notes: list[str]
) -> NDArray[np.int64] | None:
    """The numbers of the positions; None where frames and positions pair in order, since one of the files numbers nothing.

    Frames without numbers are counted from 0, if those of the positions fit.
    """
    if numbers is None:
        common["frame_numbers"] = None
    elif common["frame_numbers"] is None:
        if not numbers.size or numbers.min() < 0 or numbers.max() >= frames:
            notes.append(f"Pairing: the frames have no 'indexes'; they go with the positions of {path.name} in order.")
            return None
        common["frame_numbers"] = np.arange(frames)
    return numbers


def images_of_product(store: Store, notes: list[str], *, pair: bool = False) -> dict[str, Any]:
    """Probe and object of a product, with its middle in metres, by the fields of a `RawScan`; ``notes`` are added to."""
    probe, in_counts = _probe(store, notes, pair=pair)
    return {
        "probe": probe, "probe_in_counts": in_counts, "object_guess": _object(store, notes), "object_center": _center(store),
    }  # fmt: skip


def _pair(source: Source) -> tuple[Path, Path | None]:
    """The diffraction file and the product; None for a product that must be given."""
    if source.kind == "folder":
        if (found := _in_folder(source)) is None:
            raise DataError(f"{source.path} holds no diffraction file with a product.")
        return found
    path = source.path
    if source.has("patterns", *_METRES):
        return path, path
    if source.has(*_METRES) or source.holds(*_METRES) or source.has(f"{_IN_CXI}/probe_position_indexes"):
        other = source.beside(*_partners(path, "product", "diffraction"), *_partners(path, "_para", "_dp"))
        if other is None:
            raise DataError(
                f"{path} is a product of ptychodus, which holds positions and no frames.",
                remedy="Give the diffraction file as SCAN, and this one with --positions.",
            )
        return other, path
    if source.positions is not None:
        return path, source.positions if _is_product(source, source.positions) else None
    pair = _partners(path, "_dp", "_para")
    names = [*_partners(path, "diffraction", "product"), *pair, *(f"product{suffix}" for suffix in _SUFFIXES)]
    other = source.beside(*(pair if source.has(_DP) else names))
    return path, other if other is not None and other != path and _is_product(source, other) else None


def _partners(path: Path, mine: str, other: str) -> list[str]:
    """Names of the other file of a pair."""
    stem = path.stem
    if mine not in stem and mine.startswith("_"):
        return []
    names = [stem.replace(mine, other)] if mine in stem else [f"{stem}_{other}"]
    return [f"{name}{suffix}" for name in names for suffix in _SUFFIXES if f"{name}{suffix}" != path.name]


def _in_folder(source: Source) -> tuple[Path, Path] | None:
    """``diffraction`` and ``product`` in the folder that is given, as the program writes them in one."""
    folder = source.path
    found = [
        next((folder / f"{name}{suffix}" for suffix in _SUFFIXES if not why_not_plain(folder / f"{name}{suffix}")), None)
        for name in ("diffraction", "product")
    ]
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def _is_product(source: Source, path: Path) -> bool:
    """Whether a file holds positions in metres under the names of a product; False where it cannot be read."""
    try:
        kind = "" if why_not_plain(path) else kind_of(path)
        if kind == HDF5 and (file := source.file.open_hdf5(path)) is not None:
            return file.has(*_METRES) or file.has(f"{_IN_CXI}/probe_position_indexes")
        return kind == ZIP and all(name in source.file.open_npz(path) for name in _METRES)
    except DataError:
        return False


def _store(source: Source, path: Path) -> Store:
    if kind_of(path) == ZIP:
        source.file.open_npz(source.take(path))
        return NpzReader(path, "product")
    return source.hdf5 if path == source.path else source.companion(path)


def _diffraction(source: Source, path: Path) -> tuple[Frames, str, Store]:
    store = _store(source, path)
    if isinstance(store, NpzReader):
        archive = source.file.open_npz(path)
        archive.require("patterns")
        if len(archive.headers["patterns"].shape) != 3:
            raise DataError(
                f"{path}: 'patterns' has shape {archive.headers['patterns'].shape}; (frame, row, column) is expected."
            )
        return npz_frames(archive, "patterns", "first"), "patterns", store
    key = store.first("patterns", _DP) or "patterns"
    return store.frames(key), key, store


def _whole(store: Store, key: str) -> NDArray[np.int64] | None:
    if key not in store:
        return None
    values = store.array(key, [1])
    if values.dtype.kind not in "iuf" or (values != np.rint(values)).any() or (np.abs(values.astype(np.float64)) >= 2**53).any():
        raise DataError(f"{store.path}: '{key}' has shape {values.shape} and type {values.dtype}; it must be whole numbers.")
    return values.astype(np.int64)


def _pitch(store: Store) -> Stated | None:
    found = []
    for name in ("detector_pixel_height_m", "detector_pixel_width_m"):
        value = store.number(name) if isinstance(store, NpzReader) else store.attribute(store.first("patterns", _DP) or "/", name)
        if value is not None and np.size(value) == 1 and float(np.asarray(value).reshape(())) > 0:
            found.append(Stated(float(np.asarray(value).reshape(())), f"'{name}'"))
    if len(found) == 2 and abs(found[0].value / found[1].value - 1) > _SAME_POWER:
        raise DataError(f"{store.path}: the detector's pixels are not square, {found[0].value:g} by {found[1].value:g} m.")
    return found[0] if found else None


def _positions(store: Store, path: Path) -> tuple[NDArray[np.float64], str]:
    """(position, 2), metres: y, x."""
    moved = "entry_1/sample_1/geometry_1/translation"
    if _METRES[0] not in store and moved in store:
        values = store.array(moved, [2]).astype(np.float64)
        if values.shape[1] != 3:
            raise DataError(f"{path}: '{moved}' has shape {values.shape}; translations are (frame, 3): x, y, z.")
        return values[:, 1::-1], f"'{moved}'"
    found = [
        store.floats(key, [1, 2]) if isinstance(store, Hdf5Source) else store.array(key, [1, 2]).astype(np.float64)
        for key in _METRES
    ]
    if found[0].size != found[1].size:
        raise DataError(f"{path}: '{_METRES[0]}' has shape {found[0].shape} and '{_METRES[1]}' {found[1].shape}.")
    return np.stack([one.reshape(-1) for one in found], axis=1), " and ".join(f"'{key}'" for key in _METRES)


def _number(store: Store, *names: str) -> tuple[float, str] | None:
    """The first of some numbers that a product has, under its names or those in CXI, and its key."""
    for name in names:
        for key in (name, f"{_IN_CXI}/{name}"):
            if (value := store.number(key)) is not None:
                return value, f"'{key}'"
    return None


def _mask(store: Store, frames: Frames, notes: list[str]) -> NDArray[np.bool_] | None:
    """The good pixels (row, column); None where no bad ones are stated."""
    if "bad_pixels" not in store:
        return None
    if isinstance(store, Hdf5Source):
        return good_pixels(store, "bad_pixels", frames.shape[1:], zero_is_good, notes)
    return zero_is_good(store.array("bad_pixels", [2]))


def _check_far_field(store: Store) -> None:
    """Refuse what is not of the far field, as no backend would reconstruct it.

    Raises:
        DataError: the product states it.
    """
    if (stated := _number(store, "far_field")) is not None and stated[0] == 0:
        raise DataError(
            f"{store.path}: {stated[1]} is False: the scan is of the near field.",
            remedy="Only scans in the far field are reconstructed; if this one is, set far_field to True in the product.",
        )


def _scale(store: Store, notes: list[str]) -> dict[str, Stated]:
    found = {}
    for name, keys in (
        ("photon_energy_ev", ("photon_energy_eV", "probe_energy_eV")),
        ("detector_distance_m", ("detector_object_distance_m", "detector_distance_m")),
    ):
        if (one := _number(store, *keys)) is not None and one[0] > 0:
            found[name] = Stated(*one)
    for name, key, factor in (
        ("photon_energy_ev", "entry_1/instrument_1/source_1/energy", 1 / 1.602176634e-19),
        ("detector_distance_m", "entry_1/instrument_1/detector_1/distance", 1.0),
    ):
        if name not in found and f"{_IN_CXI}/probe_position_indexes" in store and (value := store.number(key)):
            found[name] = Stated(value * factor, f"'{key}'")
    if "photon_energy_ev" not in found and (light := _number(store, "lambda")) is not None and light[0] > 0:
        length = plausible("wavelength", light[0], "m", f"{store.path}: {light[1]}", notes) or light[0]
        found["photon_energy_ev"] = Stated(photon_energy(length), light[1])
    height, width = (_pixel(store, side) for side in ("height", "width"))
    if height is not None and width is not None and height[0] > 0 and width[0] > 0:
        if abs(height[0] / width[0] - 1) > _SAME_POWER:
            raise DataError(f"{store.path}: the object's pixels are not square, {height[0]:g} by {width[0]:g} m.")
        found["object_pixel_m"] = Stated(*width)
    return found


def _pixel(store: Store, side: str) -> tuple[float, str] | None:
    """A side of the object's pixel, which is the probe's: the first that is stated and not 0, and its key."""
    found = [_number(store, f"object_pixel_{side}_m"), _number(store, f"probe_pixel_{side}_m"), _number(store, "dx")]
    if isinstance(store, Hdf5Source) and "probe" in store:
        value = np.asarray(store.attribute("probe", f"pixel_{side}_m"))
        if value.dtype.kind in "iuf" and value.size == 1:
            found.insert(1, (float(value.reshape(())), f"'probe@pixel_{side}_m'"))
    return next((one for one in found if one is not None and one[0] > 0), None)


def _center(store: Store) -> tuple[float, float] | None:
    row, column = (_number(store, f"object_center_{axis}_m") for axis in "yx")
    return None if row is None or column is None else (row[0], column[0])


def _probe(store: Store, notes: list[str], *, pair: bool = False) -> tuple[NDArray[Any] | None, bool]:
    """(mode, N, N), and whether it is in counts: its power is the stated number of photons.

    ``pair``: whether the frames are ``dp``; the axes of its probe may be (mode, slice), and not (OPR mode, mode).
    """
    key = next((one for one in ("probe", "entry_1/image_1/data") if one in store), None)
    if key is None:
        return None, False
    values = store.array(key, [2, 3, 4])
    if pair and values.ndim == 4 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 4:
        if values.shape[0] > 1:
            notes.append(f"Probe: the first of {values.shape[0]} OPR modes is taken; their weights are left aside.")
        values = values[0]
    stated = _number(store, "probe_photon_count")
    power = float((np.abs(values).astype(np.float64) ** 2).sum())
    return values, stated is not None and power > 0 and abs(stated[0] / power - 1) < _SAME_POWER


def _object(store: Store, notes: list[str]) -> NDArray[Any] | None:
    key = next((one for one in ("object", "entry_1/image_2/data") if one in store), None)
    if key is None:
        return None
    values = store.array(key, [2, 3])
    if values.ndim == 3:
        if values.shape[0] > 1:
            notes.append(f"Object: its {values.shape[0]} layers are left aside.")
            return None
        values = values[0]
    return values if values.size and np.iscomplexobj(values) else None
