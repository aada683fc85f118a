"""The plain npz layout: ``intensity``, ``positions_px``, ``probe_guess``, named for what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.checks import check_frames, read_dark, read_mask, read_positions, scan_of, signal
from ptycho_core.formats.npz import write_npz
from ptycho_core.scan.patterns import ArrayPatterns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.opening import ScanFile
    from ptycho_core.scan.scan import Scan
    from ptycho_core.settings.data import DataSettings

__all__ = ["KEYS", "PlainNpz", "write_plain_npz"]

KEYS: Final[Mapping[str, str]] = {
    "intensity": "required",
    "positions_px": "required",
    "signal": "optional",
    "probe_guess": "optional",
    "probe_in_counts": "optional",
    "object_guess": "optional",
    "scan_index": "optional",
    "mask": "optional",
    "photons": "optional",
    "photon_energy_ev": "optional",
    "detector_distance_m": "optional",
    "detector_pixel_size_m": "optional",
    "probe_true": "truth",
    "object_true": "truth",
    "positions_true_px": "truth",
    "simulation": "truth",
}
"""The layout's keys; those of the truth are never read as part of a scan."""


class PlainNpz:
    """Reads the plain npz layout."""

    name = "plain npz"

    def matches(self, opened: ScanFile) -> bool:
        """Whether an archive has patterns or positions under this layout's names."""
        return opened.holds_any("intensity", "positions_px")

    def read(self, opened: ScanFile, settings: DataSettings) -> Scan:
        """Open a scan; see ``Reader.read``."""
        file, path, notes = opened.archive, opened.path, list[str]()
        header = file.require("intensity")
        where = f"{path}: 'intensity'"
        if len(header.shape) != 3:
            raise DataError(f"{where} has shape {header.shape}; patterns have three axes, (frame, row, column).")
        if settings.frame_axis == "last":
            shape = (header.shape[2], header.shape[0], header.shape[1])
        else:
            shape = (header.shape[0], header.shape[1], header.shape[2])
        axis: Literal["first", "last"] = "last" if settings.frame_axis == "last" else "first"
        check_frames(where, shape, header.dtype, axis)
        if (places := file.require("positions_px").shape)[:1] == shape[:1] and places != (shape[0], 2):
            raise DataError(f"{path}: 'positions_px' has shape {places}; it must be (frame, 2): row, column.")
        positions = read_positions(file, "positions_px", shape[0], "intensity")
        # The key's name states counts; a key 'signal' may state otherwise.
        stated, by = file.text("signal"), "the key 'signal'"
        if stated is None:
            stated, by = "counts", "the key 'intensity'"
        kind, why = signal(where, header.dtype, settings, stated, by)
        notes.append(why)
        mask = read_mask(file, settings, shape[1], notes)
        patterns = ArrayPatterns(
            file.lazy("intensity"), header.shape, header.dtype, where=where, frame_axis=axis, signal=kind, mask=mask,
            dark=read_dark(settings, shape[1], notes), clip_negative=settings.clip_negative,
        )  # fmt: skip
        return scan_of(
            file, settings, patterns, "probe_guess", "object_guess", notes, positions=positions, mask=mask, format=self.name,
            signal=kind, probe_scaled="probe_guess" in file and bool(file.number("probe_in_counts")),
        )  # fmt: skip


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
