"""A search for positions that are off by many pixels, before they are refined: its schedule, and what needs no framework.

Each epoch is one of rPIE in which a batch looks for its places before it updates the object, in a fixed order: a frame is
compared with an object that all its neighbors have written since it was there itself, which keeps it from staying where it is.
The object is low-passed, first strongly, so that the misfit has one minimum.  ``docs/physics.md`` has the equations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

import numpy as np

from ptycho_core.reconstruction.schedule import batches, keep_inside
from ptycho_core.scan.canvas import probe_width, spacing_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from ptycho_core.settings.reconstruction import ReconstructionSettings

    IntArray: TypeAlias = NDArray[np.int64]
    FloatArray: TypeAlias = NDArray[np.float64]
    Choose: TypeAlias = Callable[[IntArray, FloatArray], None]

__all__ = [
    "LARGEST_PROBE_FACTOR",
    "SEARCHES",
    "SEARCH_ALPHA",
    "Choose",
    "Level",
    "Placed",
    "Reach",
    "Search",
    "Searching",
    "Trial",
    "chosen_places",
    "disc",
    "in_middle_half",
    "levels_of",
    "ordered",
    "padded_length",
    "reach_of",
    "seen_by_others",
    "with_affine_part_of",
]

SEARCHES: Final = ("search", "affine")
"""The values of ``refine_positions`` that look further than a refinement; they name the stage too."""

ERROR_OF_WIDTH: Final = 0.3
"""The error expected where none is stated is the step of the scan, and at most this part of the probe's width: beyond it the
windows of neighbors hardly overlap."""

REACH: Final = 3.0
"""Radius of the search where none is stated, in expected errors: one frame in 90 lies beyond it at the start, and the next
epochs, which search around where it is by then, reach it."""

PRIOR: Final = 0.05
"""Weight of the distance from where a position is stated to be, in units of the expected error."""

SHARED: Final = 0.1
"""Light of other frames, over the most that one frame sends to a pixel, from which on the object there counts whole."""

SEARCH_ALPHA: Final = 0.1
"""rPIE's regularization of the object, stronger than in the fit: the object of these epochs is in part wrong."""

BATCHES: Final = 25
"""Batches of an epoch.  So few frames of a batch overlap in a scan of any length."""

LEFT_BEHIND: Final = 1.5
"""Relative misfit of a frame over the median of its neighbors, from which on it is searched for alone."""

FAR_BEHIND: Final = 2.5
"""The same over the median of all frames: those that are lost together spoil each other's neighborhood."""

ALONE: Final = 0.9
"""Part of a frame's light that falls where others look too, over that of a median frame, below which its fit says little."""

NEIGHBORS: Final = 8
"""Frames that a frame is compared with."""

RESCUE_REACH: Final = 1.5
RESCUE_STEP: Final = 3
"""Those are searched for further than all, around where they are stated to be: some lie beyond the radius."""

FIRST: Final = ((3, 1.0, 4, 0.25), (3, 1.0, 5, 0.28), (4, 0.6, 4, 0.3), (3, 0.3, 3, 0.3))
AGAIN: Final = ((3, 0.8, 4, 0.28), (3, 0.5, 4, 0.3), (2, 0.3, 3, 0.3))
"""The first time through, and each time after it: epochs, radius as a part of the whole, grid points along it, and the cutoff
of the object times the step of the grid."""

PASSES: Final = 3
"""Times through, at most."""

MOVED, MOVED_OF_ERROR = 2.0, 0.3
"""Pixels that a time through may move a frame, be it the last, or that part of the expected error where it is more."""

PROBE_EPOCHS: Final = 5
"""Epochs after the first time through in which the probe is fitted, where it is not known."""

FRESH_EPOCHS: Final = 3
"""Epochs that make the object anew without them."""

ROBUST_ROUNDS: Final = 5
"""Of the robust regression."""

CONE: Final = 0.99
"""Part of the light of a probe that makes the width of its cone."""

SCATTERED: Final = 0.9
"""How far beyond that cone the light goes that a low-passed object scatters, in cutoffs."""

LARGEST_PROBE_FACTOR: Final = 2.0
"""Most that the probe's wave at a pixel of the detector is multiplied by to give the mean pattern: where the probe itself sends
hardly any light, what is measured is scattered by the sample."""


