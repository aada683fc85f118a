"""Scans of ptypy: ``.ptyd``, HDF5 with ``meta`` and ``chunks``, which may be links to files next to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.hdf5_masks import good_pixels
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Stated, Strength
from ptycho_core.formats.plausible import detector_distance, read_as, square_pixel, wavelength_energy
from ptycho_core.formats.ptypy_hdf5 import is_array, is_none, number, pair
from ptycho_core.scan.frames import JoinedFrames
from ptycho_core.units import ENERGIES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.contents import Contents
    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source
    from ptycho_core.scan.frames import Frames
    from ptycho_core.scan.scan import Steps

__all__ = ["Ptyd", "stored_positions"]

_ENERGIES_EV: Final = (10.0, 1e6)
"""Within these an energy is taken to be in keV, as ptypy has it; beyond, only eV can be meant."""

_ZEROS: Final[dict[str, Literal["center", "corner"]]] = {"fftshift": "center", "geometric": "center", "fft": "corner"}
"""Words that ptypy writes for where zero frequency is."""


class _Chunk(NamedTuple):
    """A part of the scan: the file that holds it, and what its keys begin with there."""

    file: Hdf5Source
    prefix: str


class Ptyd(ScanFormat):
    """Reads prepared scans of ptypy."""

    name = "ptyd"
    title = "ptypy ptyd"
    extensions = (".ptyd",)
    reads = (
        "Prepared scans of ptypy (`save='append'` or `'link'`): the `.ptyd`, and the `.ptyd.partNNN` next to it that its chunks "
        "are linked to."
    )
    recognized_by = "the groups `chunks` and `meta`"
    written_as = "ptypy"
    writes = "Scans, one chunk with weights, which `PtydScan` of ptypy loads."
    needs = ("patterns", "photon_energy_ev", "detector_distance_m", "detector_pixel_size_m")
    keeps = frozenset({"patterns", "mask", "energy", "distance"})
    conventions = (
        "`chunks/<k>/data` is (frame, row, column), counts; chunks follow each other by number.",
        "`chunks/<k>/positions` is (frame, 2), metres, row first; without them those of `info/positions_theory` or "
        "`info/positions_scan` count, by `indices`.",
        "`meta/energy` is in keV, else `lam` in metres; `meta/distance` and `meta/psize` (detector pixel) are in metres.",
        "`meta/center` is the pixel of zero frequency. A pixel whose `weights` are 0 in any frame is bad.",
        "`info/orientation` says how ptypy turned the frames before it stored them; nothing is turned on reading.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By its groups."""
        if not source.has("chunks", "meta"):
            return None
        sure = source.has("meta/energy", "meta/psize") or source.hdf5.attribute("/", "h5rw_version") is not None
        return Evidence(Strength.LAYOUT if sure else Strength.NAMES, "has the groups 'chunks' and 'meta'")

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file, notes = source.hdf5, list[str]()
        chunks = _chunks(source)
        frames = _frames(chunks)
        _tell(file, frames, notes)
        positions, position_key = _positions(file, chunks, frames)
        mask, mask_key = _mask(file, chunks, frames, notes)
        return RawScan(
            JoinedFrames(frames), "'chunks/*/data'", positions, position_key, unit="m", window="center", signal="counts",
            zero=_zero(file, frames[0].shape[1:]), stated=_stated(file, notes), mask=mask, mask_key=mask_key,
            notes=tuple(dict.fromkeys(notes)),
            used=tuple(key for key in ("chunks", "meta", "info/orientation") if file.has(key)),
        )  # fmt: skip

    def write(self, contents: Contents, path: Path, progress: Steps | None = None) -> tuple[str, ...]:
        """See `ScanFormat.write`."""
        from ptycho_core.formats.ptypy_writing import write_ptyd

        return write_ptyd(contents, path, progress)


def stored_positions(source: Source) -> NDArray[np.float64] | None:
    """The positions of a scan of ptypy (frame, 2), float64, (row, column) of the middles of windows in metres; None without any.

    Raises:
        DataError: they cannot be read.
    """
    chunks = _chunks(source)
    return _positions(source.hdf5, chunks, _frames(chunks))[0]


def _chunks(source: Source) -> list[_Chunk]:
    """The chunks by number, those behind links in the files that hold them.

    Raises:
        DataError: there is none, or a file is absent.
    """
    file = source.hdf5
    names = sorted((name for name in file.names("chunks") if name.isdecimal()), key=int)
    if not names:
        raise DataError(f"{file.where('chunks')} holds no chunk: the scan is empty.")
    found = []
    for name in names:
        place = file.linked_file(f"chunks/{name}")
        found.append(_Chunk(file, f"chunks/{name}/") if place is None else _Chunk(source.companion(place), ""))
    return found


def _frames(chunks: list[_Chunk]) -> list[Frames]:
    """The frames of each chunk, all of the same shape."""
    frames = [chunk.file.frames(f"{chunk.prefix}data") for chunk in chunks]
    for chunk, one in zip(chunks, frames, strict=True):
        if one.shape[1:] != frames[0].shape[1:]:
            raise DataError(
                f"{chunk.file.where(f'{chunk.prefix}data')} has shape {one.shape}, and the first chunk {frames[0].shape}."
            )
    return frames


