"""What is computed, and the decisions on the way that need no framework: options, frames held out, when to stop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ptycho_core.imaging.verdict import FEW_COUNTS
from ptycho_core.scan.beam_stop import is_stopped

if TYPE_CHECKING:
    from ptycho_core.physics.near_field import Propagation
    from ptycho_core.settings.reconstruction import ReconstructionSettings

__all__ = [
    "HeldOut",
    "Plan",
    "Progress",
    "batches",
    "choose_held_out",
    "choose_plan",
    "keep_inside",
    "likelihood_for",
    "positions_settled",
    "shared_frames",
    "spread_frames",
]

IntArray = npt.NDArray[np.int64]

LOW_COUNTS = 10.0
"""Mean counts a pixel below which a pattern is mostly noise: Poisson likelihood, stopping on frames held out."""

HELD_OUT, LEAST_FRAMES = 0.05, 40
"""Share of the frames that are held out if nothing else is asked, and the frames that it takes."""

FITS_OF_SLOW: Final = 6
"""Joint fits one after the other, until one settles, where patterns show little of what varies slowly over the object: behind a
stop, and in the near field. There R was 1.15 times what photon noise leaves after one fit, 1.00 after three (decision 0100)."""

TOLERANCE_OF_SLOW: Final = 0.4
"""Share of the tolerance there."""


@dataclass(frozen=True)
class Plan:
    """The choices made for one scan; ``notes`` says them in words.

    Attributes:
        epochs: of rPIE.
        coarse_epochs: of rPIE at half the resolution.
        likelihood: of the joint fit.
        total_variation: weight, None to look for it.
        stop_on_held_out: frames that decide when to stop are held out.
        few_photons: so few that the fit comes from the smooth side.
        held_out: share of the frames that check the fit.
        refit: those are fitted too, in the end.
        joint_fits: how many joint fits follow one another, each with all its iterations, until one settles.
        tolerance: of the joint fit.
    """

    epochs: int
    coarse_epochs: int
    likelihood: str
    total_variation: float | None
    stop_on_held_out: bool
    few_photons: bool
    held_out: float
    refit: bool
    joint_fits: int
    tolerance: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Progress:
    """One epoch or iteration.

    Attributes:
        stage: name of the stage.
        epoch: number in the stage, from 1.
        total: the largest number there can be.
        loss: of the joint fit, a frame; None in other stages.
        misfit: R over the frames used; of the middle of the detector in the coarse stage.
        held_out: R over the frames never used, or None.
        stopping_loss: loss of the frames that decide when to stop, or None.
        seconds: since the engine began.
    """

    stage: str
    epoch: int
    total: int
    loss: float | None
    misfit: float
    held_out: float | None
    stopping_loss: float | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The same as a plain dictionary, for a log."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class HeldOut:
    """Frame numbers: ``used`` for the reconstruction, ``stopping`` to stop it (used at the end), ``judging`` never used."""

    used: IntArray
    stopping: IntArray
    judging: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


def choose_plan(
    options: ReconstructionSettings,
    counts_per_pixel: float,
    frames: int,
    size: int,
    way: Propagation | None = None,
    hidden: float = 0.0,
) -> Plan:
    """Resolve every "auto" from the data.

    Args:
        options: as given.
        counts_per_pixel: mean counts of a good pixel.
        frames: in the scan.
        size: N.
        way: to the detector in the near field, where its middle shows a part of the object, and not a coarser one.
        hidden: part of the light of the probe that falls on bad pixels.
    """
    notes: list[str] = []
    low, stopped = counts_per_pixel < LOW_COUNTS, is_stopped(hidden)
    if stopped:
        notes.append(f"beam stop: the mask hides {hidden:.3%} of the light of the probe; the joint fit takes its time")
    likelihood = options.likelihood
    if likelihood == "auto":
        likelihood = likelihood_for(counts_per_pixel)
        notes.append(f"likelihood {likelihood}: {counts_per_pixel:.3g} counts a pixel")
    total_variation = options.total_variation
    if total_variation is None and not low:
        total_variation = 0.0
    # rPIE sets amplitudes to the roots of single counts, so that it would fit noise alone.
    few = counts_per_pixel < FEW_COUNTS and options.iterations > 0
    epochs = options.epochs
    if epochs is None:
        # What saturated pixels would have counted is found by overlap alone, and slowly.
        slow = options.moves_positions or options.saturation
        epochs = 0 if few else 50 if slow else 20 if stopped and not low else 5
    # Behind a stop the middle half of the detector has hardly a good pixel; but single photons are worse to begin with.
    wanted = options.start is None and not few and (low or not stopped) if options.coarse_start is None else options.coarse_start
    possible = size >= 64 and size % 4 == 0 and way is None
    if options.coarse_start and way is not None:
        notes.append("no coarse start: in the near field the middle of the detector shows a part of the object")
    elif options.coarse_start and not possible:
        notes.append(f"no coarse start: patterns of {size} pixels; it takes 64 or more, a multiple of 4")
    if options.total_variation and options.iterations == 0:
        notes.append("no total variation: it is a part of the joint fit, which has no iterations")
    coarse = wanted and possible
    coarse_epochs = min(epochs, 5) if coarse else 0
    enough = frames >= LEAST_FRAMES and options.iterations > 0
    held_out, refit = options.held_out, False
    if held_out is None:
        held_out, refit = (HELD_OUT, True) if enough else (0.0, False)
        if frames < LEAST_FRAMES:
            notes.append(f"no frames held out: a scan of {frames} frames is too small for it; it takes {LEAST_FRAMES}")
    fits, tolerance = 1, options.tolerance
    if stopped or way is not None:
        fits, tolerance = FITS_OF_SLOW, TOLERANCE_OF_SLOW * tolerance
    return Plan(
        epochs, coarse_epochs, likelihood, total_variation, low and enough, few, held_out, refit, fits, tolerance, tuple(notes)
    )  # fmt: skip


def likelihood_for(counts_per_pixel: float) -> str:
    """``poisson`` where a good pixel has few counts on average, else ``amplitude``, which is then as good and faster."""
    return "poisson" if counts_per_pixel < LOW_COUNTS else "amplitude"


def spread_frames(frames: IntArray, number: int, random: np.random.Generator) -> IntArray:
    """So many of ``frames``, one drawn from each of as many runs of neighbours in scan order, sorted.

    Drawing within runs spreads them over the scan, so that no region loses all its frames.
    """
    number = min(number, len(frames))
    if number < 1:
        return np.zeros(0, dtype=np.int64)
    runs = np.array_split(frames, number)
    return np.array([random.choice(run) for run in runs], dtype=np.int64)


def choose_held_out(number: int, held_out: float, stop_on_held_out: bool, seed: int, among: IntArray | None = None) -> HeldOut:
    """Frames held out (``held_out`` of all), and frames to stop by (5 % of the rest), drawn with ``seed``.

    ``among`` are the numbers of those that may be; None for all.
    """
    random = np.random.default_rng([seed, 1])
    every = np.arange(number, dtype=np.int64)
    able = every if among is None else among
    judging = spread_frames(able, round(held_out * number), random)
    rest = np.setdiff1d(every, judging)
    able = np.setdiff1d(able, judging)
    stopping = spread_frames(able, round(0.05 * len(rest)), random) if stop_on_held_out else np.zeros(0, dtype=np.int64)
    return HeldOut(np.setdiff1d(rest, stopping), stopping, judging)


def shared_frames(positions: npt.NDArray[np.float64], size: int) -> IntArray | None:
    """Frames whose window of ``size`` pixels lies wholly in those of others; None where fewer than a quarter do.

    Where light fills the window, only such a frame shows nothing that the others leave open.
    """
    whole = np.floor(positions - positions.min(axis=0)).astype(np.int64)
    rows, columns = whole.max(axis=0) + size
    often = np.zeros((rows, columns), dtype=np.int64)
    for row, column in whole:
        often[row : row + size, column : column + size] += 1
    shared = [bool((often[row : row + size, column : column + size] > 1).all()) for row, column in whole]
    return np.flatnonzero(shared) if np.mean(shared) >= 0.25 else None


def batches(frames: IntArray, batch_size: int, random: np.random.Generator) -> list[IntArray]:
    """``frames`` in random order, cut into batches, each sorted (sorted reads are faster)."""
    order = random.permutation(frames)
    return [np.sort(order[start : start + batch_size]) for start in range(0, len(order), batch_size)]


def positions_settled(places: list[npt.NDArray[np.float64]], span: int = 5, least: int = 20, moved: float = 0.06) -> bool:
    """Whether positions, (frame, 2) after every epoch, moved less than ``moved`` pixels (rms, per axis) in ``span`` epochs.

    Asked only after ``least`` epochs, because positions hardly move before the object shows structure.
    """
    if len(places) < max(span + 1, least):
        return False
    change = places[-1] - places[-1 - span]
    return float(np.sqrt(((change - change.mean(0)) ** 2).mean())) < moved


def keep_inside(positions: npt.NDArray[np.float64], shape: tuple[int, ...], size: int) -> npt.NDArray[np.float64]:
    """Positions (frame, 2) moved, where needed, so that every window of ``size`` lies in an object of ``shape``."""
    largest = np.array(shape, dtype=float) - size
    return np.clip(positions, 0.0, np.maximum(largest, 0.0))
