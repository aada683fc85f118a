"""The scan that a reconstruction was made from, read as it was read then."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.errors import DataError, PtychoError
from ptycho_core.formats.opening import open_scan
from ptycho_core.modelfile.trained import trained_settings
from ptycho_core.scan.selection import with_frames
from ptycho_core.settings.data import AUTO

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ptycho_core.formats.product import Reconstruction
    from ptycho_core.scan.scan import Scan

__all__ = ["scan_of_result"]

_READING: Final[tuple[str, ...]] = ("signal", "frame_axis", "photons", "size", "dark", "clip_negative", "bin", "frames", "margin")
"""How a result says that its patterns were read: the misfit is of those."""

_FILE: Final[tuple[str, ...]] = (
    "format", "dataset", "positions", "position_unit", "beam_center", "photon_energy_ev", "detector_distance_m",
    "detector_pixel_size_m", "object_pixel_m", "regime", "focus_to_sample_m", "propagator",
)  # fmt: skip
"""How it says that the file of the scan was read; another file of the same scan may be of another format."""


def scan_of_result(one: Reconstruction, result: Path, path: Path, asked: Mapping[str, Any] | None = None) -> Scan:
    """The frames that a reconstruction was made from, in their order, with its mask.

    Args:
        one: the reconstruction.
        result: its file, for messages.
        path: the scan, which need not be the file of then.
        asked: *data* settings that go before those of then.

    Raises:
        DataError: the scan has other frames, or patterns of another size.
        PtychoError: it cannot be opened.
    """
    kept = trained_settings(one.settings, str(result))
    read, file = ({name: kept[name]["value"] for name in names if name in kept} for names in (_READING, _FILE))
    if kept.get("mask", {}).get("value") == AUTO:
        read["mask"] = AUTO  # what is stored there may be no counts
    scan = _opened(path, read, file, dict(asked or {}))
    if scan.size != one.N:
        raise DataError(f"{path} has patterns of {scan.size} pixels, {result} was made from patterns of {one.N}.")
    if one.frames is not None and one.frames[-1] < len(scan) and one.frames[0] >= 0:
        scan = with_frames(scan, one.frames)
    if len(scan.positions) != len(one.positions):
        raise DataError(f"{path} has {len(scan.positions)} frames, {result} was made from {len(one.positions)}.")
    return scan if one.mask is None else replace(scan, mask=one.mask)


def _opened(path: Path, read: dict[str, Any], file: dict[str, Any], asked: dict[str, Any]) -> Scan:
    """The scan as it was read for the result; one that cannot be read so, by its content alone.

    Raises:
        PtychoError: that cannot be done either; the first reason is given.
    """
    try:
        return open_scan(path, read | file | asked)
    except PtychoError:
        try:
            return open_scan(path, read | asked)
        except PtychoError:
            pass
        raise
