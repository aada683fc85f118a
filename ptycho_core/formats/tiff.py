"""Frames in TIFF: the pages of one file, or the files of a folder in natural order; positions lie in a table."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.guard import check_declared, guarded
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Strength
from ptycho_core.formats.kinds import TIFF, kind_of
from ptycho_core.formats.pixel_file import quiet
from ptycho_core.scan.frames import JoinedFrames

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.source import Source

__all__ = ["Tiff", "TiffFrames"]

_ENDINGS: Final = (".tif", ".tiff")
_MOST_PAGES: Final = 2**22
_MOST_FILES: Final = 2**20


class Tiff(ScanFormat):
    """Reads a stack of TIFF, or a folder of TIFF files."""

    name = "tiff"
    title = "TIFF"
    extensions = _ENDINGS
    reads = "A TIFF file with one page a frame, or a folder of TIFF files; the positions lie in a table."
    recognized_by = "a TIFF file, or a folder that has some"
    conventions = (
        "Frames are the pages in their order; those of a folder are its files in natural order, in which 10 follows 9.",
        "Values are counts, also where they are floats, as a detector's pictures are; `--signal amplitude` says otherwise.",
        "The file states no positions and no geometry: `--positions`, `--photon-energy-ev`, `--detector-distance-m` and "
        "`--detector-pixel-size-m` give them.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By the first bytes of a file; a folder by the names of its files."""
        if source.kind == TIFF:
            return Evidence(Strength.NAMES, "is TIFF")
        if source.kind == "folder" and (files := _files(source.path)):
            return Evidence(Strength.NAMES, f"holds {len(files)} TIFF files")
        return None

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        folder = source.path.is_dir()
        files = _files(source.path) if folder else [source.path]
        if not files:
            raise DataError(f"{source.path} holds no TIFF file.", remedy="Frames in a folder are files *.tif or *.tiff.")
        pieces = [TiffFrames(path) for path in files]
        first = pieces[0]
        for piece in pieces[1:]:
            if piece.shape[1:] != first.shape[1:]:
                raise DataError(
                    f"{piece.path} has frames of shape {piece.shape[1:]}, and {first.path} of {first.shape[1:]}; the TIFF files"
                    " of a folder must be frames of one detector.",
                    remedy="Move the other files away.",
                )
        notes = (f"Frames: {len(files)} files in natural order, {files[0].name} to {files[-1].name}.",) if folder else ()
        return RawScan(
            first if len(pieces) == 1 else JoinedFrames(pieces),
            "the TIFF files" if folder else "the pages",
            None,
            signal="counts",
            notes=notes,
        )


def _files(folder: Path) -> list[Path]:
    """The TIFF files of a folder in natural order; hidden ones do not count."""
    try:
        found = [one for one in folder.iterdir() if one.suffix.lower() in _ENDINGS and not one.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}.") from error
    if len(found) > _MOST_FILES:
        raise DataError(f"{folder} holds {len(found)} TIFF files; at most {_MOST_FILES} are read.")
    return sorted(found, key=_natural)


def _natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """A key that sorts numbers in names as numbers."""
    parts = re.findall(r"[0-9]+|[^0-9]+", path.name.lower())
    return [(0, int(part), "") if part[0] in "0123456789" else (1, 0, part) for part in parts], path.name


class _Page(NamedTuple):
    """Shape and type of a page."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]


class TiffFrames:
    """The pages of a TIFF file, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        import tifffile

        self.path = path
        if kind_of(path) != TIFF:
            raise DataError(f"{path} is no TIFF file: it holds {kind_of(path)}.")
        pages = _count(path)
        with guarded(str(path)), quiet("tifffile"), tifffile.TiffFile(path) as file:
            page = file.pages.first
            _check_compression(path, page)
            shape, dtype = tuple(int(length) for length in page.shape), page.dtype
            if len(shape) != 2 or dtype is None:
                raise DataError(
                    f"{path}: its first page has shape {shape} and type {dtype}; a frame is (row, column), one number a pixel."
                )
            check_declared(f"{path}, one page", shape, dtype.itemsize, sum(page.databytecounts))
            self._whole = pages == 1 and self._in_one_piece(file)
            frames = _frames_of(file) if self._whole else pages
        self.shape: tuple[int, int, int] = (frames, shape[0], shape[1])
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._reading = threading.Lock()

    def _in_one_piece(self, file: Any) -> bool:  # noqa: ANN401 - tifffile's
        """Whether one page stands for a stack that lies behind it, as ImageJ and tifffile write large ones."""
        return _frames_of(file) > 1 and file.series[0].dataoffset is not None

    def read(self, frames: NDArray[np.integer[Any]] | slice) -> NDArray[Any]:
        """The named frames; see ``ptycho_core.scan.frames.Frames``."""
        import tifffile

        numbers = np.arange(self.shape[0])[frames]
        found = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        with self._reading, guarded(str(self.path)), quiet("tifffile"), tifffile.TiffFile(self.path) as file:
            if self._whole:
                return self._piece(file.series[0].dataoffset or 0, file.byteorder, numbers)
            for place, number in enumerate(numbers):
                page = file.pages[int(number)]
                if tuple(page.shape) != self.shape[1:] or page.dtype != self.dtype:
                    raise DataError(
                        f"{self.path}: page {number} has shape {tuple(page.shape)} and type {page.dtype}, the first"
                        f" {self.shape[1:]} and {self.dtype}."
                    )
                found[place] = page.asarray()
        return found

    def _piece(self, offset: int, order: Literal["<", ">"], numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Frames that lie one behind another in the file."""
        stored = np.memmap(self.path, self.dtype.newbyteorder(order), "r", offset, self.shape)
        return np.asarray(stored[numbers]).astype(self.dtype)


def _check_compression(path: Path, page: Any) -> None:  # noqa: ANN401 - tifffile's
    """Refuse a compression that nothing here undoes, by name."""
    import tifffile

    try:
        _ = tifffile.TIFF.DECOMPRESSORS[page.compression]
    except KeyError:
        name = getattr(page.compression, "name", page.compression)
        raise DataError(
            f"{path} is compressed with {name}, for which tifffile needs the package imagecodecs.",
            remedy="Install it: python -m pip install imagecodecs.",
        ) from None


def _frames_of(file: Any) -> int:  # noqa: ANN401 - tifffile's
    """Frames of the first series: all its axes but the last two."""
    return int(np.prod(file.series[0].shape[:-2], dtype=np.int64)) if len(file.series[0].shape) > 2 else 1


def _count(path: Path) -> int:
    """Number of pages of a TIFF file, whose chain may be damaged: it is followed from page to page, each once.

    Raises:
        DataError: it leads in a circle or out of the file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        order = "little" if head[:2] == b"II" else "big"
        big = head[2:4] in (b"+\x00", b"\x00+")
        count, entry, link = (8, 20, 8) if big else (2, 12, 4)

        def number(data: bytes) -> int:
            return int.from_bytes(data, "little" if order == "little" else "big")

        place, seen = number(head[8:16] if big else head[4:8]), set[int]()
        while place:
            if place in seen or place + count > size or len(seen) >= _MOST_PAGES:
                where = "in a circle" if place in seen else "out of the file"
                raise DataError(
                    f"{path} is damaged: the chain of its pages leads {where} after {len(seen)} of them.",
                    remedy="Copy or download it again.",
                )
            seen.add(place)
            file.seek(place)
            file.seek(place + count + entry * number(file.read(count)))
            place = number(file.read(link))
    if not seen:
        raise DataError(f"{path} holds no page.")
    return len(seen)
