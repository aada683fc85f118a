"""Files of ptypy as they are written: a prepared scan (``.ptyd``) and a result (``.ptyr``), as its ``io.h5rw`` lays them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np

from ptycho_core.formats.contents import PatternStream
from ptycho_core.formats.hdf5_file import put_patterns, stream_hdf5
from ptycho_core.scan.scan import CHUNK

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.contents import Contents
    from ptycho_core.scan.scan import Steps

__all__ = ["write_ptyd", "write_ptyr"]

_VERSION: Final = "0.1"
"""Of the layout that ``h5rw`` of ptypy 0.9 writes."""

_STORAGE: Final = "S00G00"
"""How ptypy calls the first storage."""


def write_ptyd(contents: Contents, path: Path, progress: Steps | None) -> tuple[str, ...]:
    """See `ptycho_core.formats.interface.ScanFormat.write`: one chunk, with a weight for each pixel of each frame."""
    assert contents.patterns is not None
    stream, size = PatternStream(contents.patterns), contents.size
    meta = {
        "version": float(_VERSION), "num_frames": stream.shape[0], "label": contents.name, "shape": np.array([size, size]),
        "psize": np.full(2, contents.detector_pixel_size_m), "energy": _kilo(contents.photon_energy_ev),
        "center": np.full(2, float(size // 2)), "distance": contents.detector_distance_m,
    }  # fmt: skip

    def fill(storage: Any) -> None:  # noqa: ANN401 - a binary file of Python's
        with h5py.File(storage, "w") as file:
            file.attrs["h5rw_version"] = _VERSION
            _group(file, "meta", "dict")
            for key, value in meta.items():
                _put(file["meta"], key, value)
            chunk = _group(_group(file, "chunks", "dict"), "0", "dict")
            _put(chunk, "indices", np.arange(stream.shape[0]), "arraylist")
            _put(chunk, "positions", contents.metres(size // 2))
            put_patterns(chunk, "data", stream, progress).attrs["type"] = "array"
            _put_weights(chunk, contents.good, stream.shape[0])

    stream_hdf5(path, fill)
    return ()


def write_ptyr(contents: Contents, path: Path, progress: Steps | None) -> tuple[str, ...]:
    """See `ptycho_core.formats.interface.ScanFormat.write`: one storage of each, a layer for each mode of the probe."""
    del progress
    assert contents.probe is not None
    assert contents.object is not None
    image, pixel = contents.object[np.newaxis], contents.object_pixel_m
    assert pixel is not None
    zero = (np.array(contents.object.shape) - 1) / 2  # the pixel of coordinate 0, as `Contents.metres` has it
    half = np.full(2, contents.size // 2)

    def fill(storage: Any) -> None:  # noqa: ANN401 - a binary file of Python's
        with h5py.File(storage, "w") as file:
            file.attrs["h5rw_version"] = _VERSION
            header, content = _group(file, "header", "dict"), _group(file, "content", "param")
            _put(header, "kind", "minimal")
            _put(header, "description", "Ptypy .h5 compatible storage format")
            for kind, values, middle in (("obj", image, zero), ("probe", contents.probe, half)):
                one = _group(_group(content, kind, "dict"), _STORAGE, "dict")
                _put_storage(one, values, middle, pixel, _kilo(contents.photon_energy_ev))
            _put(_group(content, "positions", "dict"), _STORAGE, contents.metres(contents.size // 2))

    stream_hdf5(path, fill)
    return ()


def _kilo(energy_ev: float | None) -> float | None:
    return None if energy_ev is None else energy_ev / 1e3


def _put_storage(
    group: h5py.Group, values: NDArray[Any] | None, middle: NDArray[np.floating[Any]], pixel: float, energy: float | None
) -> None:
    """A storage: layers (layer, row, column), with ``position = pixel · _psize + _origin``."""
    assert values is not None
    entries = {
        "ID": _STORAGE, "data": values, "shape": np.array(values.shape), "_psize": np.full(2, pixel), "_center": middle,
        "_origin": -middle * pixel, "_energy": energy, "nlayers": len(values), "fill_value": 0.0, "padding": 0,
        "layermap": np.arange(len(values)),
    }  # fmt: skip
    for key, value in entries.items():
        _put(group, key, value, {"shape": "arraytuple", "layermap": "arraylist"}.get(key, ""))


def _group(parent: h5py.Group, key: str, kind: str) -> h5py.Group:
    made = parent.create_group(key)
    made.attrs["type"] = kind
    return made


def _put(group: h5py.Group, key: str, value: Any, kind: str = "") -> None:  # noqa: ANN401 - a number, a text or an array
    """An item with its type, by which ptypy builds it again; None is a zero of its own type."""
    data = group.create_dataset(key, data=np.zeros(1) if value is None else value)
    text = "None" if value is None else "string" if isinstance(value, str) else "array" if np.ndim(value) else "scalar"
    data.attrs["type"] = kind or text


def _put_weights(chunk: h5py.Group, good: NDArray[np.bool_], frames: int) -> None:
    """1 at good pixels, for each frame as ptypy has them; compressed, since all frames are alike."""
    data = chunk.create_dataset(
        "weights", (frames, *good.shape), np.uint8, chunks=(min(CHUNK, frames), *good.shape), compression="gzip",
        compression_opts=1,
    )  # fmt: skip
    piece = np.broadcast_to(good.astype(np.uint8), (min(CHUNK, frames), *good.shape))
    for first in range(0, frames, CHUNK):
        data[first : first + CHUNK] = piece[: frames - first]
    data.attrs["type"] = "array"