class Reach(NamedTuple):
    """How far positions may be off, in pixels: expected error (rms along each axis), and radius of the search."""

    error: float
    radius: float


def reach_of(options: ReconstructionSettings, positions: FloatArray, probe: NDArray[np.complexfloating]) -> Reach:
    """What settings state, else by the step of the scan and the width of the probe.

    Args:
        options: with ``position_error`` and ``position_radius``.
        positions: (frame, 2), pixels.
        probe: (mode, N, N).
    """
    error = options.position_error
    if error is None:
        error = max(1.0, min(spacing_of(positions), ERROR_OF_WIDTH * probe_width(probe)))
    radius = REACH * error if options.position_radius is None else options.position_radius
    return Reach(error, radius)


class Level(NamedTuple):
    """Epochs of one kind: their number, radius and grid step in pixels, cutoff of the object in cycles a pixel (0: none)."""

    epochs: int
    radius: float
    step: int
    cutoff: float


FINEST: Final = Level(2, 3.0, 1, 0.0)
"""Epochs on the object as it is, pixel by pixel."""


def levels_of(radius: float, parts: Sequence[tuple[int, float, int, float]]) -> tuple[Level, ...]:
    """From a radius down to single pixels, by `FIRST` or `AGAIN`; the object shows as much as the grid of trials resolves."""
    found = list[Level]()
    for epochs, part, points, cutoff in parts:
        step = max(1, round(part * radius / points))
        if step > 1:
            found.append(Level(epochs, part * radius, step, cutoff / step))
    finest = found[-1] if found else None
    while finest is not None and finest.step > 2:  # a wide search needs more levels to come down to a pixel
        step = max(2, round(finest.step / 1.6))
        finest = Level(2, 1.5 * finest.step, step, 0.3 / step)
        found.append(finest)
    return (*found, FINEST)


class Trial(NamedTuple):
    """What a batch looks for.

    Attributes:
        shifts: (shift, 2), whole pixels to try.
        cutoff: of the object, cycles a pixel.
        shared: (rows, columns), what ``O - 1`` is multiplied by first, by `seen_by_others`; None for 1.
    """

    shifts: IntArray
    cutoff: float
    shared: FloatArray | None = None


def seen_by_others(positions: FloatArray, probe: NDArray[np.complexfloating], shape: tuple[int, ...]) -> FloatArray:
    """How far a pixel (rows, columns) of the object has been seen by more frames than one: 0 to 1.

    What a single frame has written there agrees with that frame wherever it is.  It is the light of all frames but the
    brightest, over `SHARED` of the most that one sends to a pixel, and 1 from there on.

    Args:
        positions: (frame, 2), whole pixels.
        probe: (mode, N, N).
        shape: of the object.
    """
    power = (np.abs(probe) ** 2).sum(axis=0)
    total, most = np.zeros(shape), np.zeros(shape)
    for row, column in positions.astype(np.int64):
        window = (slice(row, row + power.shape[0]), slice(column, column + power.shape[1]))
        total[window] += power
        np.maximum(most[window], power, out=most[window])
    part: FloatArray = ((total - most) / (SHARED * power.max())).clip(0.0, 1.0)
    return part


