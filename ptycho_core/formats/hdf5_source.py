"""HDF5 as scans use it: frames read piece by piece, numbers with their units, links to files next to it followed."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.files.memory import available_bytes
from ptycho_core.formats.guard import check_declared, guarded
from ptycho_core.formats.hdf5_reading import CACHE, SLOTS, Hdf5File
from ptycho_core.scan.frames import ArrayFrames
from ptycho_core.units import energy_ev, length_m, unit_word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.interface import Stated
    from ptycho_core.scan.frames import Frames

__all__ = ["Hdf5Frames", "Hdf5Source"]

_FILTERS: Final = {
    32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle, with which DECTRIS detectors write", 32013: "ZFP", 32015: "Zstandard",
    32017: "SZ", 32026: "Blosc2",
}  # fmt: skip
"""Filters of HDF5 that do not come with it."""

_MOST_GROUPS: Final = 4096
"""Groups, and names of one, that are looked at, so that circles end."""

_MOST_ROOM: Final = 2**29
_SHARE: Final = 8
"""Bytes of decompressed chunks that are kept of a dataset whose chunks hold several frames: at most so many, and one of so many
parts of the free memory."""

_AT_ONCE: Final = 64
"""Frames read at once, or those of one chunk where that has more."""


class Hdf5Source(Hdf5File):
    """An HDF5 file that holds a scan, or a part of one; it stays open as long as it is used.

    ``used`` has the keys whose values were asked for, in their order.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, beside=True, lacking="")
        self.used: dict[str, None] = {}

    def dataset(self, key: str) -> Any:  # noqa: ANN401 - h5py has no types
        """See `Hdf5File.dataset`; the key counts as used."""
        self.used[key] = None
        return super().dataset(key)

    def has(self, *keys: str) -> bool:
        """Whether the file has something of each of these names; False where it cannot be read."""
        try:
            return all(key in self for key in keys)
        except DataError:
            return False

    def first(self, *keys: str) -> str | None:
        """The first of these names that the file has."""
        return next((key for key in keys if self.has(key)), None)

    def members(self, key: str, most: int = _MOST_GROUPS) -> list[str]:
        """The first names of a group; none for what is no group, or cannot be read."""
        try:
            return self.names(key)[:most]
        except DataError:
            return []

    def shape_of(self, key: str) -> tuple[int, ...]:
        """Shape of a dataset of any size, whose values are not read; () for one without."""
        with guarded(self.where(key)):
            return tuple(self.stored(key).shape or ())

    def size_of(self, key: str) -> int:
        """Number of values of a dataset."""
        return math.prod(self.shape_of(key))

    def is_numbers(self, key: str) -> bool:
        """Whether there is a dataset of real numbers of this name; False where it cannot be read."""
        try:
            with guarded(self.where(key)):
                data = self.node(key)
                return isinstance(data, h5py.Dataset) and data.shape is not None and data.dtype.kind in "iuf"
        except DataError:
            return False

    def keys(self, most: int) -> list[str]:
        """The datasets of the file, group by group, at most so many; no link is followed."""
        found, waiting, looked = list[str](), [""], 0
        while waiting and len(found) < most and looked < _MOST_GROUPS:
            group, looked = waiting.pop(0), looked + 1
            with guarded(self.where(group or "/")):
                node = self.file[group or "/"]
                for name in [one for one in node if node.get(one, getclass=True, getlink=True) is h5py.HardLink]:
                    key = f"{group}/{name}".strip("/")
                    (waiting if node.get(name, getclass=True) is h5py.Group else found).append(key)
        return found[:most]

    def where(self, key: str) -> str:
        """File and key, for messages."""
        return f"{self.path}: '{key}'"

    def linked_file(self, key: str) -> Path | None:
        """The file next to this one to which a key is an external link, whether it exists or not; None for anything else.

        Raises:
            DataError: the group that holds the key is damaged.
        """
        group, _, name = key.strip("/").rpartition("/")
        with guarded(self.where(key)):
            link = self._link(self.node(group or "/"), name)
            return self._neighbor(link.filename) if isinstance(link, h5py.ExternalLink) and link.path == "/" else None

    def words(self, key: str) -> str | None:
        """A text that is a dataset of one; None where there is none, or something else."""
        if not self.has(key):
            return None
        with guarded(self.where(key)):
            data = self.dataset(key)
            if data.shape is None or data.size != 1 or not (h5py.check_string_dtype(data.dtype) or data.dtype.kind in "SU"):
                return None
            self._check_lengths(key, data)
            value: Any = np.asarray(data[()]).reshape(-1)[0]
            return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

    def floats(self, key: str, dimensions: Sequence[int]) -> NDArray[np.float64]:
        """Real numbers that need not be finite, of one of the numbers of dimensions.

        Raises:
            DataError: it is missing, something else, damaged, or does not fit into memory.
        """
        with guarded(self.where(key)):
            data = self.dataset(key)
            if data.shape is None or data.ndim not in dimensions or data.dtype.kind not in "iufb":
                wanted = " or ".join(str(number) for number in dimensions)
                raise DataError(
                    f"{self.where(key)} has shape {data.shape} and type {data.dtype}; real numbers of {wanted} dimensions are"
                    " expected."
                )
            with np.errstate(over="ignore"):
                values: NDArray[np.float64] = np.asarray(data[()]).astype(np.float64)
        return values

    def whole(self, key: str) -> NDArray[np.int64]:
        """Whole numbers (n,).

        Raises:
            DataError: it is missing or something else.
        """
        values = self.array(key, [1])
        if values.dtype.kind not in "iu":
            raise DataError(f"{self.where(key)} is of type {values.dtype}, shape {values.shape}; whole numbers are expected.")
        return values.astype(np.int64)

    def one(self, key: str, index: int = 0) -> float | None:
        """A real number: a dataset of one, or the one at ``index`` of several that are equal; None where it is missing.

        Raises:
            DataError: it is something else.
        """
        if not self.has(key):
            return None
        values = self.floats(key, [0, 1, 2]).reshape(-1)
        if values.size == 0 or not np.isfinite(values).all():
            raise DataError(f"{self.where(key)} must be one finite number; it has {values.size} values.")
        if index == 0 and not np.allclose(values, values[0], rtol=1e-3, atol=0):
            raise DataError(f"{self.where(key)} must be one number; it has {values.size} different ones.")
        return float(values[index])

    def unit(self, key: str, default: str) -> str:
        """The unit that the attribute ``units`` of a dataset states, or the default."""
        if not self.has(key):
            return default
        found = self.attribute(key, "units")
        if found is None:
            return default
        value: Any = np.asarray(found).reshape(-1)[0] if np.size(found) else ""
        text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        return unit_word(text) or default

    def length(self, key: str, default: str = "m") -> Stated | None:
        """A length in metres, by the unit stated next to it or else the default; None where it is missing.

        Raises:
            DataError: it is no number, or of a unit that is no length.
        """
        return self._measured(key, default, length_m, "length")

    def energy(self, key: str, default: str) -> Stated | None:
        """An energy in electronvolts; as `length`."""
        return self._measured(key, default, energy_ev, "energy")

    def _measured(self, key: str, default: str, factor: Callable[[str], float | None], what: str) -> Stated | None:
        from ptycho_core.formats.interface import Stated

        if (value := self.one(key)) is None:
            return None
        unit = self.unit(key, default)
        if (scale := factor(unit)) is None:
            raise DataError(f"{self.where(key)} is stated in '{unit:.40}', which is no unit of {what} that is known here.")
        return Stated(value * scale, key)

    def frames(self, key: str, frame_axes: Sequence[int] = (0,), pixel_axes: tuple[int, int] = (-2, -1)) -> Frames:
        """The frames of a dataset, whose values are read later.

        Args:
            key: of the dataset; it may lie in files next to this one.
            frame_axes: axes that count frames, the slowest first; none for a dataset that is one frame.
            pixel_axes: axes of the rows and columns of a frame.

        Raises:
            DataError: it is missing, of another number of dimensions, no real numbers, or compressed with a filter that is not
                installed; or the file that holds it is absent.
        """
        self.used[key] = None
        with guarded(self.where(key)):
            data = self.stored(key)
            wanted = len(frame_axes) + 2
            if data.shape is None or data.ndim != wanted or data.dtype.kind not in "biuf":
                raise DataError(
                    f"{self.where(key)} has shape {data.shape} and type {data.dtype}; frames are real numbers of {wanted} axes."
                )
            self.used[str(data.name).strip("/")] = None  # where a link led to
            self._check_filters(key, data)
            if (room := _room(data)) is not None:
                name, home = str(data.name), data.file
                del data  # HDF5 gives a dataset its cache when it is opened, and all that hold it open share that
                data = h5py.Dataset(h5py.h5d.open(home.id, name.encode(), room))
            order = (*frame_axes, *(axis % data.ndim for axis in pixel_axes))
            if order == tuple(range(data.ndim)):
                return Hdf5Frames(data, self.where(key))
        return _turned(data, order, self.where(key))

    def stored(self, key: str) -> Any:  # noqa: ANN401 - h5py has no types
        """A dataset that is read in pieces: only a piece must fit into memory; to be used under a guard.

        Raises:
            DataError: as `dataset`.
        """
        data = self.node(key)
        if not isinstance(data, h5py.Dataset):
            raise DataError(f"{self.where(key)} is a group; a dataset is expected.")
        for name, inside in self._elsewhere(data):
            self._check_elsewhere(key, name, inside)
        if data.chunks is not None:
            check_declared(f"{self.where(key)}, one chunk", data.chunks, data.dtype.itemsize, None)
        elif data.shape is not None and not data.is_virtual and not data.external:
            check_declared(self.where(key), data.shape[1:], data.dtype.itemsize, int(data.id.get_storage_size()))
        return data

    def _check_filters(self, key: str, data: Any) -> None:  # noqa: ANN401 - h5py has no types
        """Refuse a filter that cannot be undone, by name."""
        sources = [data]
        if data.is_virtual:
            for one in data.virtual_sources():
                place = self.path if one.file_name == "." else self._neighbor(one.file_name) or self.path.parent / one.file_name
                with h5py.File(place, "r") as other:
                    self._check_filter(key, other[one.dset_name])
            return
        for one in sources:
            self._check_filter(key, one)

    def _check_filter(self, key: str, data: Any) -> None:  # noqa: ANN401 - h5py has no types
        made = data.id.get_create_plist()
        for number in range(made.get_nfilters()):
            code = int(made.get_filter(number)[0])
            if h5py.h5z.filter_avail(code) or _plugin_has(code):
                continue
            raise DataError(
                f"{self.where(key)}, shape {data.shape}, is compressed with HDF5 filter {code}"
                f" ({_FILTERS.get(code, 'not known here')}), which is not installed.",
                remedy="Install it: python -m pip install 'ptycho-core[eiger]'.",
            )


