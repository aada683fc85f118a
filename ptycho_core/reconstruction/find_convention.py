"""Which way the axes of a scan run, and how far its probe is out of focus: found together, since neither is to be seen alone."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.errors import CapabilityError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ptycho_core.contract import Observer, Value
    from ptycho_core.events import EventHub
    from ptycho_core.jobs.doubts import LookedOver
    from ptycho_core.reconstruction.convention import FittedClass
    from ptycho_core.settings.payload import ReconstructionPayload

__all__ = ["Convention", "find_convention", "run_find_convention"]

_FIRST: Final = "stopping after this trial; there is nothing to write"


@dataclass(frozen=True, eq=False)
class Convention:
    """What short fits say of a scan's axes.

    Attributes:
        rows: of each class its orientation and that of its twin, R of frames held out, the phase of the probe in rad at the edge
            of the detector, and the defocus in metres where geometry is known; the best first.
        margin: by how much, as a share, R of the second class is above that of the first.
        decided: whether that is enough.
        settings: the *data* settings to add, by name; none where nothing is decided.
        scales: R of the best class with positions multiplied by other factors.
        notes: what else there is to know, a sentence each.
        doubts: what is implausible about the scan, likewise.
        seconds: that it took.
    """

    rows: tuple[dict[str, Any], ...]
    margin: float
    decided: bool
    settings: Mapping[str, Value]
    scales: Mapping[float, float]
    notes: tuple[str, ...]
    doubts: tuple[str, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = {**self.__dict__, "rows": list(self.rows), "notes": list(self.notes), "doubts": list(self.doubts)}
        return found | {"settings": dict(self.settings), "scales": {f"{scale:g}": r for scale, r in self.scales.items()}}


def find_convention(
    scan: str | Path,
    output: str | Path | None = None,
    *,
    config_file: str | Path | None = None,
    overwrite: bool = False,
    observers: Sequence[Observer] = (),
    **settings: Value,
) -> Convention:
    """Fit the four classes of orientations that patterns can tell, each with probes of many phases, to a part of a scan.

    Args:
        scan: path of the scan file.
        output: settings file in TOML to write, where something is decided; None writes none.
        config_file: settings in TOML.
        overwrite: whether ``output`` may be replaced.
        observers: functions that are called with each ``ptycho_core.contract.Event``.
        settings: any *data* or *execution* setting of ``reconstruct`` by name.

    Raises:
        SettingsError: for an unknown or impossible setting, or a probe, which is what is looked for.
        BackendUnusableError: if the backend cannot be used.
        CapabilityError: if the backend does not reconstruct.
        DataError: if the scan cannot be used.
        OutputError: if ``output`` cannot be written.
        KeyboardInterrupt: it was asked to stop.
    """
    from ptycho_core.settings.payload import create_reconstruction_payload

    payload = create_reconstruction_payload(scan, None, settings, config_file=config_file)
    return run_find_convention(payload, output=None if output is None else Path(output), overwrite=overwrite, observers=observers)


def run_find_convention(
    payload: ReconstructionPayload, *, output: Path | None = None, overwrite: bool = False, observers: Sequence[Observer] = ()
) -> Convention:
    """Run a frozen payload; see `find_convention`."""
    from ptycho_core.contract import Event
    from ptycho_core.events import EventHub, stop_on_interrupt
    from ptycho_core.files.place import check_apart, check_file
    from ptycho_core.files.whole import write_whole
    from ptycho_core.jobs.observers import installed_observers
    from ptycho_core.reconstruction.run import opened
    from ptycho_core.settings.files import files_of

    _check_probe(payload)
    if output is not None:
        check_apart([output], [*files_of(payload).reads, payload.config_file])
        check_file(output, overwrite=overwrite)
    hub = EventHub([*observers, *installed_observers()])
    with stop_on_interrupt(hub, _FIRST):
        began = time.perf_counter()
        found = _found(payload, opened(payload, hub), hub, began)
        if output is not None and found.decided:
            write_whole(output, _text(payload, found).encode())
    path = "" if output is None or not found.decided else str(output)
    hub.emit(Event("finished", message="all trials done", values={"interrupted": False, "margin": found.margin}, path=path))
    return found


def _check_probe(payload: ReconstructionPayload) -> None:
    """Refuse a probe that leaves nothing to look for."""
    from ptycho_core.settings.data import made_probe

    probe = payload.resolved.values["probe"]
    made = None if probe.value is None else made_probe(str(probe.value))
    if probe.value is not None and (made is None or made.kind == "disk"):
        message = f"probe = {probe.value} is left aside here: each class is tried with probes that are made for it."
        raise SettingsError(message, remedy="Leave --probe out, or state an aperture or a zone plate.", source=probe.where)


def _found(payload: ReconstructionPayload, looked: LookedOver, hub: EventHub, began: float) -> Convention:
    from dataclasses import replace

    import numpy as np

    from ptycho_core.jobs.beam import beam_on_detector, progress_of_trials, trials_of
    from ptycho_core.reconstruction.convention import CLASSES, CLEAR, fitted_classes, margin_of, scale_misfits
    from ptycho_core.scan.made_probe import stated_phase

    if looked.scan.propagation is not None:
        message = f"{looked.scan.source} is in the near field, where no phase of a probe is looked for."
        remedy = "'ptycho inspect' says by the patterns whether another --orientation fits."
        raise CapabilityError(message, remedy=remedy)
    data, scan = payload.groups["data"], replace(looked.scan, probe=None)
    trials = trials_of(scan, beam_on_detector(scan, payload), payload, hub)
    shrunk = (trials.scan.size / scan.size) ** 2
    stated = stated_phase(scan, None if data["probe_defocus"] is None else str(data["probe_defocus"]))
    where = None if stated is None else dict.fromkeys(CLASSES, np.array([-stated, stated]) * shrunk)
    found = fitted_classes(trials, progress_of_trials(hub), where)
    scales = scale_misfits(trials, found[0])
    margin = margin_of(found)
    decided = margin >= CLEAR
    rows = [_row(one, payload, looked, one.curve.best / shrunk) for one in found]
    settings = _settings(payload, looked, found[0], rows[0]) if decided else {}
    notes = (_note_on_twin(rows[0]), _note_on_scale(found[0].misfit, scales)) if decided else (_note_on_few(trials.held_out),)
    seconds = round(time.perf_counter() - began, 3)
    doubts = tuple(one.sentence for one in looked.doubts)
    return Convention(tuple(rows), margin, decided, settings, scales, notes, doubts, seconds)


def _row(one: FittedClass, payload: ReconstructionPayload, looked: LookedOver, phase: float) -> dict[str, Any]:
    from ptycho_core.reconstruction.convention import twin
    from ptycho_core.scan.made_probe import focus_distance_m

    orientation = _orientation(payload, one.name)
    return {
        "orientation": orientation["orientation"],
        "twin": twin(str(orientation["orientation"])),
        "misfit": one.misfit,
        "phase_rad": phase,
        "defocus_m": focus_distance_m(looked.scan, phase),
    } | {name: value for name, value in orientation.items() if name != "orientation"}


def _orientation(payload: ReconstructionPayload, name: str) -> dict[str, str | float]:
    from ptycho_core.reconstruction.convention import turned_settings

    data = payload.groups["data"]
    return turned_settings(name, str(data["orientation"]), float(str(data["rotation_deg"])))


def _settings(payload: ReconstructionPayload, looked: LookedOver, best: FittedClass, row: Mapping[str, Any]) -> dict[str, Value]:
    """What is to be added to the settings that were given; the phase only where the scan's file holds no probe."""
    data = payload.groups["data"]
    found: dict[str, Value] = {name: value for name, value in _orientation(payload, best.name).items() if value != data[name]}
    if looked.scan.probe is None and data["probe_defocus"] is None:
        found["probe_defocus"] = f"{row['phase_rad']:.4g}rad"
    return found


