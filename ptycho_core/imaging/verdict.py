"""Whether a result can be trusted, in one word with its reasons.

``docs/decisions/0077-a-verdict.md`` says how the limits were found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["ESTIMATED", "FEW_COUNTS", "FITTED", "GOOD", "INFERRED", "LEAST_DOSE", "Limits", "Signs", "Verdict", "judge"]

Word: TypeAlias = Literal["good", "doubtful", "unusable"]

GOOD: Final = "good"

BELOW_NOISE: Final = 0.85
"""R over that of photon noise, below which a fit has taken up noise, or values are no counts."""

SMALL_MISFIT: Final = 0.01
"""R that is small whatever the photon noise: with many photons a fit ends well above their noise, and yet right."""

OVERFITTED: Final = 1.35
"""R over noise of frames held out over that of the frames fitted."""

FLAT: Final = 0.95
"""Part of the R of a flat object, from which on a result explains no more than that."""

OUTLIER: Final = 3.0
"""R of a frame over the median, from which on the frame is a bad one."""

MISPLACED: Final = 1.5
"""The same of frames whose positions were searched for: one that was not found is off by pixels, and its neighbors are right."""

SEARCHED_IN_VAIN: Final = (
    "The search may have left frames at wrong places: repeat it with another --seed, a larger --position-radius or a better "
    "probe, and keep the result of lowest R."
)
"""What to do where R is high after a search for positions."""

FEW_COUNTS: Final = 0.5
"""Mean counts of a good pixel, below which fine structure cannot be distinguished from noise."""

LEAST_DOSE: Final = 1.0
"""Counts for each pixel of the object, below which no fit comes nearer to it than a flat object for certain."""


@dataclass(frozen=True)
class Limits:
    """How far R may lie above that of photon noise.

    Attributes:
        fitted: of the frames fitted, in a good result.
        held_out: of frames held out.
        small: of both where R is small (`SMALL_MISFIT`).
        advice: what to do where R lies above them, a sentence.
        about_positions: the same where frames held out fit much worse still.
    """

    fitted: float
    held_out: float
    small: float
    advice: str
    about_positions: str = ""


FITTED: Final = Limits(
    fitted=1.3, held_out=1.4, small=3.0,
    advice="Something is not in the model; modes (--modes), positions (--refine-positions), background (--background), "
    "flux (--refine-flux) or bad pixels (--mask auto) are the usual causes.",
    about_positions="Positions that are off by many pixels look like this: --refine-positions=search looks for them, "
    "--refine-positions=affine for a wrong scale or rotation of the scan.",
)  # fmt: skip
"""Of a reconstruction."""

INFERRED: Final = Limits(
    fitted=2.0, held_out=2.0, small=10.0,
    advice="Refine it with 'ptycho reconstruct SCAN --start MODEL', or train with scans that are more like this one.",
)  # fmt: skip
"""Of an object that a network gives in one pass, which is not fitted to the scan."""

ESTIMATED: Final = replace(
    INFERRED,
    advice="Take more steps (--steps), or refine it with 'ptycho reconstruct SCAN --start DIR'. A wrong probe (--probe) or wrong "
    "positions are the usual causes.",
)
"""Of an object that a pass without a network gives."""


@dataclass(frozen=True)
class Signs:
    """What a result shows; R is that of ``imaging.metrics.data_misfit``.

    Attributes:
        misfit: R.
        over_noise: R over the R that photon noise alone leaves of the modelled counts.
        held_out: R of frames held out, None without such.
        held_out_over_noise: the same over photon noise.
        flat: R of a flat object with the probe of the start, where photon noise hides it not; else None.
        uniform: the object shows nothing.
        counts: mean counts of a good pixel.
        dose: counts for each pixel of the object.
        bad_frames: numbers of those that fit far worse than the others.
        searched: positions were searched for.
        interrupted: the fit did not end.
        unknowns: numbers that were fitted, as a part of the pixels that were measured, where it counts: the fit takes up so much
            of the noise.
        doubts: (severity, sentence) of what is implausible about the scan.
    """

    misfit: float
    over_noise: float
    held_out: float | None = None
    held_out_over_noise: float | None = None
    flat: float | None = None
    uniform: bool = False
    counts: float = math.inf
    dose: float = math.inf
    bad_frames: Sequence[int] = ()
    searched: bool = False
    interrupted: bool = False
    unknowns: float = 0.0
    doubts: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Verdict:
    """*good*, *doubtful* or *unusable*, and why: sentences, the weightiest first."""

    word: Word
    reasons: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """For ``metrics.json``."""
        return {"verdict": self.word, "verdict_reasons": list(self.reasons)}


def judge(signs: Signs, limits: Limits = FITTED) -> Verdict:
    """The verdict on a result that shows these signs."""
    unusable, doubtful = list(_unusable(signs)), list(_doubtful(signs, limits))
    if unusable:
        return Verdict("unusable", (*unusable, *doubtful))
    if doubtful:
        return Verdict("doubtful", tuple(doubtful))
    return Verdict("good", (_sound(signs),))


def _unusable(signs: Signs) -> Iterator[str]:
    yield from (sentence for severity, sentence in signs.doubts if severity == "unusable")
    if not math.isfinite(signs.misfit):
        yield "R is not finite."
        return
    few = signs.counts < FEW_COUNTS
    if few and (signs.uniform or signs.dose < LEAST_DOSE):
        yield f"{signs.dose:.2g} counts for each pixel of the object are too few to see anything. Count for longer."
    worst = signs.misfit if signs.held_out is None else max(signs.misfit, signs.held_out)
    if signs.flat is not None and worst > FLAT * signs.flat:
        yield (
            f"R {worst:.3g} is no better than the {signs.flat:.3g} of a flat object: check the positions (unit, order, signs), "
            "the probe, and the orientation of the patterns ('ptycho find-convention')."
        )


def _doubtful(signs: Signs, limits: Limits) -> Iterator[str]:
    yield from (sentence for severity, sentence in signs.doubts if severity != "unusable")
    few = signs.counts < FEW_COUNTS
    if signs.interrupted:
        yield "The fit was interrupted."
    if few and not signs.uniform:
        yield f"{signs.counts:.2g} counts a pixel show coarse structure at most."
    elif few:
        return
    if signs.uniform and not few:
        yield "The object is flat: either the sample is empty or it was not seen."
    if signs.over_noise < BELOW_NOISE:
        yield (
            f"R is {signs.over_noise:.2g} times what photon noise leaves: the fit takes up noise (too few frames for its "
            "unknowns), or the values are no counts (--photons scales them)."
        )
    fitted, held_out = signs.over_noise, signs.held_out_over_noise or 0.0
    small = max(signs.misfit, signs.held_out or 0.0) < SMALL_MISFIT
    # Of u unknowns for each pixel the noise moves the fit: by √(1 − u) the frames fitted seem better, by √(1 + u) others worse.
    unseen, ratio = math.sqrt(1 + signs.unknowns), math.sqrt((1 + signs.unknowns) / (1 - signs.unknowns))
    most = limits.small if small else limits.held_out * unseen
    if fitted > (limits.small if small else limits.fitted) or held_out > most:
        yield f"R is {max(fitted, held_out):.3g} times what photon noise leaves. {limits.advice}"
        if signs.searched:
            yield SEARCHED_IN_VAIN
        elif limits.about_positions and held_out > OVERFITTED * ratio * fitted:
            yield limits.about_positions
    elif not small and held_out > OVERFITTED * ratio * fitted:
        yield (
            f"R of frames held out is {held_out:.3g} times what photon noise leaves, of those fitted {fitted:.3g} times: the fit "
            "takes up noise or faults."
        )
    if len(signs.bad_frames):
        yield f"{_named(signs.bad_frames)} far worse than the others (frames.csv)."


def _named(frames: Sequence[int]) -> str:
    if len(frames) == 1:
        return f"Frame {frames[0]} fits"
    listed = ", ".join(str(frame) for frame in frames[:5]) + (", …" if len(frames) > 5 else "")
    return f"{len(frames)} frames ({listed}) fit"


def _sound(signs: Signs) -> str:
    found = f"R is {signs.over_noise:.2f} times what photon noise leaves"
    if signs.held_out_over_noise is None:
        return f"{found}; no frames were held out."
    return f"{found}, that of frames held out {signs.held_out_over_noise:.2f} times."
