"""Scans of tike: ``data``, ``scan``, and mostly ``probe`` and ``psi``, in an npz; zero frequency is at ``[0, 0]``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.checks import check_object
from ptycho_core.formats.interface import Evidence, RawResult, RawScan, ScanFormat, Strength
from ptycho_core.scan.frames import ArrayFrames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.formats.npz import NpzFile
    from ptycho_core.formats.source import Source

__all__ = ["Tike"]

_KEYS: Final = ("data", "scan", "probe", "psi")


class Tike(ScanFormat):
    """Reads scans of tike."""

    name = "tike"
    title = "tike"
    extensions = (".npz",)
    reads = "Scans of tike 0.26 in one npz; its object serves as a start and is scored."
    recognized_by = "`data` and `scan`, with `probe` or `psi`"
    conventions = (
        "`data` is (frame, row, column), counts with zero frequency at `[0, 0]`; an axis of one before it does not count.",
        "`scan` is (frame, 2), object pixels, row first: the corner of each window in `psi`.",
        "`probe` is (…, mode, N, N): of its axes before the mode the first entry is taken. `psi` is (layer, row, column).",
        "The file states no geometry: lengths need `--photon-energy-ev`, `--detector-distance-m`, `--detector-pixel-size-m`.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By the names of its arrays."""
        if not source.holds("data", "scan"):
            return None
        found = [key for key in _KEYS if source.holds(key)]
        strength = Strength.LAYOUT if len(found) > 2 else Strength.NAMES
        return Evidence(strength, f"has {', '.join(repr(key) for key in found)}")

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file = source.file.archive
        file.require("data")
        positions = _positions(file) if "scan" in file else None
        notes = list[str]()
        probe = _probe(file, notes) if "probe" in file else None
        guess = None
        if "psi" in file:
            layers = _object(file)
            if len(layers) == 1:
                guess = check_object(f"{file.path}: 'psi'", layers[0])
            else:
                notes.append(f"Object: 'psi' has {len(layers)} layers and is left aside.")
        return RawScan(
            _frames(file), "'data'", positions, "'scan'", signal="counts", zero="corner", probe=probe, probe_key="'probe'",
            object_guess=guess, notes=tuple(notes), used=tuple(key for key in _KEYS if key in file),
        )  # fmt: skip

    def result(self, source: Source) -> RawResult | None:
        """The object ``psi``, with the probe and the positions next to it."""
        if not (source.holds("psi") and (source.holds("scan") or source.holds("probe"))):
            return None
        file, notes = source.file.archive, list[str]()
        layers = _object(file)
        probe = _probe(file, notes) if "probe" in file else None
        positions = _positions(file) if "scan" in file else None
        if positions is not None and not np.isfinite(positions).all():
            raise DataError(f"{file.path}: 'scan', shape {positions.shape}, holds positions that are not finite.")
        return RawResult(layers, probe, positions, notes=tuple(notes))


def _frames(file: NpzFile) -> ArrayFrames:
    header = file.headers["data"]
    shape = _bare(header.shape, 3)
    if len(shape) != 3:
        raise DataError(f"{file.path}: 'data' has shape {header.shape}; frames are (frame, row, column).")
    stored = file.lazy("data")
    return ArrayFrames(lambda: stored().reshape(shape), shape, header.dtype)


def _positions(file: NpzFile) -> NDArray[np.float64]:
    header = file.headers["scan"]
    shape = _bare(header.shape, 2)
    if len(shape) != 2 or shape[1] != 2 or header.dtype.kind not in "iuf":
        raise DataError(
            f"{file.path}: 'scan' has shape {header.shape} and type {header.dtype}; positions are (frame, 2): row, column."
        )
    with np.errstate(over="ignore"):
        values: NDArray[np.float64] = file.array("scan").reshape(shape).astype(np.float64)
    return values


def _probe(file: NpzFile, notes: list[str]) -> NDArray[Any]:
    """(mode, N, N)."""
    header = file.headers["probe"]
    shape = header.shape
    if header.dtype.kind not in "fc" or len(shape) < 2 or 0 in shape:
        raise DataError(f"{file.path}: 'probe' has shape {shape} and type {header.dtype}; a probe is complex, (…, mode, N, N).")
    values = file.array("probe")
    before = int(np.prod(shape[:-3], dtype=np.int64))
    if before > 1:
        notes.append(f"Probe: 'probe' has shape {shape}; the first of {before} is taken, as if it were the same for all frames.")
    modes: NDArray[Any] = values.reshape(before, -1, *shape[-2:])[0]
    return modes


def _object(file: NpzFile) -> NDArray[Any]:
    """(layer, row, column)."""
    header = file.headers["psi"]
    if header.dtype.kind not in "fc" or len(header.shape) < 2 or 0 in header.shape:
        raise DataError(
            f"{file.path}: 'psi' has shape {header.shape} and type {header.dtype}; an object is complex, (layer, row, column)."
        )
    return file.array("psi").reshape(-1, *header.shape[-2:])


def _bare(shape: tuple[int, ...], dimensions: int) -> tuple[int, ...]:
    """A shape without the axes of one that stand before those that are expected."""
    while len(shape) > dimensions and shape[0] == 1:
        shape = shape[1:]
    return shape
