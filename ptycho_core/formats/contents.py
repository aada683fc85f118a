"""What a file is to hold that is written: a scan, a reconstruction, or both, in one set of conventions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.physics.geometry import object_pixel_size, photon_energy, wavelength
from ptycho_core.scan.canvas import object_canvas
from ptycho_core.scan.scan import CHUNK, regime_facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from ptycho_core.formats.product import Reconstruction, StoredObject
    from ptycho_core.scan.scan import Patterns, Scan, Steps
    from ptycho_core.settings.data import DataSettings

__all__ = ["SCALE", "Contents", "PatternStream", "contents_of_result", "contents_of_scan", "joined"]

SCALE: Final = ("photon_energy_ev", "detector_distance_m", "detector_pixel_size_m", "object_pixel_m")
"""The settings that give a scan its scale in metres; the last follows from the others in the far field."""

_SQUARE: Final = 1e-3


@dataclass(frozen=True, eq=False)
class Contents:
    """A scan, a reconstruction or both.

    Attributes:
        name: title, such as the name of the source without its ending.
        size: N, pixels across a window.
        positions: (frame, 2), float64, (row, column) of the windows' ``[0, 0]`` corners: pixels of ``object`` where there is one,
            else with any common offset; None where they are not known.
        patterns: counts (frame, N, N), read in pieces; None of a reconstruction alone.
        mask: (N, N), bool, True = good; None where it is not known.
        probe: (mode, N, N), complex, or None.
        probe_in_counts: whether ``Σ|probe|²`` is the mean number of counts of an empty object.
        object: (rows, columns), complex, or None.
        scan_index: (frame,), int64, which scan a frame belongs to, or None.
        frames: (frame,), int64, ascending, the numbers of the frames in the file of the scan; None where they are 0, 1, 2 ….
        background: (N, N), counts, or None.
        flux: (frame,), dose of each frame relative to their mean, or None.
        history: rows of the course of a fit, with ``epoch`` and ``loss``.
        record: whether there are settings, facts and frames held out of a reconstruction.
        photon_energy_ev: of photons of the wavelength; None where it is not known.
        detector_distance_m: from sample to detector, or None.
        detector_pixel_size_m: pitch of the detector's pixels as they are used, or None.
        object_pixel_m: side of the object's pixels, or None.
        detector_pixel_width_m: pitch from column to column, where it is another one; None where pixels are square.
        regime: of patterns of the near field, ``regime``, ``propagator`` and, of a divergent beam, ``focus_to_sample_m``; else
            empty.
        notes: what was decided, a sentence each.
    """

    name: str
    size: int
    positions: NDArray[np.float64] | None = None
    patterns: Patterns | None = None
    mask: NDArray[np.bool_] | None = None
    probe: NDArray[np.complexfloating[Any, Any]] | None = None
    probe_in_counts: bool = False
    object: NDArray[np.complexfloating[Any, Any]] | None = None
    scan_index: NDArray[np.int64] | None = None
    frames: NDArray[np.int64] | None = None
    background: NDArray[np.floating[Any]] | None = None
    flux: NDArray[np.floating[Any]] | None = None
    history: Sequence[Mapping[str, Any]] = ()
    record: bool = False
    photon_energy_ev: float | None = None
    detector_distance_m: float | None = None
    detector_pixel_size_m: float | None = None
    object_pixel_m: float | None = None
    detector_pixel_width_m: float | None = None
    regime: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def places(self) -> NDArray[np.float64]:
        """``positions`` of contents that have them."""
        assert self.positions is not None
        return self.positions

    @property
    def numbers(self) -> NDArray[np.int64]:
        """(frame,), int64: the number of each frame."""
        return np.arange(len(self.places), dtype=np.int64) if self.frames is None else np.asarray(self.frames, dtype=np.int64)

    @property
    def good(self) -> NDArray[np.bool_]:
        """(N, N), True = good pixel; all, where no mask is known."""
        return np.ones((self.size, self.size), dtype=np.bool_) if self.mask is None else self.mask

    def metres(self, point: float) -> NDArray[np.float64]:
        """Where a point of each window lies, (frame, 2), row and column in metres.

        They are about the middle ``(rows − 1) / 2`` of the object, or without one about that of the scan, so that a program that
        keeps them in float32 loses least.

        Args:
            point: the point, in pixels from the window's ``[0, 0]`` corner along both axes.
        """
        assert self.object_pixel_m is not None
        points = self.places + point
        middle = (points.min(axis=0) + points.max(axis=0)) / 2 if self.object is None else (np.array(self.object.shape) - 1) / 2
        found: NDArray[np.float64] = (points - middle) * np.array(self.object_pixels_m)
        return found

    @property
    def object_pixels_m(self) -> tuple[float, float]:
        """Sides of the object's pixels along rows and columns, of contents that state them."""
        assert self.object_pixel_m is not None
        if self.detector_pixel_width_m is None or self.detector_pixel_size_m is None:
            return self.object_pixel_m, self.object_pixel_m
        return self.object_pixel_m, self.object_pixel_m * self.detector_pixel_size_m / self.detector_pixel_width_m

    def on_an_object(self) -> tuple[NDArray[np.complexfloating[Any, Any]], NDArray[np.float64], tuple[str, ...]]:
        """An object (rows, columns) for a format that has no scan without one, the positions on it, and a note if it is made.

        Without one it is 1 throughout, as large as the windows need.
        """
        if self.object is not None:
            return self.object, self.places, ()
        origin, shape = object_canvas(self.places, self.size)
        note = f"Object: none is known; one of {shape[0]} x {shape[1]} pixels that is 1 throughout stands for it."
        return np.ones(shape, dtype=np.complex64), self.places - origin, (note,)


