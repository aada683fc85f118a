"""Scans and results of fold_slice and PtychoShelves: ``*_dp.hdf5`` with ``*_para.hdf5``, and ``Niter*.mat``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.files.plain import why_not_plain
from ptycho_core.formats.interface import Evidence, RawResult, RawScan, ScanFormat, Stated, Strength
from ptycho_core.formats.kinds import is_hdf5
from ptycho_core.formats.matlab import MatFile, mat_file
from ptycho_core.formats.plausible import read_as
from ptycho_core.formats.position_file import table_beside
from ptycho_core.orientation import Orientation
from ptycho_core.physics.geometry import electron_energy, photon_energy
from ptycho_core.units import LENGTHS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source

__all__ = ["FoldSlice"]

_PAIR: Final = ("ppX", "ppY")
_ANGSTROM: Final = "probe_positions_0"
_POSITIONS: Final = "data_position.hdf5"
"""A file of positions next to the frames, as the examples with electrons have it."""

_ELECTRONS_M: Final = 1e-11
"""Wavelength in metres below which they are electrons: photons would have more than 124 keV."""

_WAVELENGTHS_M: Final = (5e-13, 1.3e-7)
_OF_ELECTRONS_M: Final = (5e-13, _ELECTRONS_M)
"""Wavelengths that make sense, of photons and electrons, and of electrons alone."""

_METRES: Final = 1e-4
"""A pixel of the object that is wider is stated in Angstrom, as results of electrons have it."""


class _Files(NamedTuple):
    """The frames, and the file with positions and geometry, where there is one."""

    frames: Hdf5Source
    para: Hdf5Source | None


class FoldSlice(ScanFormat):
    """Reads scans and results of fold_slice."""

    name = "foldslice"
    title = "fold_slice, PtychoShelves"
    extensions = (".hdf5", ".h5", ".mat")
    reads = (
        "Scans of fold_slice: `*_dp.hdf5` with the `*_para.hdf5` (or `data_position.hdf5`) next to it, or the one that "
        "`--positions` names; or their folder, if it holds one pair. Results `Niter*.mat`, version 5 or 7.3, for `--start`, "
        "`--probe` and `score`."
    )
    recognized_by = "`dp` and a file with `ppX` and `ppY`; a result by `object`, `probe` and `p.dx_spec`, or as MATLAB data"
    conventions = (
        "`dp` is (frame, column, row) in HDF5, since MATLAB has it as (row, column, frame): each frame is transposed on reading.",
        "`ppX`, `ppY` are in metres: rows = −ppY, columns = −ppX. `probe_positions_0` is in Angstrom, x first, signs alike.",
        "`lambda` and `dx` (object pixel) are in metres. A wavelength under 10 pm is that of electrons.",
        "A result has `object` (row, column), `probe` (row, column, mode), `p.dx_spec`, and `outputs.probe_positions`, x first, "
        "about the middle of the object: corner = (y, x) + ⌈(rows − N) / 2⌉.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By the pair; a result is recognized too, so that `read` says what it is."""
        if source.kind == "folder":
            frames = _in_folder(source)
            return Evidence(Strength.NAMES, f"holds {frames[0].name}") if frames else None
        if source.has("dp") or _is_para(source.file.hdf5):
            para = _para_of(source, source.path)
            if _is_para(source.file.hdf5):
                return Evidence(Strength.LAYOUT, "has the positions of a pair of fold_slice")
            if para is not None and _is_para(para):
                return Evidence(Strength.LAYOUT, f"has 'dp', and {para.path.name} the positions of fold_slice")
            named = source.has("dp") and not source.has("points") and _stem_of(source.path, "_dp") is not None
            return Evidence(Strength.NAMES, "has 'dp' and is called *_dp") if named and para is None else None
        return Evidence(Strength.LAYOUT, "has 'object' and 'probe' of MATLAB") if self._mat(source) is not None else None

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        if self._mat(source) is not None:
            raise DataError(
                f"{source.path} is a result of fold_slice, not a scan: it holds no frames.",
                remedy="Give the *_dp.hdf5 as SCAN, and this file with --start or --probe.",
            )
        files = _files(source)
        positions, key, unit = (None, "", "m") if files.para is None else _positions(files.para)
        notes = list(_aside(files.para))
        stated, electrons = _stated(files.para, unit, notes)
        return RawScan(
            files.frames.frames("dp"), "'dp'", positions, key, unit=unit, window="center", signal="counts",
            turning=Orientation(swap=True), stated=stated, electrons=electrons, notes=tuple(dict.fromkeys(notes)),
            used=("dp",) if source.has("dp") else (),
        )  # fmt: skip

    def result(self, source: Source) -> RawResult | None:
        """Object, probe and positions of ``Niter*.mat``."""
        if (file := self._mat(source)) is None:
            return None
        image = _layers(file) if "object" in file else None
        probe = _modes(file) if "probe" in file else None
        notes = list[str]()
        positions = None if image is None or probe is None else _corners(file, image.shape[-2:], probe.shape[-1])
        return RawResult(image, probe, positions, _pixel(file, notes), tuple(notes))

    def _mat(self, source: Source) -> MatFile | None:
        """The file as a result; None where it is none."""
        try:
            file = mat_file(source)
            if file is None or not ("object" in file or "probe" in file):
                return None
            ours = "p.dx_spec" in file or "outputs.probe_positions" in file or file.of_matlab("object") or file.of_matlab("probe")
        except DataError:
            return None
        return file if ours else None