def _room(data: Any) -> Any:  # noqa: ANN401 - h5py has no types
    """How to open a dataset whose chunks hold several frames: with room for them, so that each is decompressed once.

    None where the usual room will do.
    """
    if data.chunks is None or data.is_virtual or data.external or data.ndim < 3 or math.prod(data.chunks[:-2]) == 1:
        return None
    size = min(math.prod(data.shape) * data.dtype.itemsize, _MOST_ROOM, available_bytes() // _SHARE)
    if size <= CACHE or data.id.get_create_plist().get_nfilters() == 0:
        return None
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(SLOTS, int(size), 0.75)
    return access


def _plugin_has(code: int) -> bool:
    """Whether the package of filters is installed and has one; it is imported only where one is missing."""
    try:
        import hdf5plugin  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401
    except Exception:  # noqa: BLE001 - an extra that may be absent or broken
        return False
    return bool(h5py.h5z.filter_avail(code))


def _turned(data: Any, order: tuple[int, ...], where: str) -> Frames:  # noqa: ANN401 - h5py has no types
    """Frames whose axes lie otherwise: the dataset is read as a whole."""
    check_declared(where, data.shape, data.dtype.itemsize, None)
    lengths = [data.shape[axis] for axis in order]
    shape = (int(np.prod(lengths[:-2], dtype=np.int64)), *lengths[-2:])

    def fetch() -> NDArray[Any]:
        with guarded(where):
            return np.transpose(np.asarray(data[()]), order).reshape(shape)

    return ArrayFrames(fetch, shape, data.dtype)


class Hdf5Frames:
    """Frames of a dataset (…, row, column), read in pieces; the axes before the last two count frames, the first slowest.

    A dataset (row, column) is one frame.
    """

    def __init__(self, data: Any, where: str) -> None:  # noqa: ANN401 - h5py has no types
        self._data, self._where = data, where
        *grid, rows, columns = (int(length) for length in data.shape)
        self._grid, self._single = grid or [1], not grid
        self.shape: tuple[int, int, int] = (int(np.prod(self._grid, dtype=np.int64)), rows, columns)
        self.dtype: np.dtype[Any] = data.dtype
        self._piece = max(_AT_ONCE, 1 if self._single or data.chunks is None else int(data.chunks[len(self._grid) - 1]))

    def read(self, frames: NDArray[np.integer[Any]] | slice) -> NDArray[Any]:
        """The named frames; see ``ptycho_core.scan.frames.Frames``. Several threads may read: h5py lets in one at a time."""
        numbers = np.arange(self.shape[0])[frames]
        if not len(numbers):
            return np.empty((0, *self.shape[1:]), self.dtype)
        wanted, place = np.unique(numbers, return_inverse=True)
        with guarded(f"{self._where}, shape {tuple(self._data.shape)},"):
            found = self._sorted(wanted)
        return found if np.array_equal(wanted, numbers) else found[place.reshape(-1)]

    def _sorted(self, wanted: NDArray[np.int64]) -> NDArray[Any]:
        """Frames of ascending numbers: neighbors are read together, and what lies between near ones too."""
        runs = self._runs(wanted)
        if len(runs) == 1 and runs[0][1] - runs[0][0] == len(wanted):
            return self._run(*runs[0])
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        for first, end in runs:
            begin, stop = np.searchsorted(wanted, (first, end))
            found[begin:stop] = self._run(first, end)[wanted[begin:stop] - first]
        return found

    def _runs(self, wanted: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Ranges of frames to read, each within one row of the grid: no more than a piece long, or contiguous."""
        step, row = self._together(), self._grid[-1]
        cuts = (
            (np.diff(wanted) > step)
            | (wanted[1:] // row != wanted[:-1] // row)
            | (wanted[1:] // self._piece != wanted[:-1] // self._piece)
        )
        edges = [0, *(np.flatnonzero(cuts) + 1).tolist(), len(wanted)]
        return [(int(wanted[a]), int(wanted[b - 1]) + 1) for a, b in pairwise(edges)]

    def _together(self) -> int:
        """Distance of frames up to which those between are decompressed in any case."""
        return 1 if self._single or self._data.chunks is None else int(self._data.chunks[len(self._grid) - 1])

    def _run(self, first: int, end: int) -> NDArray[Any]:
        if self._single:
            return np.asarray(self._data[()])[np.newaxis]
        *rows, begin = np.unravel_index(first, self._grid)
        selection = (*(int(row) for row in rows), slice(int(begin), int(begin) + end - first))
        found: NDArray[Any] = np.asarray(self._data[selection])
        return found
