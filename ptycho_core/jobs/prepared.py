"""A scan as a training or a pass takes it: the same dose in every frame, and known which counts are lower bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ptycho_core.jobs.answered import answered
from ptycho_core.jobs.fitted_flux import fitted_flux
from ptycho_core.modelfile.trained import recorded_flux, recorded_saturation
from ptycho_core.scan.selection import least_saturation, with_even_dose, with_saturation, without_background

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ptycho_core.contract import EventSink
    from ptycho_core.scan.doubt import Doubt
    from ptycho_core.scan.scan import Scan
    from ptycho_core.settings.payload import Payload

__all__ = ["Prepared", "as_recorded", "evened", "prepared"]


class Prepared(NamedTuple):
    """A scan, and what was decided about it.

    Attributes:
        scan: as the job takes it.
        measured: as it was measured, with its flux, its background and the level of its saturated pixels.
        notes: what was chosen, a sentence each.
        fitted: whether the flux was fitted.
    """

    scan: Scan
    measured: Scan
    notes: Sequence[str] = ()
    fitted: bool = False

    @property
    def record(self) -> dict[str, Any]:
        """What was found for it, as a model file keeps it, for `as_recorded`; empty where nothing was."""
        level, flux = least_saturation(self.measured), self.measured.flux
        found: dict[str, Any] = {"saturation": level} if level else {}
        return found | ({"flux": flux.tolist()} if self.fitted and flux is not None else {})


def evened(scan: Scan, *, subtract: bool) -> Scan:
    """The scan with the mean dose in every frame, as far as it is known; if it is to ``subtract``, without its background."""
    return with_even_dose(without_background(scan) if subtract else scan)


def prepared(
    payload: Payload,
    group: str,
    scan: Scan,
    doubts: Sequence[Doubt],
    probe: Callable[[Scan], NDArray[Any]],
    hub: EventSink,
    *,
    subtract: bool,
) -> Prepared:
    """Decide what is automatic, fit the flux where that is asked for, and prepare the scan.

    Args:
        payload: of the job.
        group: of its settings, *training* or *inference*.
        scan: as it was opened.
        doubts: about it.
        probe: gives the probe (mode, N, N), in counts, of a scan of an even dose.
        hub: hears what is done.
        subtract: whether the job models no background, so that a known one is subtracted.

    Raises:
        KeyboardInterrupt: it was asked to stop meanwhile.
    """
    able = set(payload.backend.spec.capabilities)
    chosen = answered(payload.groups[group], doubts, able if "reconstruct" in able else able - {"flux"})
    measured, notes = with_saturation(scan, chosen.saturation), chosen.notes
    if chosen.asked["refine_flux"]:
        taken = without_background(measured) if subtract else measured
        flux = fitted_flux(payload, taken, probe(with_even_dose(taken)), hub, str(chosen.asked.get("background", "none")))
        measured = replace(measured, flux=flux)
        notes.append(f"Flux: fitted to all {len(scan)} frames before, it varies by {flux.std():.1%} rms.")
    return Prepared(evened(measured, subtract=subtract), measured, notes, bool(chosen.asked["refine_flux"]))


def as_recorded(scan: Scan, record: Mapping[str, Any], where: str) -> Prepared:
    """The scan of a training that continues, as it was then, by its ``record`` in the checkpoint ``where``.

    Raises:
        DataError: the record says what cannot be.
    """
    flux = recorded_flux(record, len(scan), where)
    measured = with_saturation(scan if flux is None else replace(scan, flux=flux), recorded_saturation(record, where))
    return Prepared(evened(measured, subtract=True), measured, fitted=flux is not None)
