"""What is implausible about a scan: found once, on the reading that every job does anyway, and said before the fit.

Each kind of doubt is one function: of counts in ``ptycho_core.scan.doubts_of_counts``, of positions in
``ptycho_core.scan.doubts_of_positions``, of the probe in ``ptycho_core.scan.doubts_of_probe``, of near and far field in
``ptycho_core.scan.doubts_of_regime``. The thresholds are such that sound
scans, simulated and measured, raise none (``docs/decisions/0076-doubts-about-a-scan.md``).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from ptycho_core.scan.doubt import Doubt
from ptycho_core.scan.doubts_of_counts import DOUBTS_OF_COUNTS, no_counts
from ptycho_core.scan.doubts_of_positions import DOUBTS_OF_POSITIONS
from ptycho_core.scan.doubts_of_probe import DOUBTS_OF_PROBE
from ptycho_core.scan.doubts_of_regime import DOUBTS_OF_REGIME
from ptycho_core.scan.evidence import Evidence, gather

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ptycho_core.scan.scan import Scan, Steps

__all__ = ["Doubt", "Evidence", "doubts_of", "find_doubts", "gather"]


def find_doubts(scan: Scan, progress: Steps | None = None) -> tuple[Doubt, ...]:
    """What is implausible about a scan.

    Args:
        scan: the scan. All frames are read where its patterns are kept (``ptycho_core.scan.kept.kept``), so that a job reads each
            once; else a sample of frames spread over the scan.
        progress: called with how many frames were read.

    Returns:
        The doubts, those of the counts first; none about a sound scan.

    Raises:
        DataError: a pattern is negative or not finite, the file is damaged, or the memory cannot hold the object that the
            positions need.
    """
    return doubts_of(scan, gather(scan, progress))


def doubts_of(scan: Scan, evidence: Evidence) -> tuple[Doubt, ...]:
    """What is implausible about a scan of which the evidence was gathered; see `find_doubts`."""
    if nothing := tuple(no_counts(scan, evidence)):
        return nothing
    of_counts = (_of_sample(scan, evidence, find(scan, evidence)) for find in DOUBTS_OF_COUNTS)
    of_positions = (find(scan) for find in DOUBTS_OF_POSITIONS)
    of_probe = (find(scan, evidence) for find in (*DOUBTS_OF_PROBE, *DOUBTS_OF_REGIME))
    return tuple(chain.from_iterable(chain(of_counts, of_positions, of_probe)))


def _of_sample(scan: Scan, evidence: Evidence, doubts: Iterable[Doubt]) -> Iterator[Doubt]:
    """The doubts, which say so where only a sample of the frames was looked at."""
    for doubt in doubts:
        looked_at = len(evidence.frames)
        said = f" ({looked_at} of {len(scan)} frames were looked at.)" if looked_at < len(scan) else ""
        yield replace(doubt, sentence=doubt.sentence + said)
