"""The flux of a scan whose dose varies: fitted to all its frames, for a job that itself takes one dose for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.contract import Event, ReconstructJob
from ptycho_core.inference.refinement import FIT
from ptycho_core.notes import QuietEvents
from ptycho_core.scan.canvas import object_canvas
from ptycho_core.scan.scan import relative_flux
from ptycho_core.scan.selection import least_saturation
from ptycho_core.settings.planning import plan_of_trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.contract import EventSink
    from ptycho_core.scan.scan import Scan
    from ptycho_core.settings.payload import Payload

__all__ = ["fitted_flux"]

_MARGIN: Final = 2

_DIGITS: Final = 6
"""Of the flux: far more than photons tell, and as many as a record needs to give the same counts again."""


def fitted_flux(payload: Payload, scan: Scan, probe: NDArray[Any], hub: EventSink, background: str) -> NDArray[np.float64]:
    """The dose of each frame over their mean, by a short reconstruction from a flat object with the backend of a job.

    The probe is fitted too: a guess that is held leaves errors of the flux ten times as large. 5 epochs alone leave the flux 8 %
    off, and 20 iterations of the joint fit after them 0.4 %.

    Args:
        payload: of the job.
        scan: the scan; its flux, if it has one, is what the fit begins with.
        probe: (mode, N, N), complex, in counts.
        hub: hears what is done.
        background: which one is fitted too, as the settings name it.

    Returns:
        (frame,), float64, above 0, mean 1.

    Raises:
        KeyboardInterrupt: it was asked to stop meanwhile.
    """
    asked = {
        **FIT, "refine_flux": True, "held_out": 0.0, "modes": len(probe), "background": background,
        "saturation": least_saturation(scan),
    }  # fmt: skip
    groups, plan = plan_of_trial(payload.backend, payload.groups, payload.plan, asked)
    origin, shape = object_canvas(scan.positions, scan.size, _MARGIN)
    start, positions = np.ones(shape, dtype=np.complex64), scan.positions - origin
    job = ReconstructJob(scan, start, probe.astype(np.complex64), positions, groups, flux=scan.flux)
    hub.emit(Event("message", message=f"{scan.source.name}: fitting the dose of each frame"))
    result = payload.backend.reconstruct(job, plan, QuietEvents(hub))
    if hub.stop_requested:
        raise KeyboardInterrupt
    found = np.ones(len(scan)) if result.flux is None else np.asarray(result.flux, dtype=np.float64)
    return np.round(relative_flux(found), _DIGITS)