def _note_on_twin(best: Mapping[str, Any]) -> str:
    return (
        f"Twin: {best['twin']} fits as well, with the object turned by 180 degrees and conjugated and the probe out of focus by"
        f" {-best['phase_rad']:.4g} rad; take it where the sense of the defocus, or of the picture, is known to be that."
    )


def _note_on_scale(misfit: float, scales: Mapping[float, float]) -> str:
    from ptycho_core.reconstruction.convention import CLEAR

    text = ", ".join(f"{r:.4f} times {scale:g}" for scale, r in scales.items())
    head = f"Scale of the positions: R {misfit:.4f} as stated, {text}."
    lowest, largest = min(scales.values()), max(scales.values())
    if misfit > (1 + CLEAR) * lowest:
        return f"{head} Another scale fits clearly better: look at the unit of the positions and the object's pixel."
    if lowest > (1 + CLEAR) * misfit:
        return f"{head} The stated one is right within some percent."
    side = "either side" if largest < (1 + CLEAR) * misfit else "one side"
    return f"{head} These fits do not tell an error of 10 percent to {side}, which the defocus takes up."


def _note_on_few(judging: Any) -> str:  # noqa: ANN401 - frame numbers
    from ptycho_core.reconstruction.convention import CLEAR

    return (
        f"Undecided: R of the second class is less than {CLEAR:.0%} above that of the first, by {len(judging)} frames held out."
        " More photons or frames, another part of the scan (--frames), or a mask of bad pixels (--mask auto) may tell."
    )


def _text(payload: ReconstructionPayload, found: Convention) -> str:
    """The settings file: what was given of the *data* settings, and what was found."""
    given = {name: value for name, value in payload.groups["data"].items() if name in payload.resolved.requested}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in {**given, **found.settings}.items()]
    head = f"# Found by 'ptycho find-convention' for {payload.scan.name}, margin {found.margin:.0%}; use it with --config."
    return "\n".join([head, "[data]", *lines]) + "\n"