class PatternStream:
    """Patterns as they are written, in pieces: in the type in which they are stored where that is what is written.

    Args:
        patterns: of the contents.
        signal: ``counts``, or ``amplitude`` for square roots of counts.
        signed: write unsigned whole numbers in a signed type that holds them; PyTorch, and so cdtools, lacks much for others.

    Attributes:
        shape: (frame, N, N).
        dtype: of the values. Counts that are computed are float32, as they are used; roots of them float64, so that their squares
            are the counts again.
    """

    def __init__(self, patterns: Patterns, signal: str = "counts", *, signed: bool = False) -> None:
        self._patterns, self._amplitude = patterns, signal == "amplitude"
        self.shape = patterns.shape
        self._as_stored = getattr(patterns, "stored_as", "") == signal and _keepable(patterns.dtype)
        self.dtype = np.dtype(np.float64 if self._amplitude else np.float32)
        if self._as_stored:
            self.dtype = np.dtype(np.uint8) if patterns.dtype.kind == "b" else patterns.dtype.newbyteorder("=")
        if signed and self.dtype.kind == "u":
            self.dtype = np.result_type(self.dtype, np.int8)  # of 64 bits that is float64

    def take_whole_numbers(self) -> bool:
        """Make the type a whole one where all values are whole, which takes a pass over values that are not stored so.

        Raises:
            DataError: as ``Patterns.read``.
        """
        if self.dtype.kind != "f":
            return True
        most = 0.0
        for _, values in self.pieces():
            most = max(most, float(values.max(initial=0)))
            if (values != np.rint(values)).any():
                return False
        if most < np.iinfo(np.int64).max:
            self.dtype = np.dtype(np.int32 if most <= np.iinfo(np.int32).max else np.int64)
        return self.dtype.kind != "f"

    def pieces(self, progress: Steps | None = None) -> Iterator[tuple[slice, NDArray[Any]]]:
        """All of them in order, a few at once: (frames, values (k, N, N)); bad pixels are 0.

        Raises:
            DataError: as ``Patterns.read``.
        """
        for first in range(0, self.shape[0], CHUNK):
            frames = slice(first, min(first + CHUNK, self.shape[0]))
            yield frames, self._read(frames)
            if progress is not None:
                progress(frames.stop, self.shape[0])

    def _read(self, frames: slice) -> NDArray[Any]:
        if self._as_stored:
            stored: NDArray[Any] = self._patterns.as_stored(frames)  # type: ignore[attr-defined]
            return stored.astype(self.dtype, copy=False)
        counts: NDArray[Any] = self._patterns.read(frames)
        return np.sqrt(counts.astype(np.float64)) if self._amplitude else counts.astype(self.dtype, copy=False)


def _keepable(dtype: np.dtype[Any]) -> bool:
    """Whether any program takes numbers of a type; those of 16 bytes are of one machine."""
    return dtype.kind in "biuf" and dtype.itemsize <= np.dtype(np.float64).itemsize


