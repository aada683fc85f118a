"""What is implausible about the counts of a scan, one function a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ptycho_core.scan.beam_stop import hides_beam, unseen_width
from ptycho_core.scan.canvas import frames_in_words
from ptycho_core.scan.dose import unexplained
from ptycho_core.scan.doubt import Doubt
from ptycho_core.scan.pixels import FEWEST_FRAMES
from ptycho_core.scan.scan import empty_pattern
from ptycho_core.scan.selection import frame_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ptycho_core.scan.evidence import Evidence
    from ptycho_core.scan.pixels import FlawedPixels
    from ptycho_core.scan.scan import Scan

    Find = Callable[[Scan, Evidence], Iterator[Doubt]]

__all__ = ["DOUBTS_OF_COUNTS", "FLUX", "SATURATED", "doubts_of_dose", "no_counts"]

SATURATED: Final = "saturated"
"""The kind of doubt that a lower bound answers, where it has a level."""

FLUX: Final = "flux"
"""The kind of doubt that a fit of the flux answers."""

_FAR_OFF: Final = 3.0
"""A frame is far off where its counts are so many times the median, or the median so many times its counts."""

_FEW: Final = 20.0
"""Counts of a median frame below which single frames are not compared."""

_UNIT: Final = (0.7, 1.4)
"""Values of one photon between which counts are taken to be counts."""

_EVEN: Final = 0.2
"""Frames vary less than photon noise lets them if their deviation is below this part of that noise."""

_DARK: Final = (1.0, 0.5)
"""A dark level is left in where the far corners hold more counts than the first, that vary by less than the second part of what
photon noise alone would give."""

_STOP: Final = 0.25
"""Part of the pixels that a beam stop hides at most."""

_BAD: Final = 0.5
"""A mask that leaves less than this part of the pixels, or of the light, hides too much."""

_OFF_MIDDLE: Final = 1 / 8
"""Zero frequency is off the middle where the centre of the light is off by more than this part of the pattern."""

_NEAR: Final = 0.3
"""Saturated pixels count at least this part of their level, on average, in the other frames."""

_JITTER: Final = 0.03
"""Relative deviation of the dose of frames, beyond what photon noise and the object explain, that is doubted."""


def no_counts(_scan: Scan, evidence: Evidence) -> Iterator[Doubt]:
    """All frames are empty."""
    if not evidence.sums.any():
        yield Doubt(
            "empty", "unusable", "The patterns hold no counts at all. Look whether the file or the mask is the right one."
        )


def empty_frames(scan: Scan, evidence: Evidence) -> Iterator[Doubt]:
    """Some frames are empty, as where a shutter was closed."""
    empty = evidence.frames[evidence.sums == 0]
    if empty.size:
        said = f"{len(empty)} patterns hold no counts ({frames_in_words(frame_numbers(scan)[empty])})"
        yield Doubt("empty", "doubtful", f"{said}: every job leaves them out. Look whether a shutter was closed.")


def frames_far_off(scan: Scan, evidence: Evidence) -> Iterator[Doubt]:
    """Frames with far more or fewer counts than the others."""
    illuminated = evidence.sums > 0
    median = float(np.median(evidence.sums[illuminated]))
    if median < _FEW or illuminated.sum() < 4:
        return
    apart = np.log(evidence.sums[illuminated] / median)
    spread = 1.5 * float(np.median(np.abs(apart)))
    odd = np.abs(apart) > max(np.log(_FAR_OFF), 4 * spread)
    if odd.any():
        frames, times = evidence.frames[illuminated][odd], np.exp(apart[odd])
        said = f"The counts of {frames_in_words(frame_numbers(scan)[frames])} are {times[0]:.3g} times those of a median frame"
        yield Doubt("dose", "doubtful", f"{said}{' (the first)' if odd.sum() > 1 else ''}: leave such frames out of the file.")


def flawed_pixels_left(_scan: Scan, evidence: Evidence) -> Iterator[Doubt]:
    """Good pixels that measure no light."""
    if evidence.flawed.all_alike:
        yield Doubt("alike", "doubtful", "All frames hold the same pattern. Look whether the file holds a scan.")
    level = evidence.flawed.level if evidence.flawed.saturated.any() and _is_end(evidence.flawed, evidence) else 0.0
    for kind, pixels in evidence.flawed.kinds():
        number = int(pixels.sum())
        row, column = (int(index) for index in np.argwhere(pixels)[0])
        what = _FLAWS[kind].format(level=evidence.flawed.level)
        where = f"the first in row {row}, column {column}" if number > 1 else f"in row {row}, column {column}"
        said = f"{number} pixel{'s' * (number > 1)} {what.format()} ({where})"
        advice = "Mask them with --mask auto or --mask FILE"
        ended = bool(level) and (kind == SATURATED or bool((evidence.tally.highest[pixels] == level).all()))
        if ended:
            advice = "They are taken as lower bounds (--saturation) where the backend can, else mask them with --mask auto"
        if kind == SATURATED:
            advice += "; measure with less light or shorter exposures"
        yield Doubt(SATURATED if ended else kind, "doubtful", f"{said}. {advice}.", level if ended else 0.0)


def _is_end(flawed: FlawedPixels, evidence: Evidence) -> bool:
    """Whether pixels come near their level in other frames, so that it is the end of the detector and no mark of bad ones."""
    tally, pixels = evidence.tally, flawed.saturated
    others = tally.frames - tally.at_highest[pixels]
    below = tally.total[pixels] - tally.at_highest[pixels] * flawed.level
    return bool((below > _NEAR * flawed.level * others).sum() > (others > 0).sum() / 2)


_FLAWS: Final = {
    "saturated": "saturated: the counts end at {level:.7g}",
    "dead": "dead: 0 in all frames amid lit neighbors",
    "hot": "hot: far above all neighbors",
    "constant": "constant: the same value in all frames",
    "infinite": "not finite in some frame",
}


def dark_level(scan: Scan, evidence: Evidence) -> Iterator[Doubt]:
    """A level below all counts, which varies less than so little light would."""
    corners = _corners(scan.size) & scan.mask & ~evidence.flawed.any
    if not corners.any() or len(evidence.sample) < 5:
        return
    values = evidence.sample[:, corners].astype(np.float64)
    mean, variance = float(values.mean()), float(values.var(axis=0, ddof=1).mean())
    across = float(values.mean(axis=0).std())
    least, part = _DARK
    if mean > least and variance < part * mean and across < part * mean and values.min() > 0.1 * mean:
        level = max(mean - variance, float(np.quantile(values, 0.05)))
        said = f"The far corners of the patterns hold {mean:.3g} counts in every frame, and vary less than light does"
        yield Doubt("dark", "doubtful", f"{said}: a dark level was left in. Subtract it with --dark {level:.3g} or --dark FILE.")


def _corners(size: int) -> NDArray[np.bool_]:
    side = max(2, size // 8)
    edge = np.zeros(size, dtype=np.bool_)
    edge[:side] = edge[-side:] = True
    return edge[:, None] & edge[None, :]


def no_units_of_counts(scan: Scan, evidence: Evidence) -> Iterator[Doubt]:
    """Values that are no counts: one photon is not 1, all frames have one sum, or a pattern has less than one count."""
    mean = float(evidence.sums.mean())
    unit = evidence.unit
    if scan.counts_factor != 1:
        return  # their scale is stated
    if unit is not None and not _UNIT[0] < unit < _UNIT[1]:
        said = f"One photon seems to count {unit:.3g}, so that the values are no counts"
        yield Doubt("units", "doubtful", f"{said}: give the mean counts of a pattern, about --photons {mean / unit:.3g}.")
    elif mean < 1:
        said = f"A pattern holds {mean:.3g} counts on average, less than one"
        yield Doubt("units", "doubtful", f"{said}: give the mean counts with --photons if the values are in another unit.")
    elif len(evidence.sums) > 3 and evidence.sums.std() < _EVEN * np.sqrt(mean) and not evidence.whole:
        said = f"All patterns add up to {mean:.6g}, without the noise of light"
        yield Doubt("units", "doubtful", f"{said}, so that the values are normalised: give the mean counts with --photons.")
    elif not evidence.whole and float(evidence.tally.highest.max()) <= 1:
        said = f"No pixel exceeds {float(evidence.tally.highest.max()):.3g}, and the values are fractions"
        yield Doubt("units", "doubtful", f"{said}: they are no counts; give the mean counts of a pattern with --photons.")


def counts_read_as_amplitudes(scan: Scan, evidence: Evidence) -> Iterator[Doubt]:
    """Stored counts that are taken for amplitudes, and squared, only since their type is a floating one."""
    if scan.signal != "amplitude" or scan.counts_factor != 1 or any("settings state" in note for note in scan.notes):
        return
    root = np.sqrt(evidence.sample[:, scan.mask])
    illuminated = root[root > 0]
    if illuminated.size and illuminated.max() >= 2 and np.allclose(illuminated, np.round(illuminated), atol=1e-5):
        said = "The stored values are whole numbers, read as amplitudes"
    elif _stand_at_whole_numbers(illuminated):
        said = "The stored values lie about whole numbers, as counts over a flat field do, and are read as amplitudes"
    else:
        return
    yield Doubt("signal", "doubtful", f"{said}; if they are counts, give --signal counts.")


def _stand_at_whole_numbers(values: NDArray[np.float32]) -> bool:
    """Whether few values lie about √2, where two photons would put them, next to those about √3 to √5, and 2."""
    two = int(((values > 1.3) & (values < 1.55)).sum())
    more = int(((values > 1.65) & (values < 2.35)).sum())
    one = int(((values > 0.65) & (values < 1.3)).sum())
    return more >= 30 and one >= more / 2 and two < 0.1 * more


def zero_frequency_elsewhere(scan: Scan, evidence: Evidence) -> Iterator[Doubt]:
    """Most light is not in the middle of the patterns, where it is in the far field, although nothing hides it there."""
    if scan.propagation is not None or hides_beam(scan):
        return
    mean = np.where(evidence.flawed.any, 0, evidence.mean_pattern)
    if mean.sum() < 0.5 * evidence.mean_pattern.sum() and evidence.tally.frames < FEWEST_FRAMES:
        mean = evidence.mean_pattern  # so few frames do not say that a pixel is flawed
    half, quarter = scan.size // 2, max(1, scan.size // 4)
    middle = mean[half - quarter : half + quarter, half - quarter : half + quarter].sum()
    if middle < 0.25 * mean.sum():
        said = "Most counts lie in the outer part of the patterns; is zero frequency at the centre?"
        yield Doubt(
            "centre", "doubtful", f"{said} Shift the patterns (numpy.fft.fftshift over rows and columns) before they are stored."
        )
        return
    if not mean.any() or scan.size < 8:
        return
    row, column = (float((mean.sum(axis=1 - axis) * np.arange(scan.size)).sum() / mean.sum()) - half for axis in (0, 1))
    if max(abs(row), abs(column)) > max(_OFF_MIDDLE * scan.size, 2):
        said = f"The light is centred {row:.1f} rows and {column:.1f} columns off the middle [{half}, {half}] of the patterns"
        yield Doubt("centre", "doubtful", f"{said}: crop or shift them so that zero frequency lies there.")


def mask_hides_much(scan: Scan, _evidence: Evidence) -> Iterator[Doubt]:
    """A mask that leaves hardly any pixel of the detector, or none of those that the probe lights."""
    inside = detector = slice(scan.margin, scan.size - scan.margin)  # what is added around it is bad on purpose
    if scan.propagation is None and scan.stored_size is not None and scan.stored_size < scan.size:
        first = scan.size // 2 - scan.stored_size // 2
        detector = slice(first, first + scan.stored_size)
    bad = 1 - float(scan.mask[detector, detector].mean())  # what was padded is bad on purpose
    if bad > _BAD:
        said = f"{bad:.0%} of the pixels are bad by the mask"
        yield Doubt("mask", "doubtful", f"{said}: look whether it is the wrong way round; a mask is 1 where a pixel is good.")
    if scan.probe is None:
        return
    near = scan.propagation is not None
    light, good = empty_pattern(scan.probe, scan.propagation)[inside, inside], scan.mask[inside, inside]
    hidden = 1 - float(light[good].sum() / light.sum()) if light.any() else 0.0
    if hidden > _BAD and (near or bad > _STOP):
        said = f"The mask hides {hidden:.0%} of the light of the probe"
        yield Doubt("mask", "doubtful", f"{said}: look whether it belongs to these patterns, with zero frequency in the middle.")
    elif hides_beam(scan) and (width := unseen_width(scan.probe, scan.mask)) > 0:
        said = f"The mask hides {hidden:.1%} of the light of the probe, and all that structures wider than {width:.3g} px scatter"
        yield Doubt("mask", "doubtful", f"{said}, so that no pattern shows them: if this is a beam stop, take a smaller one.")


def dose_varies(scan: Scan, evidence: Evidence) -> Iterator[Doubt]:
    """Frames differ by more than photon noise and the object explain; see ``ptycho_core.scan.dose``."""
    yield from doubts_of_dose(scan, evidence.frames, evidence.sums / (1.0 if evidence.unit is None else evidence.unit))


def doubts_of_dose(scan: Scan, frames: NDArray[np.int64], photons: NDArray[np.float64]) -> Iterator[Doubt]:
    """The same of some frames (k,) and their photons in good pixels (k,)."""
    if scan.probe is None or hides_beam(scan) or (photons <= 0).any() or float(np.ptp(scan.positions, axis=0).min()) < 1:
        return  # nor do positions without an extent say what the object explains
    counts = photons if scan.flux is None else photons / scan.flux[frames]
    found = unexplained(scan.positions[frames], counts, scan.probe)
    if found > _JITTER:
        known = "" if scan.flux is None else ", even over the flux that the scan states"
        said = f"The counts of frames vary by {found:.1%} more than photon noise and the object explain{known}"
        cause = "the beam seems to change from frame to frame, or positions are wrong"
        todo = "The dose of each frame is fitted where the backend can (--refine-flux); a monitor's values serve too (--flux)"
        yield Doubt(FLUX, "doubtful", f"{said}: {cause}. {todo}.")


DOUBTS_OF_COUNTS: Final[tuple[Find, ...]] = (
    empty_frames,
    frames_far_off,
    flawed_pixels_left,
    dark_level,
    no_units_of_counts,
    counts_read_as_amplitudes,
    zero_frequency_elsewhere,
    mask_hides_much,
    dose_varies,
)
"""What is looked for, in this order."""
