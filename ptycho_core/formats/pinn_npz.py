"""The npz layout of PtychoPINN: ``diffraction``, ``xcoords``, ``ycoords``, ``probeGuess``, ``objectGuess``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.checks import check_frames, read_dark, read_mask, read_positions, remedy_for_numbers, scan_of, signal
from ptycho_core.scan.patterns import ArrayPatterns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_core.formats.npz import NpzFile
    from ptycho_core.formats.opening import ScanFile
    from ptycho_core.scan.scan import Scan
    from ptycho_core.settings.data import DataSettings

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


class PinnNpz:
    """Reads the npz layout of PtychoPINN."""

    name = "PtychoPINN npz"

    def matches(self, opened: ScanFile) -> bool:
        """Whether an archive has patterns or positions under this layout's names."""
        return opened.holds_any("diffraction", "diff3d", "xcoords")

    def read(self, opened: ScanFile, settings: DataSettings) -> Scan:
        """Open a scan; see ``Reader.read``.

        The coordinates are those of a window's pixel ``N // 2``. ptychodus (1.7), whose files alone have ``bad_pixels``, states
        the middle ``(N − 1) / 2`` and stores counts.
        """
        file, path, notes = opened.archive, opened.path, list[str]()
        header = file.require("diffraction", "diff3d")
        name = "diffraction" if "diffraction" in file else "diff3d"
        where = f"{path}: '{name}'"
        number = _number_of_positions(file)
        axis = _frame_axis(where, header.shape, number, settings, notes)
        rows, columns = (header.shape[0], header.shape[1]) if axis == "last" else (header.shape[1], header.shape[2])
        frames = header.shape[2] if axis == "last" else header.shape[0]
        check_frames(where, (frames, rows, columns), header.dtype, axis)
        centres = [read_positions(file, key, frames, name).reshape(frames) for key in ("ycoords", "xcoords")]
        host = "bad_pixels" in file
        stated, by = file.text("signal"), "the key 'signal'"
        if stated is None and host:
            stated, by = "counts", "the key 'bad_pixels', which ptychodus writes beside counts,"
        kind, why = signal(where, header.dtype, settings, stated, by)
        notes.append(why)
        mask = read_mask(file, settings, rows, notes, bad="bad_pixels")
        if "xcoords_start" in file:
            notes.append("Positions: 'xcoords' and 'ycoords'; those before refinement ('xcoords_start') are left aside.")
        patterns = ArrayPatterns(
            file.lazy(name), header.shape, header.dtype, where=where, frame_axis=axis, signal=kind, mask=mask,
            dark=read_dark(settings, rows, notes), clip_negative=settings.clip_negative,
        )  # fmt: skip
        positions = np.stack(centres, axis=1) - ((rows - 1) / 2 if host else rows // 2)
        return scan_of(
            file, settings, patterns, "probeGuess", "objectGuess", notes, positions=positions, mask=mask, format=self.name,
            signal=kind,
        )  # fmt: skip


def _number_of_positions(file: NpzFile) -> int:
    x, y = file.require("xcoords"), file.require("ycoords")
    if x.shape != y.shape or len(x.shape) not in (1, 2) or (len(x.shape) == 2 and x.shape[1] != 1):
        raise DataError(f"{file.path}: 'xcoords' has shape {x.shape} and 'ycoords' {y.shape}; both must be (frame,).")
    return x.shape[0]


def _frame_axis(
    where: str, shape: tuple[int, ...], number: int, settings: DataSettings, notes: list[str]
) -> Literal["first", "last"]:
    """Which axis counts frames: the one as long as the coordinates, if the user does not state it."""
    if len(shape) != 3:
        raise DataError(f"{where} has shape {shape}; patterns have three axes, (frame, row, column) or (row, column, frame).")
    if settings.frame_axis != "auto":
        return "last" if settings.frame_axis == "last" else "first"
    first, last = shape[0] == number, shape[2] == number
    if first and last and shape[1] == number:
        raise DataError(
            f"{where} has shape {shape} and there are {number} positions: the axis of the frames cannot be told.",
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
