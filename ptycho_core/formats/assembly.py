"""From what a file holds to a `Scan`: pair, choose, turn, cut to a square, convert units; what the user states goes first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.checks import check_probe, read_background, read_dark, read_mask, signal
from ptycho_core.formats.flux_file import checked_flux, flux_from_file
from ptycho_core.formats.interface import FREQUENCY_STEP, PIXEL_WIDTH, Stated
from ptycho_core.formats.regime import Regime, check_magnification, regime_of
from ptycho_core.orientation import AS_STATED, ORIENTATIONS
from ptycho_core.scan.auto_mask import auto_mask
from ptycho_core.scan.frames import ChosenFrames, View, ViewedFrames
from ptycho_core.scan.patterns import ArrayPatterns
from ptycho_core.scan.photons import with_photons
from ptycho_core.scan.scan import Geometry, Scan, empty_pattern
from ptycho_core.settings.data import AUTO, beam_center, chosen_range
from ptycho_core.units import LENGTHS, length_m

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.formats.interface import RawScan
    from ptycho_core.settings.data import DataSettings

__all__ = ["GEOMETRY", "scan_of", "square_size"]

GEOMETRY: Final = ("photon_energy_ev", "detector_distance_m", "detector_pixel_size_m")
"""What gives the object's pixel in the far field."""

_CONTRADICTION: Final = 1e-2
"""Part by which a stated object pixel and that of energy, distance and detector pixel may differ."""

_SPANS: Final = (0.05, 1e7)
"""Object pixels that a scan may span; beyond, its unit cannot be the one that is stated."""

_SENSIBLE: Final = 2.0
"""Object pixels that it must span in another unit."""

_PIXELS_M: Final = (1e-13, 1e-2)
"""Within which a pixel of an object lies, in metres."""


class _Scale(NamedTuple):
    """What is known of lengths.

    Attributes:
        geometry: if it is whole.
        pixel_m: the object's pixel from row to row, at the size of the window, or None.
        aspect: the object's pixel from column to column over that.
    """

    geometry: Geometry | None
    pixel_m: float | None
    aspect: float = 1.0

    @property
    def aspects(self) -> NDArray[np.float64]:
        """(2,), sides of the object's pixel along rows and columns, over ``pixel_m``."""
        return np.array([1.0, self.aspect])


def scan_of(raw: RawScan, path: Path, title: str, asked: DataSettings) -> Scan:
    """The scan that a file holds, at the size of its square window; `open_scan` does what follows.

    Args:
        raw: as its format reads it.
        path: the file, for messages.
        title: of the format.
        asked: what the user states.

    Raises:
        DataError: it cannot be used; the message names file, key and shape, and the flag that overrules.
        SettingsError: a setting cannot be read.
    """
    notes = list(raw.notes)
    where = f"{path}: {raw.key}"
    _check_frames(where, raw)
    frames, positions = _paired(raw, path, asked, notes)
    stored = raw.frames if len(frames) == raw.frames.shape[0] and np.array_equal(frames, np.arange(len(frames))) else None
    stored = ChosenFrames(raw.frames, frames) if stored is None else stored
    kind, why = signal(where, raw.frames.dtype, asked, raw.signal, raw.signal_by)
    notes.append(why)
    view = _view(raw, where, asked, notes)
    raw = _at_size(raw, view.size)
    shape = raw.frames.shape[1:]
    if view != _whole(shape[0]) or shape[0] != shape[1]:
        stored = ViewedFrames(stored, view)
    mask = view.of(read_mask(raw, path, asked, notes))
    if not mask.any():
        raise DataError(f"{where}: no pixel of the {view.size} x {view.size} around the beam is good.", source="data.mask")
    patterns = ArrayPatterns.of_frames(
        stored, where=where, signal=kind, mask=mask, dark=_viewed(view, read_dark(asked, shape, notes)),
        clip_negative=asked.clip_negative,
    )  # fmt: skip
    probe = None if raw.probe is None else check_probe(f"{path}: {raw.probe_key}", raw.probe, view.size)
    scale = _scale(raw, path, view.size, asked, notes)
    if asked.mask == AUTO:
        light = None if probe is None else empty_pattern(probe, None if scale.geometry is None else scale.geometry.propagation)
        mask, note = auto_mask(patterns, mask, signal=kind, where=str(path), empty=light)
        patterns = patterns.masked(mask)
        notes.append(note)
    corners = _corners(raw, path, positions, view.size, scale, asked, notes)
    guess = _guess(raw, corners, view.size, asked, notes)
    scan = Scan(
        patterns=patterns,
        positions=corners,
        mask=mask,
        probe=probe,
        probe_scaled=raw.probe_in_counts and probe is not None,
        geometry=scale.geometry,
        pixel_m=scale.pixel_m,
        object_guess=guess,
        scan_index=None if raw.scan_index is None else raw.scan_index[frames],
        flux=_flux(raw, path, asked, frames, notes),
        background=_background(raw, path, asked, view, mask, notes),
        source=path,
        format=title,
        signal=kind,
        notes=tuple(notes),
    )
    counted = _photons(raw, path, asked)
    return scan if counted is None else with_photons(scan, *counted)


