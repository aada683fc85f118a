"""R of a reconstruction: from the sums that a backend gives of each frame, which NumPy checks on a few frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.imaging.metrics import flat_misfit, frame_sums, noise_sums, scan_sums
from ptycho_core.imaging.verdict import MISPLACED, OUTLIER, SMALL_MISFIT, Signs
from ptycho_core.reconstruction.information import object_dose
from ptycho_core.scan.selection import frame_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from ptycho_core.contract import ReconstructResult
    from ptycho_core.reconstruction.start import Start
    from ptycho_core.scan.doubt import Doubt
    from ptycho_core.scan.scan import Scan

__all__ = ["FrameCheck", "FrameMisfits", "rows_of", "signs_of", "unknowns_of"]

CHECKED_FRAMES: Final = 8
"""Frames, spread over the scan, that NumPy models again."""

NOISE_FRAMES: Final = 64
"""Frames, spread over the scan, whose photon noise is computed from the modelled counts."""

WORST_FRAMES: Final = 16
"""The same of the frames that fit worst."""

_UNIFORM: Final = 1e-6
"""Range of amplitude and phase, rad, of an object that shows nothing."""

RELATIVE, OF_AMPLITUDES = 1e-3, 1e-5
"""Largest difference of the sums of a frame in single precision: of the sum itself, and of the sum of its amplitudes."""


@dataclass(frozen=True, eq=False)
class FrameCheck:
    """A few frames of a scan: their numbers (k,) and their counts (k, N, N)."""

    frames: NDArray[np.int64]
    counts: NDArray[np.float32]

    @classmethod
    def of(cls, scan: Scan) -> FrameCheck:
        """Frames spread over a scan, read before a backend takes its patterns over."""
        frames = np.unique(np.linspace(0, len(scan) - 1, CHECKED_FRAMES).astype(np.int64))
        return cls(frames, scan.patterns.read(frames))

    def trouble(self, scan: Scan, result: ReconstructResult, saturation: float | None = None) -> str:
        """What is wrong with the sums of a result, in a sentence; empty if nothing is."""
        given = np.asarray(result.frame_sums)
        if given.shape != (len(scan), 2):
            return f"The backend gives sums of shape {given.shape} for R; ({len(scan)}, 2) is expected, so ptycho computed R."
        flux = None if result.flux is None else result.flux[self.frames]
        model = result.object, result.probe, result.positions[self.frames], result.background, flux, saturation
        expected, found = frame_sums(self.counts, scan.mask, *model, way=scan.propagation), given[self.frames]
        allowed = RELATIVE * expected + OF_AMPLITUDES * expected[:, 1:]
        wrong = ~(np.abs(found - expected) <= allowed).all(axis=1)
        if not wrong.any():
            return ""
        place = int(np.argmax(wrong))
        ours, theirs = (float(sums[place, 0] / max(sums[place, 1], 1e-300)) for sums in (expected, found))
        return f"The backend gives R {theirs:.4g} for frame {self.frames[place]}, which has {ours:.4g}, so ptycho computed R."

    def flat(self, scan: Scan, start: Start) -> float:
        """R of a flat object with the probe of a start, over these frames."""
        model = start.object.shape, start.probe, start.positions[self.frames]
        return flat_misfit(self.counts, scan.mask, *model, scan.propagation)


@dataclass(frozen=True, eq=False)
class FrameMisfits:
    """How well each frame of a result fits.

    Attributes:
        sums: (frame, 2), ``Σ|√I − √n|`` and ``Σ√n`` over good pixels.
        held_out: (k,), numbers of the frames held out.
        held_out_sums: (k, 2), the same sums from before those were fitted too, if they were.
        fitted: numbers of the frames that were fitted.
        sampled: numbers of frames spread over the scan, then of those that fit worst.
        noise: of each of them ``Σ E|√n − √I|``, what photon noise alone leaves of the first sum.
        spread: how many of ``sampled`` are those spread over the scan.
        notes: how R was found, a sentence each.
    """

    sums: NDArray[np.float64]
    held_out: NDArray[np.int64]
    held_out_sums: NDArray[np.float64]
    fitted: NDArray[np.int64]
    sampled: NDArray[np.int64]
    noise: NDArray[np.float64]
    spread: int
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, scan: Scan, result: ReconstructResult, check: FrameCheck, saturation: float | None = None) -> FrameMisfits:
        """Those of a result; the sums that its backend gives are taken if they hold for the frames of ``check``.

        Counts that have reached ``saturation`` are lower bounds.
        """
        trouble = "" if result.frame_sums is None else check.trouble(scan, result, saturation)
        model, held_out = (result.object, result.probe, result.positions), np.asarray(result.held_out, dtype=np.int64)
        if result.frame_sums is None or trouble:
            sums = scan_sums(scan, *model, background=result.background, flux=result.flux, saturation=saturation)
        else:
            sums = np.asarray(result.frame_sums, dtype=np.float64)
        everything = np.arange(len(scan))
        notes, of_held_out = [trouble] if trouble else [], sums[held_out]
        before = None if result.held_out_sums is None else np.asarray(result.held_out_sums, dtype=np.float64)
        refitted = before is not None and before.shape == of_held_out.shape
        if before is not None and refitted:
            of_held_out = before
        elif before is not None:
            wanted = of_held_out.shape
            notes.append(f"The backend gives sums of shape {before.shape} for the frames held out; {wanted} is expected.")
        spread = np.unique(np.linspace(0, len(scan) - 1, NOISE_FRAMES).astype(np.int64))
        spread = np.union1d(spread, held_out[:NOISE_FRAMES])
        worst = np.setdiff1d(np.argsort(-_ratio(sums))[:WORST_FRAMES], spread)
        sampled = np.concatenate([spread, worst])
        flux = None if result.flux is None else result.flux[sampled]
        own = model[0], model[1], model[2][sampled], result.background, flux, saturation, scan.propagation
        noise = noise_sums(scan.mask, *own)
        fitted = everything if refitted else np.setdiff1d(everything, held_out)
        return cls(sums, held_out, of_held_out, fitted, sampled, noise, len(spread), tuple(notes))

    def as_dict(self) -> dict[str, Any]:
        """R over the frames fitted and over those held out, and each over that of photon noise, as ``metrics.json`` has them."""
        found = {"misfit": _total(self.sums[self.fitted]), "frames": len(self.fitted)}
        found["misfit_over_noise"] = self._over_noise(self.fitted, self.sums[self.fitted])
        if len(self.held_out):
            found |= {"held_out_misfit": _total(self.held_out_sums), "held_out_frames": len(self.held_out)}
            found["held_out_misfit_over_noise"] = self._over_noise(self.held_out, self.held_out_sums)
        return found

    def bad_frames(self, outlier: float = OUTLIER) -> NDArray[np.int64]:
        """Numbers of the frames that fit worse than most by a factor, compared with their photon noise; ascending."""
        with np.errstate(divide="ignore", invalid="ignore"):
            over = self.sums[self.sampled, 0] / self.noise
        usual = float(np.median(over[: self.spread]))
        far = (over > outlier * max(usual, 1.0)) & (_ratio(self.sums[self.sampled]) > SMALL_MISFIT)
        return np.sort(self.sampled[far])

    def _over_noise(self, frames: NDArray[np.int64], sums: NDArray[np.float64]) -> float:
        """R of some frames over that of photon noise, from those of them that were sampled."""
        spread = self.sampled[: self.spread]
        _, here, there = np.intersect1d(spread, frames, return_indices=True)
        expected = float(self.noise[: self.spread][here].sum())
        return float(sums[there, 0].sum()) / expected if expected > 0 else float("nan")


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """R of each frame; 0 of one without a count."""
    return np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] > 0)


def _total(sums: NDArray[np.float64]) -> float:
    differences, amplitudes = sums.sum(axis=0)
    return float(differences / amplitudes) if amplitudes > 0 else float("nan")


def signs_of(
    scan: Scan, result: ReconstructResult, found: FrameMisfits, check: FrameCheck, flat: float, doubts: Iterable[Doubt]
) -> Signs:
    """What the verdict on a reconstruction rests on; ``flat`` is R of a flat object over the frames of ``check``."""
    values = found.as_dict()
    counts = float(check.counts[:, scan.mask].mean())
    searched = result.facts.get("position_search") is not None
    bad = found.bad_frames(MISPLACED if searched else OUTLIER)
    noise = values["misfit"] / values["misfit_over_noise"] if values["misfit_over_noise"] > 0 else 0.0
    return Signs(
        misfit=values["misfit"],
        over_noise=values["misfit_over_noise"],
        held_out=values.get("held_out_misfit"),
        held_out_over_noise=values.get("held_out_misfit_over_noise"),
        flat=flat if flat > 2 * noise else None,
        uniform=bool(np.ptp(np.abs(result.object)) + np.ptp(np.angle(result.object)) < _UNIFORM),
        counts=counts,
        dose=object_dose(counts * scan.mask.size * len(scan), result.probe, result.positions),
        bad_frames=tuple(frame_numbers(scan)[bad].tolist()),
        searched=searched,
        interrupted=result.interrupted,
        unknowns=unknowns_of(scan, result),
        # Counts that vary more than the object explains may do so by wrong positions, which a search has put right or R shows.
        doubts=[(one.severity, one.sentence) for one in doubts],
    )


def unknowns_of(scan: Scan, result: ReconstructResult) -> float:
    """Numbers of object and probe for each pixel that was fitted to, at most a half, in the near field; else 0.

    There a beam as wide as the window makes few frames enough, so that the numbers count.
    """
    if scan.propagation is None:
        return 0.0
    rows, columns = np.ptp(result.positions, axis=0) + scan.size
    measured = int(scan.mask.sum()) * (len(scan) - len(result.held_out))
    return float(min(2 * (rows * columns + result.probe.size) / max(measured, 1), 0.5))


def rows_of(
    scan: Scan, start: Start, result: ReconstructResult, found: FrameMisfits, counts: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """A row for each frame, as in ``frames.csv``: its number in the file, place, shift by the fit, flux, counts and R."""
    numbers, held_out = frame_numbers(scan), set(found.held_out.tolist())
    kept = set(result.facts.get("positions_kept", ()))
    over = dict(zip(found.sampled.tolist(), found.sums[found.sampled, 0] / np.maximum(found.noise, 1e-300), strict=True))
    places, shifts, misfits = result.positions + start.origin, result.positions - start.positions, _ratio(found.sums)
    return [
        {
            "frame": int(numbers[frame]),
            "row": float(places[frame, 0]),
            "column": float(places[frame, 1]),
            "shift_row": float(shifts[frame, 0]),
            "shift_column": float(shifts[frame, 1]),
            "flux": None if result.flux is None else float(result.flux[frame]),
            "counts": float(counts[frame]) if np.isfinite(counts[frame]) else None,
            "misfit": float(misfits[frame]),
            "misfit_over_noise": over.get(frame),
            "held_out": int(frame in held_out),
            "position_kept": int(frame in kept),
        }
        for frame in range(len(scan))
    ]