def _tell(file: Hdf5Source, frames: list[Frames], notes: list[str]) -> None:
    """What the file says and is not acted on."""
    there = sum(one.shape[0] for one in frames)
    planned = number(file, "meta/num_frames")
    if planned is not None and planned != there:
        notes.append(f"Frames: {there} are stored, of {planned:.0f} that 'meta/num_frames' plans.")
    if file.has("info/orientation") and not is_none(file, "info/orientation") and is_array(file, "info/orientation"):
        values = file.floats("info/orientation", [0, 1])
        if values.any():
            code = ", ".join(f"{value:g}" for value in values.reshape(-1)[:3])
            notes.append(f"Orientation: ptypy turned the frames ({code}) before it stored them; they are taken as they are.")


def _positions(file: Hdf5Source, chunks: list[_Chunk], frames: list[Frames]) -> tuple[NDArray[np.float64] | None, str]:
    """Those of each chunk, else those of the whole scan by index; None where there are none."""
    if all(is_array(chunk.file, f"{chunk.prefix}positions", last=2) for chunk in chunks):
        found = []
        for chunk, one in zip(chunks, frames, strict=True):
            values = chunk.file.floats(f"{chunk.prefix}positions", [2])
            if len(values) != one.shape[0]:
                raise DataError(
                    f"{chunk.file.where(f'{chunk.prefix}positions')} has shape {values.shape} for frames of shape {one.shape};"
                    " there must be one for each frame."
                )
            found.append(values)
        return np.concatenate(found), "'chunks/*/positions'"
    key = next((key for key in ("info/positions_theory", "info/positions_scan") if is_array(file, key, last=2)), None)
    if key is None:
        return None, ""
    values = file.floats(key, [2])
    indices = _indices(chunks, frames)
    if indices.size and not (indices.min() >= 0 and indices.max() < len(values)):
        raise DataError(
            f"{file.where(key)} has shape {values.shape}, and 'chunks/*/indices' run from {indices.min()} to {indices.max()}."
        )
    return values[indices], f"'{key}'"


def _indices(chunks: list[_Chunk], frames: list[Frames]) -> NDArray[np.int64]:
    """The number of each frame in the whole scan; in order where the chunks do not say."""
    if not all(is_array(chunk.file, f"{chunk.prefix}indices") for chunk in chunks):
        return np.arange(sum(one.shape[0] for one in frames))
    found = []
    for chunk, one in zip(chunks, frames, strict=True):
        values = chunk.file.array(f"{chunk.prefix}indices", [1])
        if len(values) != one.shape[0] or values.dtype.kind not in "iuf" or (values != np.rint(values)).any():
            raise DataError(
                f"{chunk.file.where(f'{chunk.prefix}indices')} has shape {values.shape} and type {values.dtype}; it must be a"
                f" whole number for each of {one.shape[0]} frames."
            )
        found.append(values.astype(np.int64))
    return np.concatenate(found)


def _mask(file: Hdf5Source, chunks: list[_Chunk], frames: list[Frames], notes: list[str]) -> tuple[NDArray[np.bool_] | None, str]:
    """Pixels that are good in all frames; None where no weights are stored."""
    shape = frames[0].shape[1:]
    found = [
        good_pixels(chunk.file, f"{chunk.prefix}weights", shape, _weighs, notes)
        for chunk in chunks
        if is_array(chunk.file, f"{chunk.prefix}weights")
    ]
    if found:
        good: NDArray[np.bool_] = np.logical_and.reduce(found)
        if any((one != good).any() for one in found):
            notes.append("Mask: the masks differ from frame to frame; a pixel that is bad in any frame is bad.")
        return good, "'chunks/*/weights'"
    for key in ("meta/weight2d", "info/weight2d", "common/weight2d"):
        if is_array(file, key) and file.shape_of(key) == shape:
            return good_pixels(file, key, shape, _weighs, notes), f"'{key}'"
    return None, ""


def _weighs(values: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(values > 0)


def _zero(file: Hdf5Source, shape: tuple[int, ...]) -> Literal["center", "corner"] | tuple[float, float]:
    if (word := file.words("meta/center")) is not None:
        return _ZEROS.get(word, "center")
    center = pair(file, "meta/center")
    if center is None or all(at in (length / 2, length // 2) for at, length in zip(center, shape, strict=True)):
        return "center"
    return center


def _stated(file: Hdf5Source, notes: list[str]) -> dict[str, Stated]:
    found = dict[str, Stated]()
    if (key := _known(file, "energy")) is not None and (value := number(file, key)) is not None:
        energy = read_as(value, "keV", {name: ENERGIES[name] for name in ("keV", "eV")}, _ENERGIES_EV, file.where(key), notes)
        found["photon_energy_ev"] = Stated(energy, f"'{key}'")
    elif (key := _known(file, "lam")) is not None and (of_light := wavelength_energy(file, key, "m", notes)) is not None:
        found["photon_energy_ev"] = of_light
    distance, pitch = _known(file, "distance"), _known(file, "psize")
    if distance is not None and (stated := detector_distance(file, distance, "m", notes)) is not None:
        found["detector_distance_m"] = stated
    if pitch is not None and (stated := square_pixel(file, pitch, "m", notes)) is not None:
        found["detector_pixel_size_m"] = stated
    return found


def _known(file: Hdf5Source, name: str) -> str | None:
    """The key of a number that is no None: in ``meta``, else in ``info``."""
    return next((key for key in (f"meta/{name}", f"info/{name}") if not is_none(file, key)), None)