def _flux(
    raw: RawScan, path: Path, asked: DataSettings, frames: NDArray[np.int64], notes: list[str]
) -> NDArray[np.float64] | None:
    """The dose of the frames that are used, relative to their mean, by the settings or else by the file."""
    if asked.flux is not None:
        values, where = flux_from_file(Path(asked.flux))
    elif raw.flux is not None:
        values, where = raw.flux, f"{path}: 'flux'"
    else:
        return None
    found = checked_flux(values, where, raw.frames.shape[0], frames)
    notes.append(f"Flux: of each frame by {where}; it varies by {found.std():.2%} rms.")
    return found


def _background(
    raw: RawScan, path: Path, asked: DataSettings, view: View, mask: NDArray[np.bool_], notes: list[str]
) -> NDArray[np.float64] | None:
    """The counts (N, N) that every pattern contains, by the settings or else by the file; 0 in bad pixels."""
    found = read_background(raw, path, asked)
    if found is None:
        return None
    values, where = view.of(found[0]), found[1]
    bad = mask & ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        row, column = (int(place) for place in np.argwhere(bad)[0])
        raise DataError(
            f"{where} holds {values[row, column]:g} in the good pixel of row {row}, column {column} of the window; a background"
            " counts 0 or more.",
            remedy="Mask the pixel with --mask, or store 0.", source="data.background_file",
        )  # fmt: skip
    notes.append(f"Background: {values[mask].mean():.4g} counts on average are in each pixel of every pattern, by {where}.")
    return np.where(mask, values, 0.0)


def _guess(
    raw: RawScan, corners: NDArray[np.float64], size: int, asked: DataSettings, notes: list[str]
) -> NDArray[np.complexfloating[Any, Any]] | None:
    """The guess of the object, unless the windows do not lie on it any more, or never did."""
    if raw.object_guess is None:
        return None
    if asked.orientation != "as-stated" or asked.rotation_deg != 0:
        notes.append("Object: the guess in the file is left aside, since the positions are turned.")
        return None
    inside = (corners >= -1).all() and (corners + size <= np.array(raw.object_guess.shape) + 1).all()
    if not inside and raw.object_center is not None:
        notes.append("Object: the guess in the file is left aside, since windows lie outside of it; is its pixel right?")
        return None
    return raw.object_guess


def square_size(raw: RawScan, asked: DataSettings) -> int:
    """N of the largest square around the beam, before it is cropped, padded or binned."""
    return _view(raw, raw.key, asked, []).size


def _at_size(raw: RawScan, size: int) -> RawScan:
    """What a file holds, with the object's pixel in place of a step of spatial frequency, for windows of ``size`` pixels."""
    if (step := raw.stated.get(FREQUENCY_STEP)) is None:
        return raw
    others = {name: one for name, one in raw.stated.items() if name != FREQUENCY_STEP}
    pixel = 1 / (size * step.value) if step.value > 0 else step.value
    return replace(raw, stated=others | {"object_pixel_m": Stated(pixel, step.key)})


def _check_frames(where: str, raw: RawScan) -> None:
    if 0 in raw.frames.shape:
        raise DataError(f"{where} has shape {raw.frames.shape}: the scan is empty.")
    if raw.frames.dtype.kind not in "biuf":
        raise DataError(f"{where} is of type {raw.frames.dtype}, shape {raw.frames.shape}; patterns must be real numbers.")


