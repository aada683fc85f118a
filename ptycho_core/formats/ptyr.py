"""Results of ptypy: ``.ptyr``, HDF5 with the storages of object and probe in ``content``."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.interface import Evidence, RawResult, RawScan, ScanFormat, Strength
from ptycho_core.formats.ptypy_hdf5 import is_array, number, pair
from ptycho_core.units import ENERGIES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.contents import Contents
    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source
    from ptycho_core.scan.scan import Steps

__all__ = ["Ptyr"]


class Ptyr(ScanFormat):
    """Reads results of ptypy, as a start and for scores; they hold no frames."""

    name = "ptyr"
    title = "ptypy ptyr"
    extensions = (".ptyr",)
    reads = "Results of ptypy, for `--start`, `--probe` and `score`; they hold no frames, and are no scans."
    recognized_by = "the groups `content/obj` and `content/probe`"
    written_as = "ptypy"
    writes = "Reconstructions without their scan: probe, object and positions, which `load_from_ptyr` of ptypy loads."
    needs = ("object", "probe", "positions", "object_pixel_m")
    keeps = frozenset({"probe", "object", "energy", "pixel"})
    conventions = (
        "The first storages of `content/obj` and `content/probe` are taken; `data` is (layer, row, column).",
        "`corner = (position − _origin) / _psize − N // 2`, with `content/positions/<ID>` in metres, row first.",
        "A file without positions takes those of the `.ptyd` next to it that `content/pars/scans/*/data` names.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By its groups, so that `read` says what it is."""
        if source.has("content/obj", "content/probe"):
            return Evidence(Strength.LAYOUT, "has 'content/obj' and 'content/probe'")
        return None

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`.

        Raises:
            DataError: always.
        """
        raise DataError(
            f"{source.path} is a result of ptypy, not a scan: it holds no frames.",
            remedy="Give the .ptyd as SCAN, and this file with --start or --probe.",
        )

    def result(self, source: Source) -> RawResult | None:
        """Object and probe of the first storage of each."""
        if not source.has("content/obj", "content/probe"):
            return None
        file, notes = source.hdf5, list[str]()
        image, probe = _storage(file, "obj", notes), _storage(file, "probe", notes)
        if image is None and probe is None:
            raise DataError(f"{file.where('content')} holds neither an object nor a probe.")
        pixel = None if image is None else pair(file, f"{image}/_psize")
        if pixel is not None and min(pixel) <= 0:
            raise DataError(f"{file.where(f'{image}/_psize')} is {pixel[0]:g}, {pixel[1]:g}; a pixel is above 0 m wide.")
        window = None if probe is None else _data(file, probe)
        positions = None
        if image is not None and window is not None and pixel is not None:
            positions = _corners(source, image, pixel, window.shape[-1], notes)
        energy = None if image is None else number(file, f"{image}/_energy")
        energy = None if energy is None or energy <= 0 else energy * ENERGIES["keV"]
        return RawResult(None if image is None else _data(file, image), window, positions, pixel, tuple(notes), energy)

    def write(self, contents: Contents, path: Path, progress: Steps | None = None) -> tuple[str, ...]:
        """See `ScanFormat.write`."""
        from ptycho_core.formats.ptypy_writing import write_ptyr

        return write_ptyr(contents, path, progress)


def _storage(file: Hdf5Source, kind: str, notes: list[str]) -> str | None:
    """The key of the first storage of a kind that holds data."""
    names = [name for name in sorted(file.names(f"content/{kind}")) if is_array(file, f"content/{kind}/{name}/data")]
    if len(names) > 1:
        notes.append(f"{file.path}: of {len(names)} storages in 'content/{kind}' the first, '{names[0]:.40}', is taken.")
    return f"content/{kind}/{names[0]}" if names else None


def _data(file: Hdf5Source, storage: str) -> NDArray[Any]:
    """(layer, row, column)."""
    return file.array(f"{storage}/data", [2, 3])


def _corners(source: Source, image: str, pixel: tuple[float, float], size: int, notes: list[str]) -> NDArray[np.float64] | None:
    """(frame, 2), corners of the windows in pixels of the object; None where no positions are known."""
    file = source.hdf5
    metres = _positions(source, image.rpartition("/")[2])
    origin = pair(file, f"{image}/_origin")
    if metres is None or origin is None:
        notes.append(f"{file.path} holds no positions, and the .ptyd that it was made from is not next to it.")
        return None
    found: NDArray[np.float64] = (metres - origin) / pixel - size // 2
    if not np.isfinite(found).all():
        raise DataError(f"{file.path}: its positions are not finite in pixels of the object.")
    return found


def _positions(source: Source, storage: str) -> NDArray[np.float64] | None:
    """Metres, (frame, 2): those of the file, else those of the scan that it names."""
    file = source.hdf5
    if file.has("content/positions"):
        names = file.names("content/positions") if not is_array(file, "content/positions") else [""]
        name = storage if storage in names else names[0] if len(names) == 1 else None
        key = "content/positions" if name == "" else f"content/positions/{name}"
        if name is not None and is_array(file, key, last=2):
            return file.floats(key, [2])
    if not file.has("content/pars/scans"):
        return None
    for scan in file.names("content/pars/scans"):
        for word in ("source", "dfile"):
            given = file.words(f"content/pars/scans/{scan}/data/{word}")
            place = source.beside(PurePath(given.replace("\\", "/")).name) if given else None
            if place is not None:
                return _of_scan(source, place)
    return None


def _of_scan(source: Source, place: Path) -> NDArray[np.float64] | None:
    from ptycho_core.formats.ptyd import Ptyd, stored_positions
    from ptycho_core.formats.source import ScanFile, Source

    scan = Source(ScanFile(place))
    if Ptyd().recognize(scan) is None:
        return None
    source.take(place)
    return stored_positions(scan)
