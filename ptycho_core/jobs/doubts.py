"""What a job says of its scan before it begins, and what it leaves out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ptycho_core.contract import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ptycho_core.contract import EventSink
    from ptycho_core.scan.plausibility import Doubt
    from ptycho_core.scan.scan import Scan

__all__ = ["looked_over", "of_scans", "say_doubts"]


def looked_over(scan: Scan) -> tuple[Scan, tuple[Doubt, ...]]:
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
    empty = evidence.frames[evidence.sums == 0]
    if 0 < len(empty) < len(evidence.frames):
        scan = with_frames(scan, np.delete(np.arange(len(scan)), empty))
    return scan, doubts


def of_scans(opened: Sequence[tuple[Scan, tuple[Doubt, ...]]]) -> list[Doubt]:
    """The doubts about several scans; each names the file of its scan, and one that is given twice is said once."""
    if len({scan.source for scan, _ in opened}) == 1:
        return list(opened[0][1])
    every = [replace(doubt, sentence=f"{scan.source.name}: {doubt.sentence}") for scan, doubts in opened for doubt in doubts]
    return list(dict.fromkeys(every))


def say_doubts(hub: EventSink, doubts: Iterable[Doubt]) -> list[str]:
    """Tell the observers each doubt, as a ``message``; returns their sentences, for ``metrics.json``."""
    said = []
    for doubt in doubts:
        hub.emit(Event("message", message=doubt.sentence, values={"doubt": doubt.kind, "severity": doubt.severity}))
        said.append(doubt.sentence)
    return said
