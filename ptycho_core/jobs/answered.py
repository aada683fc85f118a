"""Doubts about a scan that a job answers: what is automatic is chosen by them, and what is modelled is in doubt no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ptycho_core.reconstruction.position_search import SEARCHES
from ptycho_core.scan.doubts_of_counts import FLUX, SATURATED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ptycho_core.contract import Value
    from ptycho_core.scan.doubt import Doubt

__all__ = ["Answered", "answered"]


class Answered(NamedTuple):
    """What a job computes, by the doubts about its scan.

    Attributes:
        asked: the settings of its group, ``refine_flux`` and ``saturation`` resolved.
        doubts: those that remain.
        notes: what was chosen, a sentence each.
    """

    asked: dict[str, Value]
    doubts: list[Doubt]
    notes: list[str]

    @property
    def saturation(self) -> float | None:
        """Counts that have reached it are lower bounds; None where there are none."""
        return float(str(self.asked["saturation"])) or None


def answered(given: Mapping[str, Value], doubts: Sequence[Doubt], capabilities: Collection[str]) -> Answered:
    """Choose what is automatic, as far as the backend can do it.

    Args:
        given: the settings of the group that says what the job computes: *reconstruction*, *training* or *inference*.
        doubts: about its scan.
        capabilities: of its backend.
    """
    asked, notes = dict(given), list[str]()
    if asked["refine_flux"] is None:
        fits = "flux" in capabilities and any(one.kind == FLUX for one in doubts)
        asked["refine_flux"] = fits
        if fits:
            notes.append("refine_flux: the dose of each frame is fitted, as the counts of frames vary")
    if asked["saturation"] is None:
        ends = [one.level for one in doubts if one.kind == SATURATED and one.level] if "saturation" in capabilities else []
        asked["saturation"] = ends[0] if ends else 0.0
        if ends:
            notes.append(f"saturation {ends[0]:.7g}: pixels that have reached it count at least so much")
    # Counts vary where positions are wrong, too; a search answers that, and what it leaves shows in the fit.
    kinds = {FLUX} if asked["refine_flux"] or asked.get("refine_positions") in SEARCHES else set()
    kinds |= {SATURATED} if asked["saturation"] else set()
    return Answered(asked, [one for one in doubts if one.kind not in kinds], notes)
