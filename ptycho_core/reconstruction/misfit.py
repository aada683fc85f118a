"""R of a reconstruction: from the sums that a backend gives of each frame, which NumPy checks on a few frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.imaging.metrics import data_misfit, frame_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.contract import ReconstructResult
    from ptycho_core.scan.scan import Scan

__all__ = ["FrameCheck", "misfits"]

CHECKED_FRAMES: Final = 8
"""Frames, spread over the scan, that NumPy models again."""

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

    def trouble(self, scan: Scan, result: ReconstructResult) -> str:
        """What is wrong with the sums of a result, in a sentence; empty if nothing is."""
        given = np.asarray(result.frame_sums)
        if given.shape != (len(scan), 2):
            return f"The backend gives sums of shape {given.shape} for R; ({len(scan)}, 2) is expected, so ptycho computed R."
        model = result.object, result.probe, result.positions[self.frames], result.background
        expected, found = frame_sums(self.counts, scan.mask, *model), given[self.frames]
        allowed = RELATIVE * expected + OF_AMPLITUDES * expected[:, 1:]
        wrong = ~(np.abs(found - expected) <= allowed).all(axis=1)
        if not wrong.any():
            return ""
        place = int(np.argmax(wrong))
        ours, theirs = (float(sums[place, 0] / max(sums[place, 1], 1e-300)) for sums in (expected, found))
        return f"The backend gives R {theirs:.4g} for frame {self.frames[place]}, which has {ours:.4g}, so ptycho computed R."


def misfits(scan: Scan, result: ReconstructResult, check: FrameCheck) -> tuple[dict[str, Any], list[str]]:
    """R over the frames used and over those held out, as ``metrics.json`` has them, and notes on how they were found."""
    held_out = result.held_out
    parts = {"": np.setdiff1d(np.arange(len(scan)), held_out)} | ({"held_out_": held_out} if len(held_out) else {})
    trouble = "" if result.frame_sums is None else check.trouble(scan, result)
    found: dict[str, Any] = {}
    for name, frames in parts.items():
        if result.frame_sums is None or trouble:
            model = result.object, result.probe, result.positions
            found[f"{name}misfit"] = data_misfit(scan, *model, background=result.background, frames=frames)
        else:
            differences, amplitudes = np.asarray(result.frame_sums)[frames].sum(axis=0)
            found[f"{name}misfit"] = float(differences / amplitudes) if amplitudes > 0 else float("nan")
        found[f"{name}frames"] = len(frames)
    return found, [trouble] if trouble else []