def _is_para(file: Hdf5Source | None) -> bool:
    return file is not None and (file.has(*_PAIR) or file.has(_ANGSTROM))


def _stem_of(path: Path, end: str) -> str | None:
    """A file's name without its suffix and its end; None where it ends otherwise."""
    return path.stem.removesuffix(end) if path.stem.endswith(end) else None


def _other_names(path: Path, mine: str, other: str) -> list[str]:
    stem = _stem_of(path, mine)
    suffixes = dict.fromkeys((path.suffix, ".hdf5", ".h5"))
    return [] if stem is None else [f"{stem}{other}{suffix}" for suffix in suffixes]


def _in_folder(source: Source) -> list[Path]:
    """The files of frames in a folder."""
    try:
        return sorted(path for path in source.path.iterdir() if path.stem.endswith("_dp") and is_hdf5(path))
    except OSError:
        return []


def _para_of(source: Source, place: Path) -> Hdf5Source | None:
    """The file of positions: the one that the user names, else the one next to the frames; None where there is none."""
    if source.positions is not None and not source.columns and is_hdf5(source.positions):
        given = source.file.open_hdf5(source.positions)
        if _is_para(given):
            return given
    names = (*_other_names(place, "_dp", "_para"), _POSITIONS)
    found = next((one for name in names if not why_not_plain(one := place.with_name(name))), None)
    return None if found is None else source.file.open_hdf5(found)


def _files(source: Source) -> _Files:
    """Frames and positions; either may be named as the scan.

    Raises:
        DataError: a companion is missing.
    """
    inside = _in_folder(source) if source.kind == "folder" else []
    if len(inside) > 1:
        listed = ", ".join(path.name for path in inside[:8])
        raise DataError(f"{source.path} holds {len(inside)} files of frames: {listed}.", remedy="Give one of them as SCAN.")
    place = next(iter(inside), source.path)
    main = source.hdf5 if place == source.path else source.companion(place)
    if not main.has("dp"):
        names = _other_names(place, "_para", "_dp")
        frames = source.beside(*names)
        if frames is None:
            wanted = f"{names[0]} is not next to it" if names else "its name does not end in _para"
            raise DataError(f"{source.path} holds positions and no frames, and {wanted}.", remedy="Give the *_dp.hdf5 as SCAN.")
        return _Files(source.companion(frames), main)
    if _is_para(main):
        return _Files(main, main)
    para = _para_of(source, place)
    if _is_para(para):
        assert para is not None
        return _Files(main, source.companion(para.path))
    if source.positions is not None or table_beside(source) is not None:
        return _Files(main, None)
    names = _other_names(place, "_dp", "_para")
    found = "" if para is None else f", and {para.path.name} has neither 'ppX' and 'ppY' nor '{_ANGSTROM}'"
    raise DataError(
        f"{place} holds frames ('dp') and no positions: {names[0] if names else _POSITIONS} is not next to it{found}.",
        remedy="Give the file of positions with --positions FILE, such as the *_para.hdf5.",
    )


