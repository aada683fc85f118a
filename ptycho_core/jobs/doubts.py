"""What a job says of its scan before it begins, and what it leaves out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ptycho_core.contract import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ptycho_core.contract import EventSink
    from ptycho_core.scan.plausibility import Doubt
    from ptycho_core.scan.scan import Scan

__all__ = ["LookedOver", "doubts_with_probe", "looked_over", "of_scans", "say_doubts"]


class LookedOver(NamedTuple):
    """A scan whose patterns were looked at.

    Attributes:
        scan: without the frames that hold no counts.
        doubts: what is implausible about it.
        counts: (frame,), float64, counts in good pixels of each frame; NaN of one that was not read.
    """

    scan: Scan
    doubts: tuple[Doubt, ...]
    counts: NDArray[np.float64]


def looked_over(scan: Scan) -> LookedOver:
    """The scan without the frames that hold no counts, and what is implausible about it.

    The patterns are read; where they are kept (``ptycho_core.scan.kept``) the job reads none again.

    Raises:
        DataError: as ``ptycho_core.scan.plausibility.find_doubts``.
    """
    import numpy as np

    from ptycho_core.scan.plausibility import doubts_of, gather
    from ptycho_core.scan.selection import with_frames

    evidence = gather(scan)
    doubts = doubts_of(scan, evidence)
    counts = np.full(len(scan), np.nan)
    counts[evidence.frames] = evidence.sums
    empty = evidence.frames[evidence.sums == 0]
    if 0 < len(empty) < len(evidence.frames):
        scan, counts = with_frames(scan, np.delete(np.arange(len(scan)), empty)), np.delete(counts, empty)
    return LookedOver(scan, doubts, counts)


def doubts_with_probe(looked: LookedOver, probe: NDArray[Any]) -> tuple[Doubt, ...]:
    """What is implausible about a scan that had no probe once there is one, (mode, N, N): which light a frame should have."""
    import numpy as np

    from ptycho_core.scan.doubts_of_counts import doubts_of_dose

    known = np.flatnonzero(np.isfinite(looked.counts))
    return tuple(doubts_of_dose(replace(looked.scan, probe=probe), known, looked.counts[known]))


def of_scans(opened: Sequence[LookedOver]) -> list[Doubt]:
    """The doubts about several scans; each names the file of its scan, and one that is given twice is said once."""
    if len({scan.source for scan, *_ in opened}) == 1:
        return list(opened[0].doubts)
    every = [replace(doubt, sentence=f"{scan.source.name}: {doubt.sentence}") for scan, doubts, _ in opened for doubt in doubts]
    return list(dict.fromkeys(every))


def say_doubts(hub: EventSink, doubts: Iterable[Doubt]) -> list[str]:
    """Tell the observers each doubt, as a ``message``; returns their sentences, for ``metrics.json``."""
    said = []
    for doubt in doubts:
        hub.emit(Event("message", message=doubt.sentence, values={"doubt": doubt.kind, "severity": doubt.severity}))
        said.append(doubt.sentence)
    return said
