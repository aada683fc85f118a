"""What is implausible about the regime of a scan, near field or far field, one function a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ptycho_core.scan.doubt import Doubt
from ptycho_core.scan.regime import fresnel_numbers, motion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ptycho_core.scan.evidence import Evidence
    from ptycho_core.scan.scan import Scan

    Find = Callable[[Scan, Evidence], Iterator[Doubt]]

__all__ = ["DOUBTS_OF_REGIME"]

_ALIKE: Final = 0.3
"""Correlation of frames, moved by the way between their positions, from which on they are images of one sample."""

_MORE: Final = 0.1
"""By how much it must lie above that of any other way of the axes."""

_CONTACT: Final = 0.1
"""``λz/p²`` below which waves stay in their pixel, and a detector sees the sample's shadow."""


def moves_otherwise(scan: Scan, evidence: Evidence) -> Iterator[Doubt]:
    """Frames of the far field that move as images do, and those of the near field that move along other axes."""
    if (found := motion(scan, evidence)) is None:
        return
    best = found.best
    if found.excess < _MORE:
        return
    if scan.propagation is None and best == "as-stated" and found.correlations[best] > _ALIKE:
        said = (
            f"Frames are images that move with the positions (correlation {found.correlations[best]:.2f}), as in the near field"
        )
        yield Doubt("regime", "doubtful", f"{said}; this scan is taken to be of the far field: give --regime near if it is not.")
    elif scan.propagation is not None and best != "as-stated":
        said = f"Frames move over the detector by other ways than positions: with orientation {best} neighbors correlate by"
        both = f"{found.correlations[best]:.2f}, as stated by {found.correlations['as-stated']:.2f}"
        yield Doubt("orientation", "doubtful", f"{said} {both}. Turn the positions that way, with --orientation.")


def numbers_contradict(scan: Scan, _evidence: Evidence) -> Iterator[Doubt]:
    """A Fresnel number of the beam that belongs to the other regime."""
    if (numbers := fresnel_numbers(scan)) is None:
        return
    near, what = scan.propagation is not None, "the probe" if numbers.of_probe else "the detector's width"
    if numbers.suggests == ("far" if near else "near"):
        said = f"The Fresnel number of {what} is {numbers.beam:.3g}, which is {numbers.suggests} field"
        todo = "look at distance, energy, detector pixel" + (" and focus" if near else "")
        yield Doubt(
            "regime", "doubtful", f"{said}, and the scan is of the {'near' if near else 'far'} field: {todo}, or --regime."
        )


def cannot_be_sampled(scan: Scan, _evidence: Evidence) -> Iterator[Doubt]:
    """Waves that go farther than the window is wide, or nowhere."""
    if (way := scan.propagation) is None:
        return
    if way.distance > scan.size:
        said = f"The finest waves go sideways by more than half of the window (λz/p² = {way.distance:.3g}, above {scan.size})"
        yield Doubt(
            "sampling", "doubtful", f"{said} and come in again on the other side: widen it with --margin, or bin with --bin."
        )
    elif way.distance < _CONTACT:
        said = (
            f"The detector is so near (λz/p² = {way.distance:.2g}) that it sees the sample's shadow, which does not tell phases"
        )
        yield Doubt("sampling", "doubtful", f"{said}: look at distance, energy and detector pixel.")


DOUBTS_OF_REGIME: Final[tuple[Find, ...]] = (numbers_contradict, cannot_be_sampled, moves_otherwise)
"""What is looked for, in this order."""
