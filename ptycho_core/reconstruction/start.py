"""Where a reconstruction starts: object, probe and positions in the pixels of one canvas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.product import StoredObject, read_object
from ptycho_core.physics.forward import intensities
from ptycho_core.reconstruction.affine_search import RANGE
from ptycho_core.reconstruction.modes import add_probe_modes
from ptycho_core.reconstruction.position_search import SEARCHES, reach_of
from ptycho_core.scan.canvas import object_canvas
from ptycho_core.scan.pairing import paired
from ptycho_core.scan.scan import LEAST_SHARE, Scan, scaled_probe
from ptycho_core.scan.selection import frame_numbers
from ptycho_core.scan.size import followed_object

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.settings.reconstruction import ReconstructionSettings

__all__ = ["Start", "common_factor", "prepare_start"]

MARGIN = 2
"""Pixels around the scanned windows, for positions that are rounded."""

POSITION_MARGIN = 8
"""The same where positions are refined and may move outwards."""

_ELSEWHERE = 0.5
"""Pixels, rms along an axis, by which positions of a start differ from the scan's where its object hardly serves these."""

_ROUNDING = 1e-3
"""Parts of a pixel that come from rounding, in metres or in float32, and not from where an object lies."""


@dataclass(frozen=True)
class Start:
    """What an engine begins with.

    Attributes:
        object: complex64 (rows, columns).
        probe: complex64 (mode, N, N), in counts.
        positions: float64 (frame, 2), (row, column) of each window's ``[0, 0]`` corner in ``object``.
        origin: float64 (2,), the scan coordinates of the object's pixel ``[0, 0]``.
        probe_factor: what the given probe was multiplied by to be in counts.
        notes: what of the files could not be taken as it is, a sentence each.
    """

    object: NDArray[np.complex64]
    probe: NDArray[np.complex64]
    positions: NDArray[np.float64]
    origin: NDArray[np.float64]
    probe_factor: float
    notes: tuple[str, ...] = ()


def prepare_start(
    scan: Scan,
    options: ReconstructionSettings,
    *,
    seed: int,
    probe: str | None = None,
    inferred: StoredObject | None = None,
) -> Start:
    """The start for a scan: flat object and the scan's probe, unless files say otherwise.

    Args:
        scan: the measured scan.
        options: with the number of probe modes wanted (weak orthogonal ones are added to those given), the result ``start`` whose
            object (and, without ``probe``, probe) is taken, and how far windows must be able to move outwards.
        seed: of what the added modes are mixed with.
        probe: what the scan's probe was asked for as, which then goes before that of ``start``; None where it was not.
        inferred: the object that the model file ``options.start`` gave for this scan, if that is what it is.

    Raises:
        DataError: no probe anywhere, a probe of another size than the patterns, more modes given than wanted, or a start whose
            object does not cover the scan.
    """
    size, modes = scan.size, options.modes
    start = None if options.start is None else Path(options.start)
    stored = inferred
    if start is not None and inferred is None:
        stored = followed_object(scan, read_object(start, "start"), start, own=start == scan.source)
    given, where = _probe(scan, stored, start, probe)
    if given.shape[-2:] != (size, size):
        found = f"{given.shape[-2]} x {given.shape[-1]}"
        raise DataError(f"{where}: the probe is {found} pixels, the patterns of {scan.source} are {size} x {size}.")
    if len(given) > modes:
        raise DataError(
            f"{where}: the probe has {len(given)} modes, more than the {modes} asked for.", remedy=f"Use --modes {len(given)}."
        )
    origin, shape = object_canvas(scan.positions, size, _margin(options, scan.positions, given))
    canvas, notes = np.ones(shape, dtype=np.complex64), list[str]()
    if stored is not None:
        corner, known = _corner(stored, scan, origin, shape)
        origin = _placed(canvas, origin, stored.object, corner, where=f"{start}", scan=scan)
        notes += stored.notes
        if not known:
            notes.append(f"{start} does not say where its object lies: its middle is put on the middle of the scan.")
    positions = scan.positions - origin
    if stored is None or stored.probe is not given:
        given, factor = scaled_probe(scan, None if given is scan.probe else given)
    else:
        factor = common_factor(scan, canvas, given, positions)
        given = np.asarray(given * factor)
    modal = add_probe_modes(given, modes, seed).astype(np.complex64)
    if stored is not None and options.refine_positions in SEARCHES:
        canvas.fill(1)
        notes.append(f"A search begins with a flat object: only the probe of {start} is taken.")
    elif stored is not None and (apart := _moved(stored, scan)) > _ELSEWHERE:
        notes.append(
            f"The positions of {start} differ from those of the scan by {apart:.2g} pixels rms; its object belongs to them. "
            "--positions with its frames.csv begins with them."
        )
    return Start(canvas, modal, positions, origin, float(factor), tuple(notes))