def disc(radius: float, step: int) -> IntArray:
    """The points (shift, 2) of a grid within a radius, in pixels."""
    most = int(radius // step)
    line = step * np.arange(-most, most + 1)
    points = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    inside: IntArray = points[(points**2).sum(1) <= radius**2]
    return inside


def chosen_places(misfits: FloatArray, shifts: IntArray, step: int) -> FloatArray:
    """The shift (frame, 2) of least misfit (frame, shift), between grid points by a parabola along each axis."""
    best = np.argmin(misfits, axis=1)
    frames = np.arange(len(misfits))
    found: FloatArray = shifts[best].astype(np.float64)
    number = {tuple(shift): place for place, shift in enumerate(shifts.tolist())}
    for axis in (0, 1):
        along = np.zeros(2, dtype=np.int64)
        along[axis] = step
        near = [np.array([number.get(tuple(point), -1) for point in (shifts + sign * along).tolist()]) for sign in (-1, 1)]
        before, after = (np.where(one[best] < 0, np.inf, misfits[frames, one[best]]) for one in near)
        here = misfits[frames, best]
        with np.errstate(invalid="ignore", divide="ignore"):
            bend = before - 2 * here + after
            part = np.where(np.isfinite(bend) & (bend > 0), (before - after) / (2 * bend), 0.0)
        found[:, axis] += step * part.clip(-0.5, 0.5)
    return found


def with_affine_part_of(stated: FloatArray, found: FloatArray, scale: float) -> FloatArray:
    """Positions ``found`` (frame, 2) with the affine part that the ``stated`` ones have, which the patterns hardly determine.

    ``stated - found`` is regressed on ``found``, robustly with deviations of ``scale`` pixels: stated are the true positions and
    an error that has nothing to do with them.  The other way around the error itself would inflate the scan.
    """
    basis = np.concatenate([np.ones((len(found), 1)), found - found.mean(axis=0)], axis=1)
    apart, weights = stated - found, np.ones(len(found))
    fitted = apart
    for _ in range(ROBUST_ROUNDS):
        part = np.linalg.lstsq(basis * weights[:, None], apart * weights[:, None], rcond=None)[0]
        fitted = basis @ part
        weights = 1 / np.sqrt(1 + ((apart - fitted) ** 2).sum(axis=1) / scale**2)
    mapped: FloatArray = found + fitted
    return mapped


def padded_length(length: int) -> int:
    """The length that an object is filled up to with 1 where it is low-passed: one that transforms quickly."""
    from scipy.fft import next_fast_len

    return int(next_fast_len(length))


def in_middle_half(light: FloatArray, cutoff: float) -> bool:
    """Whether probe and an object that is low-passed send their light to the middle half of the detector, along each axis.

    Args:
        light: (N, N), the pattern of an empty object, zero frequency at ``[0, 0]``.
        cutoff: of the object, cycles a pixel; 0 for one that is not low-passed.
    """
    away = np.abs(np.fft.fftfreq(len(light)))
    within = away <= 0.25 - SCATTERED * cutoff
    return cutoff > 0 and min(light[within].sum(), light[:, within].sum()) >= CONE * light.sum()


def ordered(frames: IntArray, random: np.random.Generator) -> list[IntArray]:
    """Frames in random order, in batches of which few frames overlap."""
    return batches(frames, -(-len(frames) // BATCHES), random)


class Searching(Protocol):
    """What a framework computes for a search.

    Attributes:
        number: frames in the scan.
        counts: (frame,), sum of the counts over good pixels.
        state: what is searched with, in the framework's arrays: an object, and a probe that stays as it is.
    """

    number: int
    counts: FloatArray
    state: Any

    def flatten(self) -> None:
        """Begin again with a flat object, and the flux as it was."""

    def misfits(self, frames: IntArray, trial: Trial) -> FloatArray:
        """``Σ (√I − √n)²`` (frame, shift) of frames around their positions, which are whole pixels; infinite off the object."""

    def epoch(self, order: list[IntArray], trial: Trial | None = None, choose: Choose | None = None) -> float:
        """One epoch of rPIE; returns R.  ``choose`` gets each batch and its misfits before its turn, and may move it."""

    def probe_epoch(self, order: list[IntArray]) -> float:
        """One epoch of rPIE in which the probe is updated too; returns R."""


class Placed(NamedTuple):
    """How far a search is: epoch, number of epochs there can be, and R of the epoch."""

    epoch: int
    total: int
    misfit: float


class Search:
    """A search for the positions of a scan.

    Args:
        engine: what computes.
        stated: (frame, 2), pixels of the object, the positions as they are given.
        shape: (rows, columns) of the object.
        probe: (mode, N, N), of the start.
        reach: how far they may be off.
        known: whether that probe is right.
        seed: of the order of the frames.

    Attributes:
        positions: (frame, 2), as they are found by now.
    """

    def __init__(
        self,
        engine: Searching,
        stated: FloatArray,
        shape: tuple[int, ...],
        probe: NDArray[np.complexfloating],
        reach: Reach,
        *,
        known: bool,
        seed: int,
    ) -> None:
        self._engine, self._stated, self._reach = engine, stated, reach
        self._shape, self._probe, self._known = shape, probe, known
        self._random = np.random.default_rng([seed, 3])
        self._every = np.arange(engine.number)
        self._sequence = ordered(self._every, self._random)  # one for all epochs: each frame waits for all others
        self.positions = stated.copy()
        self._levels = [levels_of(reach.radius, parts) for parts in (FIRST, *[AGAIN] * (PASSES - 1))]
        rescue = FRESH_EPOCHS + FINEST.epochs
        self._total = 1 + sum(sum(level.epochs for level in levels) + rescue for levels in self._levels)
        self._total += 0 if known else PROBE_EPOCHS
        self._epoch = 0

    def iterate(self) -> Iterator[Placed]:
        """Yield after each epoch."""
        self._put()
        yield self._after(self._engine.epoch(self._sequence))
        for number, levels in enumerate(self._levels):
            before = self.positions.copy()
            for level in levels:
                yield from self._at(level)
            yield from self._rescue()
            if number and np.hypot(*(self.positions - before).T).max() < max(MOVED, MOVED_OF_ERROR * self._reach.error):
                return
            if not number and not self._known:
                for _ in range(PROBE_EPOCHS):
                    yield self._after(self._engine.probe_epoch(self._sequence))

    def _at(self, level: Level) -> Iterator[Placed]:
        """The epochs of a level."""
        for _ in range(level.epochs):
            trial = self._trial(level)
            misfit = self._engine.epoch(self._sequence, trial, self._choosing(trial, level.step))
            self._put(with_affine_part_of(self._stated, self.positions, self._reach.error))
            yield self._after(misfit)

    def _trial(self, level: Level) -> Trial:
        shared = seen_by_others(self._engine.state.positions, self._probe, self._shape)
        return Trial(disc(level.radius, level.step), level.cutoff, shared)

    def _rescue(self) -> Iterator[Placed]:
        """Search around where they are stated to be for the frames that fit worse than their neighbors, without their object."""
        left = self._left_behind()
        if not 0 < len(left) < self._engine.number:
            return
        self._engine.flatten()
        order = ordered(np.setdiff1d(self._every, left), self._random)
        for _ in range(FRESH_EPOCHS):
            yield self._after(self._engine.epoch(order))
        self.positions[left] = self._stated[left]
        self._put()
        for level in (Level(1, RESCUE_REACH * self._reach.radius, RESCUE_STEP, 0.3 / RESCUE_STEP), FINEST):
            trial = self._trial(level)
            self._choosing(trial, level.step)(left, self._engine.misfits(left, trial))
        yield from self._at(FINEST)

    def _left_behind(self) -> IntArray:
        """Frames whose relative misfit is far above that of their neighbors, and those that lie alone, which always fit."""
        from scipy.spatial import cKDTree

        own = self._engine.misfits(self._every, Trial(disc(0, 1), 0.0))[:, 0] / np.maximum(self._engine.counts, 1.0)
        near = cKDTree(self.positions).query(self.positions, k=min(NEIGHBORS + 1, len(own)))[1][:, 1:]
        limits = np.minimum(LEFT_BEHIND * np.median(own[near], axis=1), FAR_BEHIND * np.median(own))
        part = self._seen_by_others()
        return np.flatnonzero((own > limits) | (part < ALONE * np.median(part)))

    def _seen_by_others(self) -> FloatArray:
        """Of each frame, the part of its light where others have seen the object too."""
        positions, power = np.rint(self.positions), (np.abs(self._probe) ** 2).sum(axis=0)
        shared = seen_by_others(positions, self._probe, self._shape)
        windows = np.lib.stride_tricks.sliding_window_view(shared, power.shape)
        part: FloatArray = np.array([(windows[row, column] * power).sum() for row, column in positions.astype(int)]) / power.sum()
        return part

    def _choosing(self, trial: Trial, step: int) -> Choose:
        """What moves a batch to the places of least misfit, those far from the stated ones a little less likely."""

        def choose(frames: IntArray, misfits: FloatArray) -> None:
            here = self._engine.state.positions[frames]
            far = ((here[:, None, :] + trial.shifts - self._stated[frames, None, :]) ** 2).sum(axis=2)
            weighted = misfits * (1 + PRIOR * far / (2 * self._reach.error**2))
            self.positions[frames] = here + chosen_places(weighted, trial.shifts, step)
            self._put()

        return choose

    def _put(self, positions: FloatArray | None = None) -> None:
        """Bring the engine's positions, whole pixels, up to date."""
        if positions is not None:
            self.positions = positions
        self.positions = keep_inside(self.positions, self._shape, self._probe.shape[-1])
        self._engine.state.positions = np.rint(self.positions)

    def _after(self, misfit: float) -> Placed:
        self._epoch += 1
        return Placed(self._epoch, self._total, misfit)