def _paired(raw: RawScan, path: Path, asked: DataSettings, notes: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The frames that are used (k,), ascending, and the position of each (k, 2), in the file's unit.

    Frames and positions go together by the numbers that both have, else in order. Of several positions of a number the mean is
    taken. What has no partner, and what has a position that is not finite, is dropped and counted.
    """
    number = raw.frames.shape[0]
    if raw.positions is None:
        raise DataError(f"{path} holds no positions.", remedy="Give them with --positions FILE or FILE:COLUMNS.")
    if raw.positions.ndim != 2 or raw.positions.shape[1] != 2:
        raise DataError(f"{path}: {raw.position_key} has shape {raw.positions.shape}; positions are (position, 2).")
    wanted = np.arange(number, dtype=np.int64)
    if asked.frames is not None:
        wanted = wanted[chosen_range(asked.frames)]
        notes.append(f"Frames: {len(wanted)} of {number}, {asked.frames}, as the settings state.")
    if raw.frame_numbers is not None and raw.position_numbers is not None:
        frames, positions = _joined(raw, wanted, notes)
    elif len(raw.positions) == number:
        frames, positions = wanted, raw.positions[wanted]
    elif asked.frames is not None and len(raw.positions) == len(wanted):
        frames, positions = wanted, raw.positions
    else:
        remedy = "Choose the frames that have positions with --frames A:B, or give positions with --positions FILE."
        if len(raw.positions) > number:
            remedy = "Give the positions of these frames with --positions FILE: a table with a column 'frame' pairs by number."
        raise DataError(
            f"{path}: {raw.position_key}, shape {raw.positions.shape}, has {len(raw.positions)} positions and {raw.key}, shape"
            f" {raw.frames.shape}, {number} frames; there must be one for each frame, in order.",
            remedy=remedy,
        )
    known: NDArray[np.bool_] = np.asarray(np.isfinite(positions).all(axis=1))
    if not known.all():
        lacking = _some(frames[~known])
        notes.append(
            f"Positions: {int((~known).sum())} of {len(known)} frames are left out, whose position is not finite ({lacking})."
        )
        frames, positions = frames[known], positions[known]
    if not len(frames):
        raise DataError(
            f"{path}: no frame of {raw.key} has a position in {raw.position_key}{_numbers_of(raw)}.",
            remedy="Give the positions of these frames with --positions FILE.",
        )
    return frames, positions


def _numbers_of(raw: RawScan) -> str:
    """By which numbers frames and positions pair, for a message."""
    both = (raw.frame_numbers, raw.position_numbers)
    ranges = [f"{one.min()} to {one.max()}" for one in both if one is not None and len(one)]
    return f": frames are numbered {ranges[0]}, positions {ranges[1]}" if len(ranges) == 2 else ""


def _joined(raw: RawScan, wanted: NDArray[np.int64], notes: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    assert raw.positions is not None
    assert raw.position_numbers is not None
    assert raw.frame_numbers is not None
    if len(raw.frame_numbers) != raw.frames.shape[0] or len(raw.position_numbers) != len(raw.positions):
        raise DataError(
            f"{raw.key} has {raw.frames.shape[0]} frames and {len(raw.frame_numbers)} numbers of frames; {raw.position_key} has"
            f" {len(raw.positions)} positions and {len(raw.position_numbers)} numbers. Each must have one."
        )
    numbers, place, times = np.unique(raw.position_numbers, return_inverse=True, return_counts=True)
    means = np.zeros((len(numbers), 2))
    np.add.at(means, place.reshape(-1), raw.positions)
    means /= times[:, np.newaxis]
    mine = raw.frame_numbers[wanted]
    found = np.searchsorted(numbers, mine)
    there = (found < len(numbers)) & (numbers[np.minimum(found, len(numbers) - 1)] == mine)
    unused = len(np.setdiff1d(numbers, raw.frame_numbers))
    if not there.all() or unused:
        lacking = f" ({_some(mine[~there])})" if not there.all() else ""
        notes.append(
            f"Pairing: {int((~there).sum())} of {len(mine)} frames have no position of their number and are left out{lacking};"
            f" {unused} of {len(numbers)} positions have no frame."
        )
    if (times > 1).any():
        notes.append(f"Positions: {int((times > 1).sum())} numbers have several; their mean is taken.")
    return wanted[there], means[found[there]]


def _some(numbers: NDArray[np.integer[Any]]) -> str:
    """The first numbers of frames, for a note."""
    return f"number {', '.join(str(number) for number in numbers[:8])}{', …' * (len(numbers) > 8)}"


def _whole(size: int) -> View:
    return View((0, 0), AS_STATED, (0, 0), size)


def _view(raw: RawScan, where: str, asked: DataSettings, notes: list[str]) -> View:
    """How a stored frame becomes a square pattern with zero frequency in its middle."""
    _, rows, columns = raw.frames.shape
    stated: Any = raw.zero if asked.beam_center is None else beam_center(asked.beam_center)
    roll = (
        {"corner": (rows // 2, columns // 2), "shifted": (-(rows // 2), -(columns // 2))}.get(stated, (0, 0))
        if isinstance(stated, str)
        else (0, 0)
    )
    turned = (columns, rows) if raw.turning.swap else (rows, columns)
    if isinstance(stated, str):
        middle = (turned[0] // 2, turned[1] // 2)
    else:
        if not (0 <= stated[0] < rows and 0 <= stated[1] < columns):
            raise DataError(
                f"{where}: the beam at row {stated[0]:g}, column {stated[1]:g} is outside the {rows} x {columns} pixels.",
                remedy="Give its pixel with --beam-center ROW,COL.",
            )
        place = raw.turning.of_pixel((round(stated[0]), round(stated[1])), (rows, columns))
        middle = (min(int(place[0]), turned[0] - 1), min(int(place[1]), turned[1] - 1))
    size = min(min(2 * at + 1, 2 * (length - at)) for at, length in zip(middle, turned, strict=True))
    size -= size % 2 if size < min(turned) else 0
    if size < 1:
        raise DataError(f"{where}: the beam at {middle} is at the edge of the frames.", remedy="Give --beam-center ROW,COL.")
    if not isinstance(stated, str) and (size, size) != turned:
        by = "the file states" if asked.beam_center is None else "the settings state"
        notes.append(f"Beam: row {stated[0]:g}, column {stated[1]:g} of the stored frames, as {by}.")
    if (size, size) != turned:
        notes.append(f"Window: {size} x {size} pixels around the beam, of frames of {rows} x {columns}.")
    return View(roll, raw.turning, (middle[0] - size // 2, middle[1] - size // 2), size)


def _viewed(view: View, dark: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    return dark if dark is None or dark.ndim == 0 else view.of(dark)


def _scale(raw: RawScan, path: Path, size: int, asked: DataSettings, notes: list[str]) -> _Scale:
    """Energy, distance, detector pixel and object pixel, each from the settings or else from the file."""
    known, overruled = dict[str, float](), False
    for name in (*GEOMETRY, "object_pixel_m"):
        mine, stated = getattr(asked, name), raw.stated.get(name)
        if mine is not None and stated is not None and mine != stated.value:
            notes.append(f"Overruled: {name} {mine:g}, as the settings state, in place of {stated.value:g} ({stated.key}).")
            overruled = overruled or name != "object_pixel_m"
        if mine is None and stated is not None:
            _check_positive(path, name, stated.value, stated.key)
        if mine is not None or stated is not None:
            known[name] = float(stated.value if mine is None and stated is not None else mine)
    width, regime = _width(raw, path, asked, known), regime_of(raw, path, asked, notes)
    pixel = known.pop("object_pixel_m", None)
    if asked.object_pixel_m is not None:  # it is stated for the patterns as they are used
        pixel = asked.object_pixel_m * (1 / asked.bin if regime.regime == "near" else _final(asked, size) / size)
    elif overruled and len(known) == len(GEOMETRY):
        pixel = None
    if pixel is not None and len(known) == 2 and "photon_energy_ev" in known:
        _complete(known, pixel, size, regime, electrons=raw.electrons, notes=notes)
    missing = [name for name in GEOMETRY if name not in known]
    energy, distance, pitch = (known.get(name, 0.0) for name in GEOMETRY)
    geometry = None if missing else Geometry(energy, distance, pitch, raw.electrons, *regime, detector_pixel_width_m=width)
    if regime.regime == "near":
        return _near_scale(geometry, pixel, path, missing, notes)
    if known and missing and pixel is None:
        notes.append(f"No metre scale: {' and '.join(missing)} not known.")
    if geometry is None:
        return _Scale(None, pixel)
    found, across = geometry.object_pixels_m(size)
    if pixel is None or abs(pixel / found - 1) <= _CONTRADICTION:
        return _Scale(geometry, found, across / found)
    if asked.object_pixel_m is None:
        raise DataError(
            f"{path}: {raw.stated['object_pixel_m'].key} states an object pixel of {pixel:.6g} m, but energy, distance and"
            f" detector pixel give {found:.6g} m with {size} pixels.",
            remedy="Give the right one with --object-pixel-m, or the wrong of the others with its flag.",
        )
    notes.append(f"Geometry: energy, distance and detector pixel give {found:.6g} m and are left aside.")
    return _Scale(None, pixel)


def _near_scale(geometry: Geometry | None, pixel: float | None, path: Path, missing: list[str], notes: list[str]) -> _Scale:
    """That of a scan in the near field, whose model needs all of the geometry."""
    if geometry is None:
        raise DataError(
            f"{path}: the near field needs photon energy, distance and detector pixel, and nothing states {', '.join(missing)}.",
            remedy=f"Give {' and '.join('--' + name.replace('_', '-') for name in missing)}, or --regime far.",
        )
    if geometry.detector_pixel_width_m is not None:
        raise DataError(
            f"{path}: the detector's pixels are {geometry.detector_pixel_size_m:.6g} by {geometry.detector_pixel_width_m:.6g} m;"
            " the near field is computed with square ones.",
            remedy="Resample the patterns to square pixels first, and give --detector-pixel-size-m.",
        )
    check_magnification(geometry, path)
    found = geometry.object_pixel_m(0)
    if pixel is not None and abs(pixel / found - 1) > _CONTRADICTION:
        raise DataError(
            f"{path}: an object pixel of {pixel:.6g} m is stated, but the detector's pixel over a magnification of"
            f" {geometry.magnification:.6g} is {found:.6g} m.",
            remedy="Give the right --detector-pixel-size-m, --focus-to-sample-m or --object-pixel-m.",
        )
    focus = geometry.focus_to_sample_m
    beam = "a parallel beam"
    if focus is not None:
        beam = f"a focus {focus:g} m before the sample, {geometry.magnification:.4g} times magnified"
    notes.append(f"Regime: near field, {beam}; propagator {geometry.propagator}.")
    return _Scale(geometry, found)


def _width(raw: RawScan, path: Path, asked: DataSettings, known: dict[str, float]) -> float | None:
    """The pitch of the detector from column to column, where the file states another than from row to row; ``known`` has that.

    What the settings state is the pitch of square pixels.
    """
    stated = raw.stated.get(PIXEL_WIDTH)
    if stated is None or asked.detector_pixel_size_m is not None or "detector_pixel_size_m" not in known:
        return None
    _check_positive(path, "detector_pixel_size_m", stated.value, stated.key)
    width = stated.value
    if raw.turning.swap:
        known["detector_pixel_size_m"], width = width, known["detector_pixel_size_m"]
    return None if width == known["detector_pixel_size_m"] else width


def _final(asked: DataSettings, size: int) -> int:
    """N·bin of the patterns as they are used, whose window in the object is that of ``size`` pixels."""
    return size if asked.size is None else asked.size * asked.bin


def _complete(known: dict[str, float], pixel: float, size: int, regime: Regime, *, electrons: bool, notes: list[str]) -> None:
    """Find the one of distance and detector pixel that is missing from the object's pixel; no distance in the near field."""
    if regime.regime == "near":
        if "detector_distance_m" in known:
            whole = Geometry(known["photon_energy_ev"], known["detector_distance_m"], 1.0, electrons, *regime)
            known["detector_pixel_size_m"] = pixel * whole.magnification
    elif "detector_distance_m" in known:
        whole = Geometry(known["photon_energy_ev"], known["detector_distance_m"], 1.0, electrons)
        known["detector_pixel_size_m"] = whole.object_pixel_m(size) / pixel
        notes.append(
            f"Detector pixel: {known['detector_pixel_size_m']:.6g} m, which the object's pixel of {pixel:.6g} m implies."
        )
    else:
        whole = Geometry(known["photon_energy_ev"], 1.0, known["detector_pixel_size_m"], electrons)
        known["detector_distance_m"] = pixel / whole.object_pixel_m(size)
        notes.append(f"Distance: {known['detector_distance_m']:.6g} m, which the object's pixel of {pixel:.6g} m implies.")


def _check_positive(path: Path, name: str, value: float, key: str) -> None:
    if not 0 < value < float("inf"):
        flag = f"--{name.replace('_', '-')}"
        raise DataError(f"{path}: {key} is {value:g}; it must be positive.", remedy=f"Overrule it with {flag}.")


def _corners(
    raw: RawScan, path: Path, positions: NDArray[np.float64], size: int, scale: _Scale, asked: DataSettings, notes: list[str]
) -> NDArray[np.float64]:
    """(frame, 2), the corners of the windows in object pixels."""
    unit = raw.unit if asked.position_unit == AUTO else asked.position_unit
    if asked.position_unit not in (AUTO, raw.unit):
        notes.append(f"Overruled: positions in {unit}, as the settings state, in place of {raw.unit}.")
    points, center = positions, raw.object_center
    if unit != "px":
        metres = length_m(unit)
        if metres is None:
            raise DataError(
                f"{path}: the positions, {raw.position_key}, are in '{unit:.40}', which is no unit of length that is known here.",
                remedy="Give it with --position-unit.",
            )
        if scale.pixel_m is None:
            missing = [
                f"--{name.replace('_', '-')}" for name in GEOMETRY if getattr(asked, name) is None and name not in raw.stated
            ]
            raise DataError(
                f"{path}: the positions, {raw.position_key}, are in {unit}, and nothing states how wide a pixel of the object"
                " is.",
                remedy=f"Give {', '.join(missing)}, or --object-pixel-m.",
            )
        if not _PIXELS_M[0] <= scale.pixel_m <= _PIXELS_M[1]:
            keys = ", ".join(f"{one.key} ({name})" for name, one in raw.stated.items() if name != "photons")
            raise DataError(
                f"{path}: a pixel of the object would be {scale.pixel_m:.3g} m wide, by {keys or 'what the settings state'}.",
                remedy="Overrule what is wrong with --photon-energy-ev, --detector-distance-m, --detector-pixel-size-m or"
                " --object-pixel-m.",
            )
        with np.errstate(over="ignore", invalid="ignore"):  # what is beyond double precision is refused below
            if asked.position_unit == AUTO:
                metres = _plausible(metres, unit, f"{path}: {raw.position_key}", positions / scale.pixel_m, notes)
            points = positions * (metres / (scale.pixel_m * scale.aspects))
        center = None if center is None else tuple(np.array(center) * metres / (scale.pixel_m * scale.aspects))
    if center is not None and raw.object_guess is not None:
        points = points - center + (np.array(raw.object_guess.shape) - 1) / 2
    points = points - {"corner": 0.0, "center": float(size // 2), "middle": (size - 1) / 2}[raw.window]
    if not np.isfinite(points).all():
        raise DataError(f"{path}: {raw.position_key} holds positions beyond double precision in object pixels.")
    return _turned(points * scale.aspects, asked, notes) / scale.aspects  # angles are those of lengths


def _plausible(metres: float, unit: str, where: str, points: NDArray[np.float64], notes: list[str]) -> float:
    """One of a unit in metres; of another where positions (frame, 2), in object pixels if read in metres, make sense only so."""
    span = float(np.ptp(points, axis=0).max())
    least, most = _SPANS
    if span == 0 or least <= span * metres <= most:
        return metres
    for other in ("m", "um", "mm", "nm"):
        if _SENSIBLE <= span * LENGTHS[other] <= most:
            notes.append(f"Units: {where} spans {span * metres:.3g} object pixels in {unit}; it is read in {other}.")
            return LENGTHS[other]
    return metres


def _turned(points: NDArray[np.float64], asked: DataSettings, notes: list[str]) -> NDArray[np.float64]:
    """Positions turned about their middle, as the user states."""
    if asked.orientation == "as-stated" and asked.rotation_deg == 0:
        return points
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    turned = ORIENTATIONS[asked.orientation].of_points(points - middle)
    angle = np.deg2rad(asked.rotation_deg)
    rows, columns = turned[:, 0], turned[:, 1]
    turned = np.stack([rows * np.cos(angle) - columns * np.sin(angle), rows * np.sin(angle) + columns * np.cos(angle)], axis=1)
    notes.append(f"Positions: {asked.orientation}, rotated by {asked.rotation_deg:g} degrees, as the settings state.")
    found: NDArray[np.float64] = turned + middle
    return found


def _photons(raw: RawScan, path: Path, asked: DataSettings) -> tuple[float, str] | None:
    """The mean counts that the patterns are to have, and what states it; the settings go before the file."""
    if asked.photons is not None:
        return float(asked.photons), "the settings state"
    if (stated := raw.stated.get("photons")) is None:
        return None
    _check_positive(path, "photons", stated.value, stated.key)
    return stated.value, f"the key {stated.key} states"
