"""Labels that a scan makes itself: its own reconstruction, by the backend of the job, in place of an object that is known.

It knows the scan's patterns as a whole, which a network that sees one tile does not, and nothing of the sample but them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.contract import Event, ReconstructJob
from ptycho_core.notes import QuietEvents
from ptycho_core.scan.selection import least_saturation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ptycho_core.contract import EventSink, Value
    from ptycho_core.settings.payload import Payload
    from ptycho_core.training.data import TrainingData, TrainingScan

__all__ = ["reconstructed", "with_labels"]

_FIT: Final[Mapping[str, Value]] = {"refine_probe": False}
"""The network is given the probe as it is, so that the object has to go with it."""

_STAGE: Final = "labels"


def with_labels(data: TrainingData, probes: NDArray[np.complex64], payload: Payload, hub: EventSink) -> TrainingData:
    """The data of a training, each scan with its own reconstruction as label.

    Args:
        data: the scans.
        probes: (scan, mode, N, N), in counts, of the model.
        payload: of the job, whose backend reconstructs.
        hub: hears how far it is.

    Raises:
        KeyboardInterrupt: it was asked to stop meanwhile.
    """
    pairs = zip(data.scans, probes, strict=True)
    return replace(data, scans=tuple(replace(one, labels=reconstructed(one, probe, payload, hub)) for one, probe in pairs))


def reconstructed(one: TrainingScan, probe: NDArray[np.complex64], payload: Payload, hub: EventSink) -> NDArray[np.complex64]:
    """The object of a scan on its canvas, complex64 (rows, columns), from a flat start and with the probe as it is.

    Arguments and errors are those of `with_labels`.
    """
    from ptycho_core.settings.planning import plan_of_trial

    fit = {**_FIT, "modes": len(probe), "saturation": least_saturation(one.scan)}
    groups, plan = plan_of_trial(payload.backend, payload.groups, payload.plan, fit)
    hub.emit(Event("message", message=f"{one.scan.source.name}: reconstructing the object that the network is compared with"))
    job = ReconstructJob(one.scan, np.ones(one.shape, dtype=np.complex64), np.array(probe), one.positions, groups)
    result = payload.backend.reconstruct(job, plan, _Stage(hub))
    if hub.stop_requested:
        raise KeyboardInterrupt
    return np.asarray(result.object, dtype=np.complex64)


class _Stage(QuietEvents):
    """The events of such a fit: its epochs are steps of a stage of the training."""

    def __init__(self, hub: EventSink) -> None:
        super().__init__(hub)
        self._done = 0

    def emit(self, event: Event) -> None:
        """Take an event; of epochs and iterations alike, which may have several stages, only their number is told."""
        if event.kind == "epoch":
            self._done += 1
            values: dict[str, Any] = {"misfit": event.values["misfit"]} if event.values.get("misfit") is not None else {}
            self._events.emit(Event("step", _STAGE, self._done, 0, values))