def _margin(options: ReconstructionSettings, positions: NDArray[np.float64], probe: NDArray[Any]) -> int:
    """Pixels around the scanned windows, for how far they may move."""
    if not options.moves_positions:
        return MARGIN
    further = {
        "search": lambda: reach_of(options, positions, probe).radius,
        "affine": lambda: RANGE * float(np.ptp(positions, axis=0).max()) / 2,
    }
    return POSITION_MARGIN + int(np.ceil(further.get(options.refine_positions, float)()))


def _probe(scan: Scan, stored: StoredObject | None, start: Path | None, probe: str | None) -> tuple[NDArray[Any], str]:
    """The probe and where it is from."""
    if probe is None and stored is not None and stored.probe is not None:
        return stored.probe, str(start)
    if scan.probe is None:
        raise DataError(f"{scan.source} holds no probe to start from.", remedy="Give one with --probe FILE.")
    return scan.probe, str(probe or scan.source)


def common_factor(
    scan: Scan, canvas: NDArray[np.complexfloating[Any, Any]], probe: NDArray[Any], positions: NDArray[np.floating[Any]]
) -> float:
    """What a start's probe must be multiplied by so that, with its object, it gives as many counts as were measured.

    An object and a probe from another program share one free scale, and 32 frames are plenty to find it.
    """
    frames = np.unique(np.linspace(0, len(scan) - 1, 32).astype(np.int64))
    modelled = intensities(canvas, probe, positions[frames], way=scan.propagation)[:, scan.mask].sum()
    measured = scan.patterns.read(frames)[:, scan.mask].sum(dtype=np.float64)
    if scan.background is not None:
        measured = max(measured - len(frames) * float(scan.background.sum()), LEAST_SHARE * measured)
    if not modelled > 0:
        raise DataError(f"The probe to start from sends no light to the good pixels of {scan.source}.")
    return float(np.sqrt(measured / modelled))


def _corner(
    stored: StoredObject, scan: Scan, origin: NDArray[np.float64], shape: tuple[int, int]
) -> tuple[NDArray[np.float64], bool]:
    """Where a stored object's ``[0, 0]`` pixel lies in the coordinates of the scan, and whether its file says so."""
    if stored.origin is not None:
        return np.asarray(stored.origin, dtype=np.float64), True
    if stored.positions is not None:
        pairs = paired(scan.positions, stored.positions, None, stored.frames)
        if pairs is not None:
            return (scan.positions[pairs[0]] - stored.positions[pairs[1]]).mean(axis=0), True
    return origin + np.rint((np.array(shape) - np.array(stored.object.shape)) / 2), False


def _moved(stored: StoredObject, scan: Scan) -> float:
    """Pixels, rms along an axis, by which the positions of a result differ from those of its scan, but for a common shift."""
    if stored.positions is None or stored.origin is None:
        return 0.0
    pairs = paired(scan.positions, stored.positions, frame_numbers(scan), stored.frames)
    if pairs is None:
        return 0.0
    apart = stored.positions[pairs[1]] - scan.positions[pairs[0]]
    return float(np.sqrt(apart.var(axis=0).mean()))


def _placed(
    canvas: NDArray[np.complex64],
    origin: NDArray[np.float64],
    image: NDArray[Any],
    corner: NDArray[np.float64],
    *,
    where: str,
    scan: Scan,
) -> NDArray[np.float64]:
    """Put an object on the canvas where it belongs; what it does not cover stays flat.

    Returns the origin of the canvas: it moves by the part of a pixel that the object lies next to it, so that no pixel of the
    object has to be interpolated.
    """
    offset = corner - origin
    whole = np.rint(offset)
    beside = np.where(np.abs(offset - whole) < _ROUNDING, 0.0, offset - whole)
    row, column = (int(value) for value in whole)
    rows, columns = image.shape
    top, left = max(row, 0), max(column, 0)
    bottom, right = min(row + rows, canvas.shape[0]), min(column + columns, canvas.shape[1])
    if bottom <= top or right <= left:
        raise DataError(f"{where}: its object of {rows} x {columns} pixels lies outside the area of {scan.source}.")
    canvas[top:bottom, left:right] = image[top - row : bottom - row, left - column : right - column]
    return origin + beside
