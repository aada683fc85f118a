"""The plain npz layout: ``intensity``, ``positions_px``, ``probe_guess``, named for what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat, Stated, Strength, Word
from ptycho_core.formats.npz import write_npz
from ptycho_core.formats.npz_scan import (
    check_frames,
    npz_facts,
    npz_frames,
    npz_parts,
    read_positions,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.contents import Contents
    from ptycho_core.formats.npz import NpzFile
    from ptycho_core.formats.source import Source
    from ptycho_core.scan.scan import Steps

__all__ = ["KEYS", "PlainNpz", "write_plain_npz"]

KEYS: Final[Mapping[str, str]] = {
    "intensity": "required",
    "positions_px": "required",
    "signal": "optional",
    "probe_guess": "optional",
    "probe_in_counts": "optional",
    "object_guess": "optional",
    "scan_index": "optional",
    "flux": "optional",
    "background": "optional",
    "mask": "optional",
    "photons": "optional",
    "photon_energy_ev": "optional",
    "detector_distance_m": "optional",
    "detector_pixel_size_m": "optional",
    "regime": "optional",
    "focus_to_sample_m": "optional",
    "propagator": "optional",
    "detector_pixel_width_m": "optional",
    "probe_true": "truth",
    "object_true": "truth",
    "positions_true_px": "truth",
    "flux_true": "truth",
    "simulation": "truth",
}
"""The layout's keys; those of the truth are never read as part of a scan."""


class PlainNpz(ScanFormat):
    """Reads the plain npz layout."""

    name = "plain_npz"
    title = "plain npz"
    extensions = (".npz",)
    reads = "Scans of `ptycho simulate`, and of users who write their own arrays with NumPy."
    recognized_by = "`intensity` and `positions_px`"
    written_as = "plain"
    writes = "Scans for ptycho itself and for NumPy, uncompressed, so that frames are mapped when they are read."
    needs = ("patterns",)
    keeps = frozenset(
        ("patterns", "mask", "probe", "probe scale", "object", "scan index", "background", "flux", "energy", "distance", "regime")
    )
    conventions = (
        "`intensity` is (frame, row, column), counts with zero frequency at `[N//2, N//2]`; a key `signal` may say `amplitude`.",
        "`positions_px` is (frame, 2): row and column of each window's `[0, 0]` corner, in object pixels.",
        "`probe_guess` is (mode, N, N); `mask` is True where a pixel is good. `specs/scan-data.md` has all keys.",
        "The keys of a simulated truth (`object_true` and others) are never read as part of a scan.",
    )

    def recognize(self, source: Source) -> Evidence | None:
        """By the names of its arrays."""
        if source.holds("intensity", "positions_px"):
            return Evidence(Strength.LAYOUT, "has 'intensity' and 'positions_px'")
        found = next((name for name in ("intensity", "positions_px") if source.holds(name)), None)
        return None if found is None else Evidence(Strength.NAMES, f"has '{found}'")

    def facts(self, source: Source) -> Mapping[str, Stated]:
        """From the headers and scalars alone."""
        return npz_facts(source.file.archive, ("intensity",))

    def read(self, source: Source) -> RawScan:
        """See `ScanFormat.read`."""
        file = source.file.archive
        header = file.require("intensity")
        where = f"{file.path}: 'intensity'"
        if len(header.shape) != 3:
            raise DataError(f"{where} has shape {header.shape}; patterns have three axes, (frame, row, column).")
        axis: Literal["first", "last"] = "last" if source.frame_axis == "last" else "first"
        frames = npz_frames(file, "intensity", axis)
        check_frames(where, frames.shape, header.dtype, axis)
        positions = None if source.positions and "positions_px" not in file else _positions(file, frames.shape[0])
        # The key's name states counts; a key 'signal' may state otherwise.
        stated = file.text("signal")
        return RawScan(
            frames, "'intensity'", positions, "'positions_px'",
            signal=stated or "counts", signal_by="the key 'signal'" if stated else "the key 'intensity'",
            probe_in_counts="probe_guess" in file and bool(file.number("probe_in_counts")),
            flux=file.array("flux") if "flux" in file else None,
            regime=_word(file, "regime"), propagator=_word(file, "propagator"),
            background=file.array("background") if "background" in file else None,
            used=tuple(key for key, need in KEYS.items() if need != "truth" and key in file),
            **npz_parts(file, frames.shape, "probe_guess", "object_guess"),
        )  # fmt: skip

    def write(self, contents: Contents, path: Path, progress: Steps | None = None) -> tuple[str, ...]:
        """See `ScanFormat.write`."""
        from ptycho_core.formats.npz_writing import write_plain

        return write_plain(contents, path, progress)


def _word(file: NpzFile, name: str) -> Word | None:
    return None if (found := file.text(name)) is None else Word(found, f"'{name}'")


def _positions(file: NpzFile, frames: int) -> NDArray[np.float64]:
    if (places := file.require("positions_px").shape)[:1] == (frames,) and places != (frames, 2):
        raise DataError(f"{file.path}: 'positions_px' has shape {places}; it must be (frame, 2): row, column.")
    return read_positions(file, "positions_px", frames, "intensity")


def write_plain_npz(path: Path, arrays: Mapping[str, NDArray[Any]], *, overwrite: bool = False) -> None:
    """Write a scan in the plain layout, compressed, whole or not at all.

    Args:
        path: the file; its folder must exist.
        arrays: by the keys of ``KEYS``; the required ones must be there.
        overwrite: replace an existing file.

    Raises:
        OutputError: the file exists and may not be replaced, or its place cannot be written.
        ValueError: a key is unknown or a required one is missing.
    """
    unknown = set(arrays) - set(KEYS)
    missing = {key for key, need in KEYS.items() if need == "required"} - set(arrays)
    if unknown or missing:
        raise ValueError(f"the plain npz layout knows no {sorted(unknown)} and needs {sorted(missing)}")
    write_npz(path, {key: np.asarray(arrays[key]) for key in KEYS if key in arrays}, overwrite=overwrite)