def contents_of_scan(scan: Scan, name: str) -> Contents:
    """What a scan gives to a file."""
    it, notes = scan.geometry, scan.notes
    scale: dict[str, Any] = {"object_pixel_m": scan.object_pixel_m}
    if it is not None:
        scale |= {
            "photon_energy_ev": it.photon_energy_ev, "detector_distance_m": it.detector_distance_m,
            "detector_pixel_size_m": it.detector_pixel_size_m, "detector_pixel_width_m": it.detector_pixel_width_m,
        }  # fmt: skip
        if it.electrons:
            scale["photon_energy_ev"] = photon_energy(it.wavelength_m)
            message = f"Energy: electrons of {it.photon_energy_ev:g} eV become photons of {scale['photon_energy_ev']:.6g} eV"
            notes = (*notes, f"{message}, which have their wavelength: these formats know photons only.")
    return Contents(
        name=name, size=scan.size, positions=np.asarray(scan.positions, dtype=np.float64), patterns=scan.patterns, mask=scan.mask,
        probe=scan.probe, probe_in_counts=scan.probe_scaled, object=scan.object_guess, scan_index=scan.scan_index, notes=notes,
        flux=scan.flux, background=scan.background, regime=_regime(regime_facts(scan)),
        **scale,
    )  # fmt: skip


def _regime(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Of the near field what a scan's file states by name; nothing of the far field."""
    names = ("regime", "propagator", "focus_to_sample_m") if facts.get("regime") == "near" else ()
    return {name: facts[name] for name in names if facts.get(name) is not None}


def contents_of_result(found: Reconstruction | StoredObject, name: str, where: str, asked: DataSettings) -> Contents:
    """What a reconstruction gives to a file.

    Args:
        found: ours, or what the file of another program holds.
        name: its title.
        where: its file, for messages.
        asked: the settings of `SCALE` overrule what the file states.

    Raises:
        DataError: it has no probe, so that nothing says how large its windows are, or its pixels are not square.
    """
    if found.probe is None:
        raise DataError(f"{where} holds no probe next to its object, so that nothing says how large its windows are.")
    own: dict[str, Any] = {} if not hasattr(found, "held_out") else _of_ours(found)
    scale, notes = _scale(found, found.probe.shape[-1], where, asked)
    positions = None if found.positions is None else np.asarray(found.positions, dtype=np.float64)
    notes = (*getattr(found, "notes", ()), *notes)
    return Contents(
        name=name, size=found.probe.shape[-1], positions=positions, probe=found.probe, object=found.object, frames=found.frames,
        notes=notes, **own, **scale,
    )  # fmt: skip


def _of_ours(found: Any) -> dict[str, Any]:  # noqa: ANN401 - a Reconstruction
    return {
        "mask": found.mask, "probe_in_counts": True, "background": found.background, "flux": found.flux,
        "history": found.history, "record": True, "regime": _regime(found.facts),
    }  # fmt: skip


def _scale(
    found: Reconstruction | StoredObject, size: int, where: str, asked: DataSettings
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is known of `SCALE`, and notes on what was overruled."""
    pair = found.pixel_size_m
    if pair is not None and abs(pair[0] / pair[1] - 1) > _SQUARE:
        raise DataError(f"{where}: the object's pixels are {pair[0]:.6g} by {pair[1]:.6g} m; they must be square.")
    stated = {name: getattr(found, name, None) for name in SCALE[:2]} | {"object_pixel_m": None if pair is None else pair[1]}
    mine = {name: value for name in SCALE if (value := getattr(asked, name)) is not None}
    known = {name: value for name, value in (stated | mine).items() if value is not None}
    notes = tuple(
        f"Overruled: {name} {value:g}, as the settings state, in place of {stated[name]:g}."
        for name, value in mine.items()
        if stated.get(name) not in (None, value)
    )
    if all(name in known for name in SCALE[:2]):
        light = wavelength(known["photon_energy_ev"])
        if "detector_pixel_size_m" in mine and "object_pixel_m" not in mine:
            known["object_pixel_m"] = object_pixel_size(light, known["detector_distance_m"], mine["detector_pixel_size_m"], size)
        elif "object_pixel_m" in known and "detector_pixel_size_m" not in known:
            pitch = object_pixel_size(light, known["detector_distance_m"], known["object_pixel_m"], size)
            known["detector_pixel_size_m"] = pitch
    return known, notes


def joined(result: Contents, scan: Contents) -> Contents:
    """A reconstruction with the patterns that it was made from, which are those of ``scan``, frame by frame."""
    measured = scan if scan.photon_energy_ev is not None else result
    scale = {name: getattr(measured, name) for name in SCALE}
    return replace(
        result, patterns=scan.patterns, mask=scan.mask, scan_index=scan.scan_index, notes=(*result.notes, *scan.notes), **scale
    )
