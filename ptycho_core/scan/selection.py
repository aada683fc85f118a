"""Some frames of a scan, and all of them with an even dose."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ptycho_core.scan.kept import KeptPatterns
from ptycho_core.scan.scan import relative_flux

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ptycho_core.scan.scan import Scan

    _Change: TypeAlias = Callable[[NDArray[np.float32], NDArray[np.integer[Any]] | slice], NDArray[np.float32]]

__all__ = [
    "chosen_frames",
    "frame_numbers",
    "least_saturation",
    "with_even_dose",
    "with_frames",
    "with_saturation",
    "without_background",
]


def with_frames(scan: Scan, chosen: NDArray[np.integer[Any]]) -> Scan:
    """The scan with some of its frames; `chosen_frames` gives the numbers that they have in the file.

    Args:
        scan: the scan; no pattern is read, and those that are kept stay so.
        chosen: (k,), ascending numbers among the frames that the scan has now.
    """
    numbers = np.asarray(chosen, dtype=np.int64)
    index = scan.scan_index
    patterns: Any = (_KeptChosen if isinstance(scan.patterns, KeptPatterns) else _Chosen)(
        scan.patterns, numbers, frame_numbers(scan)[numbers]
    )  # fmt: skip
    return replace(
        scan,
        patterns=patterns,
        positions=scan.positions[numbers],
        scan_index=None if index is None else index[numbers],
        flux=None if scan.flux is None else relative_flux(scan.flux[numbers]),
        saturation=None if scan.saturation is None else scan.saturation[numbers],
    )


def chosen_frames(scan: Scan) -> NDArray[np.int64] | None:
    """(frame,), int64, ascending: the number that the file gives each frame, from 0; None where all its frames are here."""
    return scan.patterns.frames if isinstance(scan.patterns, (_Chosen, _Changed)) else None


def frame_numbers(scan: Scan) -> NDArray[np.int64]:
    """The number that the file gives each frame of a scan: (frame,), int64, ascending."""
    chosen = chosen_frames(scan)
    return np.arange(len(scan), dtype=np.int64) if chosen is None else chosen


def with_even_dose(scan: Scan) -> Scan:
    """The scan with counts as if every frame had had the mean dose, where its flux is known; else as it is. Reads no pattern.

    It serves what models the same dose in every frame.
    """
    if scan.flux is None:
        return scan
    flux, ends = scan.flux.astype(np.float32)[:, np.newaxis, np.newaxis], scan.saturation
    ends = None if ends is None else ends / scan.flux
    note = "Flux: the counts of each frame are divided by it."
    if scan.background is None:
        patterns = _changed(scan, lambda counts, frames: counts / flux[frames])
    else:  # it does not vary: counts less it are divided, and it is added again
        still, most = scan.background.astype(np.float32), float(scan.background.max())
        patterns = _changed(scan, lambda counts, frames: np.maximum((counts - still) / flux[frames] + still, 0))
        ends = None if ends is None else ends + np.minimum(most * (1 - 1 / scan.flux), 0)
    return replace(scan, patterns=patterns, flux=None, notes=(*scan.notes, note), saturation=ends)


def without_background(scan: Scan) -> Scan:
    """The scan with its known background subtracted from the counts, at least 0; else as it is. Reads no pattern.

    It serves what sees single patterns, and models no background.
    """
    if scan.background is None:
        return scan
    background = scan.background.astype(np.float32)
    note = "Background: it is subtracted from the counts, which are 0 where that makes them negative."
    patterns = _changed(scan, lambda counts, _: np.maximum(counts - background, 0))
    # One level a frame serves all its pixels: what was counted is always a lower bound of itself.
    ends = None if scan.saturation is None else scan.saturation - float(scan.background.max())
    return replace(scan, patterns=patterns, background=None, notes=(*scan.notes, note), saturation=ends)


def with_saturation(scan: Scan, level: float | None) -> Scan:
    """The scan, as it is opened, whose counts are lower bounds from ``level`` on; 0 or None for none."""
    return replace(scan, saturation=np.full(len(scan), level, dtype=np.float64) if level else None)


def least_saturation(scan: Scan) -> float:
    """The level of a reconstruction, which has one for all frames: that of the frame with the lowest; 0 where there is none."""
    return 0.0 if scan.saturation is None else float(scan.saturation.min())


def _changed(scan: Scan, change: _Change) -> Any:  # noqa: ANN401 - patterns, kept or not
    return (_KeptChanged if isinstance(scan.patterns, KeptPatterns) else _Changed)(scan.patterns, change, chosen_frames(scan))


class _Changed:
    """Patterns whose counts (k, N, N) are changed when they are read; see ``ptycho_core.scan.scan.Patterns``.

    ``frames`` as of `chosen_frames`.
    """

    def __init__(self, patterns: Any, change: _Change, frames: NDArray[np.int64] | None) -> None:  # noqa: ANN401
        self._all, self._change, self.frames = patterns, change, frames
        self.shape, self.dtype = patterns.shape, patterns.dtype

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._all)

    def read(self, frames: NDArray[np.integer[Any]] | slice) -> NDArray[np.float32]:
        """Counts (k, N, N) of the named frames, changed."""
        return self._change(self._all.read(frames), frames)


class _KeptChanged(_Changed, KeptPatterns):
    """The same of patterns that are kept."""

    def release(self, frames: NDArray[np.integer[Any]]) -> None:
        """Forget frames whose counts the engine holds now."""
        self._all.release(frames)


class _Chosen:
    """Some patterns; see ``ptycho_core.scan.scan.Patterns``. ``frames`` are their numbers in the file."""

    def __init__(self, patterns: Any, chosen: NDArray[np.int64], frames: NDArray[np.int64]) -> None:  # noqa: ANN401 - of any class
        self._all, self._chosen, self.frames = patterns, chosen, frames
        self.shape, self.dtype = (len(chosen), *patterns.shape[1:]), patterns.dtype

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._chosen)

    def read(self, frames: NDArray[np.integer[Any]] | slice) -> NDArray[np.float32]:
        """Counts (k, N, N) of the named frames."""
        counts: NDArray[np.float32] = self._all.read(self._chosen[frames])
        return counts

    @property
    def stored_as(self) -> str:
        """See `ptycho_core.scan.patterns.ArrayPatterns.stored_as`."""
        return str(getattr(self._all, "stored_as", ""))

    def as_stored(self, frames: NDArray[np.integer[Any]] | slice) -> NDArray[Any]:
        """See `ptycho_core.scan.patterns.ArrayPatterns.as_stored`."""
        found: NDArray[Any] = self._all.as_stored(self._chosen[frames])
        return found


class _KeptChosen(_Chosen, KeptPatterns):
    """Some patterns of those that are kept; what is released is forgotten there."""

    def release(self, frames: NDArray[np.integer[Any]]) -> None:
        """Forget frames whose counts the engine holds now."""
        self._all.release(np.asarray(self._chosen[frames]))
