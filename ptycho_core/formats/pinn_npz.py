"""The npz layout of PtychoPINN: ``diffraction``, ``xcoords``, ``ycoords``, ``probeGuess``, ``objectGuess``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Stated, Strength
from ptycho_core.formats.npz_scan import (
    check_frames,
    npz_facts,
    npz_frames,
    npz_parts,
    read_positions,
    remedy_for_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.contents import Contents
    from ptycho_core.formats.npz import NpzFile
    from ptycho_core.formats.source import Source
    from ptycho_core.scan.scan import Steps

__all__ = ["KEYS", "PinnNpz"]

KEYS: Final[Mapping[str, str]] = {
    "diffraction": "required",
    "diff3d": "alias",
    "xcoords": "required",
    "ycoords": "required",
    "signal": "optional",
    "probeGuess": "optional",
    "objectGuess": "optional",
    "scan_index": "optional",
    "mask": "optional",
    "bad_pixels": "optional",
    "photons": "optional",
    "nphotons": "alias",
    "photon_energy_ev": "optional",
    "photon_energy_eV": "alias",
    "detector_distance_m": "optional",
    "detector_pixel_size_m": "optional",
    "xcoords_start": "ignored",
    "ycoords_start": "ignored",
    "Y": "ignored",
}
"""The layout's keys; an alias stands for the key before it."""


class PinnNpz(ScanFormat):
    """Reads the npz layout of PtychoPINN."""

    name = "pinn_npz"
    title = "PtychoPINN npz"
    extensions = (".npz",)
    reads = "Scans of PtychoPINN, and those that ptychodus exports for it."
    recognized_by = "`diffraction` or `diff3d`, `xcoords`, `ycoords`"
    written_as = "pinn"
    writes = (
        "Scans for PtychoPINN: amplitudes under `diffraction`, float64 where they are computed, so that their squares are the "
        "counts again. PtychoPINN needs `objectGuess`, `scan_index` and `xcoords_start`: where nothing is known they are an "
        "object of 1, zeros, and the coordinates."
    )
    needs = ("patterns",)
    keeps = frozenset({"patterns", "mask", "probe", "object", "scan index", "energy", "distance"})
    conventions = (
        "`diffraction` (or `diff3d`) is (frame, row, column), in old files (row, column, frame): the axis as long as the "
        "positions counts the frames. Whole numbers are counts and others amplitudes, unless a key `signal` says otherwise.",
        "`xcoords` is the column and `ycoords` the row of a window's pixel `N // 2`, in object pixels.",
        "ptychodus writes `bad_pixels`, True = bad, next to counts; its coordinates are those of the middle `(N − 1) / 2`.",
        "`xcoords_start`, `ycoords_start` (before refinement) and `Y` are left aside.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By the names of its arrays."""
        patterns = next((name for name in ("diffraction", "diff3d") if source.holds(name)), None)
        if patterns is not None and source.holds("xcoords", "ycoords"):
            return Evidence(Strength.LAYOUT, f"has '{patterns}', 'xcoords' and 'ycoords'")
        found = patterns or next((name for name in ("xcoords", "ycoords") if source.holds(name)), None)
        return None if found is None else Evidence(Strength.NAMES, f"has '{found}'")

    def facts(self, source: Source) -> Mapping[str, Stated]:
        """From the headers and scalars alone."""
        return npz_facts(source.file.archive, ("diffraction", "diff3d"))

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file, notes = source.file.archive, list[str]()
        header = file.require("diffraction", "diff3d")
        name = "diffraction" if "diffraction" in file else "diff3d"
        where = f"{file.path}: '{name}'"
        apart = source.positions is not None and "xcoords" not in file
        number = None if apart else _number_of_positions(file)
        axis = _frame_axis(where, header.shape, number, source.frame_axis, notes)
        frames = npz_frames(file, name, axis)
        check_frames(where, frames.shape, header.dtype, axis)
        host = "bad_pixels" in file
        stated, by = file.text("signal"), "the key 'signal'"
        if stated is None and host:
            stated, by = "counts", "the key 'bad_pixels', which ptychodus writes next to counts,"
        if "xcoords_start" in file:
            notes.append("Positions: 'xcoords' and 'ycoords'; those before refinement ('xcoords_start') are left aside.")
        return RawScan(
            frames, f"'{name}'", None if apart else _positions(file, frames.shape[0], name), "'ycoords' and 'xcoords'",
            window="middle" if host else "center", signal=stated, signal_by=by, notes=tuple(notes),
            used=tuple(key for key, need in KEYS.items() if need != "ignored" and key in file),
            **npz_parts(file, frames.shape, "probeGuess", "objectGuess", bad="bad_pixels"),
        )  # fmt: skip

    def write(self, contents: Contents, path: Path, progress: Steps | None = None) -> tuple[str, ...]:
        """See `ScanFormat.write`."""
        from ptycho_core.formats.npz_writing import write_pinn

        return write_pinn(contents, path, progress)


def _positions(file: NpzFile, frames: int, patterns: str) -> NDArray[np.float64]:
    both = [read_positions(file, key, frames, patterns).reshape(frames) for key in ("ycoords", "xcoords")]
    return np.stack(both, axis=1)


def _number_of_positions(file: NpzFile) -> int:
    x, y = file.require("xcoords"), file.require("ycoords")
    if x.shape != y.shape or len(x.shape) not in (1, 2) or (len(x.shape) == 2 and x.shape[1] != 1):
        raise DataError(f"{file.path}: 'xcoords' has shape {x.shape} and 'ycoords' {y.shape}; both must be (frame,).")
    return x.shape[0]


def _frame_axis(where: str, shape: tuple[int, ...], number: int | None, asked: str, notes: list[str]) -> Literal["first", "last"]:
    """Which axis counts frames: the one as long as the coordinates, if the user does not state it."""
    if len(shape) != 3:
        raise DataError(f"{where} has shape {shape}; patterns have three axes, (frame, row, column) or (row, column, frame).")
    if asked != "auto" or number is None:
        return "last" if asked == "last" else "first"
    first, last = shape[0] == number, shape[2] == number
    if first and last and shape[1] == number:
        raise DataError(
            f"{where} has shape {shape} and there are {number} positions: the axis of the frames is not determined.",
            remedy="Give --frame-axis first or last.",
        )
    if last and not first:
        notes.append(f"Axes: (row, column, frame), since the last of {shape} is the number of positions.")
        return "last"
    if not first:
        raise DataError(
            f"{where} has shape {shape} but 'xcoords' has {number} positions; there must be one for each frame.",
            remedy=remedy_for_numbers(number, shape[2] if shape[0] == shape[1] else shape[0]),
        )
    return "first"