def _positions(file: Hdf5Source) -> tuple[NDArray[np.float64], str, str]:
    """(frame, 2), (row, column), with their place and unit."""
    if file.has(*_PAIR):
        across, down = (file.floats(name, [1, 2]) for name in _PAIR)
        if across.size != down.size or max(across.size, down.size) not in (*across.shape, *down.shape):
            raise DataError(
                f"{file.path}: 'ppX' has shape {across.shape} and 'ppY' {down.shape}; there must be one for each frame."
            )
        key, unit = "'ppX', 'ppY'", file.unit("ppX", "m")
        points = np.stack([across.reshape(-1), down.reshape(-1)])
    else:
        points, key, unit = file.floats(_ANGSTROM, [2]), f"'{_ANGSTROM}'", file.unit(_ANGSTROM, "A")
        points = points if points.shape[0] == 2 else points.T
        if points.shape[0] != 2:
            raise DataError(f"{file.where(_ANGSTROM)} has shape {points.T.shape}; positions are (2, frame): x, y.")
    return -points[::-1].T, f"{key} of {file.path.name}", unit


def _in_metres(pixel: float, where: str, notes: list[str]) -> float:
    """The object's pixel in metres, which files of electrons state in Angstrom."""
    if pixel < _METRES:
        return pixel
    notes.append(f"{where} is {pixel:g}, and is read in Angstrom.")
    return pixel * LENGTHS["A"]


def _stated(file: Hdf5Source | None, unit: str, notes: list[str]) -> tuple[dict[str, Stated], bool]:
    """Energy and object pixel, and whether the energy is that of electrons."""
    found = dict[str, Stated]()
    if file is None:
        return found, False
    electrons = unit == "A"
    if (length := file.length("lambda")) is not None and length.value > 0:
        limits = _OF_ELECTRONS_M if electrons else _WAVELENGTHS_M
        value = read_as(
            length.value, "m", {name: LENGTHS[name] for name in ("m", "A", "nm")}, limits, file.where("lambda"), notes
        )
        electrons = value < _ELECTRONS_M
        energy = electron_energy(value) if electrons else photon_energy(value)
        found["photon_energy_ev"] = Stated(energy, "'lambda'")
    if (pixel := file.length("dx")) is not None:
        found["object_pixel_m"] = Stated(_in_metres(pixel.value, file.where("dx"), notes), "'dx'")
    return found, electrons


def _aside(file: Hdf5Source | None) -> tuple[str, ...]:
    angle = None if file is None else file.one("angle")
    return (
        () if not angle else (f"Angle: 'angle' is {angle:g} and is left aside; positions are those of the scan as it was made.",)
    )


def _layers(file: MatFile) -> NDArray[Any]:
    """(layer, row, column)."""
    values = file.array("object", (2, 3, 4))
    return np.moveaxis(values.reshape(*values.shape[:2], -1), -1, 0)


def _modes(file: MatFile) -> NDArray[Any]:
    """(mode, N, N), or (OPR mode, mode, N, N)."""
    values = file.array("probe", (2, 3, 4))
    return np.transpose(values, (*range(values.ndim - 1, 1, -1), 0, 1))


def _corners(file: MatFile, shape: tuple[int, ...], size: int) -> NDArray[np.float64] | None:
    if "outputs.probe_positions" not in file:
        return None
    points = np.atleast_2d(file.array("outputs.probe_positions", (1, 2)))
    if points.shape[1] != 2 or np.iscomplexobj(points):
        raise DataError(f"{file.where('outputs.probe_positions')} has shape {points.shape}; positions are (frame, 2): x, y.")
    return points[:, ::-1].astype(np.float64) + np.ceil((np.array(shape) - size) / 2)


def _pixel(file: MatFile, notes: list[str]) -> tuple[float, float] | None:
    """The object's pixel (row, column) in metres."""
    if "p.dx_spec" not in file:
        return None
    values = file.array("p.dx_spec", (0, 1, 2)).reshape(-1)
    if values.size not in (1, 2) or np.iscomplexobj(values) or values.min() <= 0:
        raise DataError(f"{file.where('p.dx_spec')} has shape {values.shape}; it must be two lengths above 0.")
    row, column = (_in_metres(float(value), file.where("p.dx_spec"), notes) for value in (values[0], values[-1]))
    return row, column
