"""Both npz layouts of scans as they are written by a conversion: frames in pieces, and as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.formats.contents import SCALE, PatternStream
from ptycho_core.formats.npz import stream_npz

if TYPE_CHECKING:
    from pathlib import Path

    from ptycho_core.formats.contents import Contents
    from ptycho_core.scan.scan import Steps

__all__ = ["write_pinn", "write_plain"]

_NO_PROBE = "PtychoPINN itself opens no scan without a probe: give one with --probe FILE."
_MODES = "PtychoPINN itself takes one mode of the probe; 'probeGuess' has {}."


def write_plain(contents: Contents, path: Path, progress: Steps | None) -> tuple[str, ...]:
    """See `ptycho_core.formats.interface.ScanFormat.write`."""
    arrays: dict[str, Any] = {"positions_px": contents.places} | _common(contents)
    arrays |= {"signal": np.array("counts"), "intensity": _patterns(contents, "counts")}
    if contents.probe is not None:
        arrays |= {"probe_guess": contents.probe, "probe_in_counts": np.array(contents.probe_in_counts)}
    if contents.object is not None:
        arrays["object_guess"] = contents.object
    if contents.scan_index is not None:
        arrays["scan_index"] = contents.scan_index
    if contents.background is not None:
        arrays["background"] = contents.background
    if contents.flux is not None:
        arrays["flux"] = contents.flux
    arrays |= {name: np.array(value) for name, value in contents.regime.items()}
    stream_npz(path, arrays, progress)
    return ()


def write_pinn(contents: Contents, path: Path, progress: Steps | None) -> tuple[str, ...]:
    """See `ptycho_core.formats.interface.ScanFormat.write`."""
    image, positions, notes = contents.on_an_object()
    rows, columns = np.ascontiguousarray(positions.T) + contents.size // 2
    index = np.zeros(len(positions), np.int64) if contents.scan_index is None else contents.scan_index
    arrays: dict[str, Any] = {"xcoords": columns, "ycoords": rows, "xcoords_start": columns, "ycoords_start": rows}
    arrays |= {"objectGuess": image, "scan_index": index} | _common(contents)
    arrays |= {"signal": np.array("amplitude"), "diffraction": _patterns(contents, "amplitude")}
    if contents.probe is None:
        notes = (*notes, _NO_PROBE)
    else:
        modes = len(contents.probe)
        arrays["probeGuess"] = contents.probe[0] if modes == 1 else contents.probe
        notes = notes if modes == 1 else (*notes, _MODES.format(modes))
    stream_npz(path, arrays, progress)
    return notes


def _patterns(contents: Contents, signal: str) -> PatternStream:
    assert contents.patterns is not None
    return PatternStream(contents.patterns, signal)


def _common(contents: Contents) -> dict[str, Any]:
    """What both layouts call the same."""
    names = (*SCALE[:3], "detector_pixel_width_m")
    found = {name: np.array(value) for name in names if (value := getattr(contents, name)) is not None}
    return found if contents.good.all() else found | {"mask": contents.good}
