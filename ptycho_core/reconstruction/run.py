"""The verb ``reconstruct``: from a scan file through a backend to a result and, if asked, its folder."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ptycho_core.contract import Event, Observer, ReconstructJob, ReconstructResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.contract import Value
    from ptycho_core.events import EventHub
    from ptycho_core.files.folder import Claim
    from ptycho_core.formats.product import Reconstruction, StoredObject
    from ptycho_core.jobs.beam import Made
    from ptycho_core.jobs.doubts import LookedOver
    from ptycho_core.reconstruction.distance import Part
    from ptycho_core.reconstruction.start import Start
    from ptycho_core.scan.doubt import Doubt
    from ptycho_core.scan.scan import Scan
    from ptycho_core.settings.payload import ReconstructionPayload

__all__ = ["Infer", "run_payload"]

Infer: TypeAlias = "Callable[[EventHub], tuple[StoredObject, list[str]]]"
"""Gives the object that a model makes of the scan, with the probe it goes with, and the notes of that inference."""

_FIRST = "stopping after this epoch or iteration, and writing what there is"


def run_payload(
    payload: ReconstructionPayload,
    *,
    overwrite: bool = False,
    observers: Sequence[Observer] = (),
    infer: Infer | None = None,
) -> tuple[Reconstruction, dict[str, Any]]:
    """Run a frozen payload; returns the reconstruction and its metrics (as in ``metrics.json``).

    Args:
        payload: what to do.
        overwrite: whether results that are already in the folder may be replaced.
        observers: functions that are called with each event.
        infer: makes the start, where that is a model.

    Raises:
        DataError: if scan, probe or start cannot be used.
        OutputError: if the output folder cannot be.
    """
    from ptycho_core.events import EventHub, stop_on_interrupt
    from ptycho_core.files.folder import claimed_folder
    from ptycho_core.jobs.observers import installed_observers
    from ptycho_core.settings.files import check_files

    check_files(payload)
    hub = EventHub([*observers, *installed_observers()])
    folder = payload.output_dir
    if folder is None:
        with stop_on_interrupt(hub, _FIRST):
            reconstruction, metrics, _ = _run(payload, hub, infer)
    else:
        with claimed_folder(folder, overwrite=overwrite) as claim, stop_on_interrupt(hub, _FIRST):
            reconstruction, metrics = _run_into(payload, folder, claim, hub, infer)
    names = ("misfit", "misfit_over_noise", "held_out_misfit", "held_out_misfit_over_noise", "verdict", "interrupted")
    values = {name: metrics[name] for name in names if name in metrics}
    hub.emit(Event("finished", message=metrics["stopped_by"], values=values, path="" if folder is None else str(folder)))
    return reconstruction, metrics


def _run_into(
    payload: ReconstructionPayload, folder: Path, claim: Claim, hub: EventHub, infer: Infer | None
) -> tuple[Reconstruction, dict[str, Any]]:
    """Run, and write the results and the log; what was there before stays until the new arrays are written."""
    from ptycho_core.imaging.report import HISTORY, RESULTS, SEAL, write_results
    from ptycho_core.jobs.logging import logging_to
    from ptycho_core.jobs.old_logs import old_files
    from ptycho_core.notes import tell

    arrays, *others = (folder / name for name in (*RESULTS, *HISTORY))
    old = old_files(folder, [folder / SEAL, *others], renamed=arrays)
    with logging_to(hub, payload, folder, old=old):
        found = _run(payload, hub, infer)
        replace = partial(claim.replace, old)
        write_results(
            folder, found.reconstruction, settings=payload.audit, metrics=found.metrics, frames=found.frames,
            figures=payload.figures, ready=replace, tell=partial(tell, hub),
        )  # fmt: skip
    return found.reconstruction, found.metrics


class Found(NamedTuple):
    """What a fit gives.

    Attributes:
        reconstruction: the result.
        metrics: as in ``metrics.json``.
        frames: a row for each frame, as in ``frames.csv``.
    """

    reconstruction: Reconstruction
    metrics: dict[str, Any]
    frames: list[dict[str, Any]]


def _run(payload: ReconstructionPayload, hub: EventHub, infer: Infer | None) -> Found:
    began = time.perf_counter()
    looked = opened(payload, hub)
    inferred, notes = (None, []) if infer is None else infer(hub)
    looked, made = with_probe(payload, looked, hub, inferred)
    found = fit(payload, looked, hub, inferred, made)
    found.metrics["notes"] = list(dict.fromkeys([*notes, *found.metrics["notes"]]))
    found.metrics["seconds"] = round(time.perf_counter() - began, 3)
    return found


def opened(payload: ReconstructionPayload, hub: EventHub) -> LookedOver:
    """The scan of a payload, whose patterns are read once, and what is implausible about it, which is said."""
    from ptycho_core.formats.opening import open_scan
    from ptycho_core.jobs.doubts import looked_over, say_doubts
    from ptycho_core.scan.kept import kept

    groups = payload.groups
    scan = kept(open_scan(payload.file, groups["data"]), float(str(groups["reconstruction"]["memory_gib"])) * 2**30)
    planned = sum(int(groups["reconstruction"][name] or 0) for name in ("epochs", "iterations"))
    hub.emit(Event("started", total=planned, message=f"{len(scan)} patterns of {scan.source.name}, {payload.said}"))
    looked = looked_over(scan)
    say_doubts(hub, looked.doubts)
    return looked


def with_probe(
    payload: ReconstructionPayload, looked: LookedOver, hub: EventHub, inferred: StoredObject | None = None
) -> tuple[LookedOver, Made | None]:
    """A scan with a probe, made if it has none and the start of the fit brings none; and how that was made.

    Raises:
        CapabilityError, DataError, KeyboardInterrupt: as ``ptycho_core.jobs.beam.with_made_probe``.
    """
    from ptycho_core.formats.product import read_object

    start, asked = payload.groups["reconstruction"]["start"], payload.groups["data"]["probe"]
    if looked.scan.probe is not None:
        return looked, None
    if asked is None and start is not None and (inferred or read_object(str(start), "start")).probe is not None:
        return looked, None
    from ptycho_core.jobs.beam import with_made_probe
    from ptycho_core.jobs.doubts import doubts_with_probe, say_doubts
    from ptycho_core.notes import tell

    made = with_made_probe(looked.scan, payload, hub)
    tell(hub, made.note)
    assert made.scan.probe is not None
    doubts = (*made.doubts, *doubts_with_probe(looked, made.scan.probe))
    say_doubts(hub, doubts)
    return looked._replace(scan=made.scan, doubts=(*looked.doubts, *doubts)), made


def fit(
    payload: ReconstructionPayload,
    looked: LookedOver,
    hub: EventHub,
    inferred: StoredObject | None = None,
    made: Made | None = None,
) -> Found:
    """Reconstruct an opened scan, or a part of it, as a payload says.

    Args:
        payload: what to do.
        looked: the scan to fit, with its probe, and what is known of it.
        hub: receives the events.
        inferred: the object to begin with, of a model.
        made: how the probe was made, if it was.

    Raises:
        DataError: if scan, probe or start cannot be used.
    """
    from ptycho_core.imaging.verdict import judge
    from ptycho_core.jobs.answered import answered
    from ptycho_core.notes import NotedEvents
    from ptycho_core.reconstruction.distance import Part
    from ptycho_core.reconstruction.misfit import FrameCheck, FrameMisfits, rows_of, signs_of
    from ptycho_core.scan.scan import regime_facts
    from ptycho_core.scan.selection import chosen_frames, with_even_dose
    from ptycho_core.settings.components import losses_of

    _check_background(payload, looked.scan)
    scan = looked.scan if "flux" in payload.backend.spec.capabilities else with_even_dose(looked.scan)
    chosen = answered(payload.groups["reconstruction"], looked.doubts, payload.backend.spec.capabilities)
    groups = payload.groups | {"reconstruction": chosen.asked}
    start = _start(scan, payload, inferred)
    noted = NotedEvents(hub, start.origin, chosen_frames(scan))
    for note in (*chosen.notes, *start.notes):
        noted.emit(Event("message", message=note))
    check = FrameCheck.of(scan)  # before the backend takes the patterns over
    flat = check.flat(scan, start)
    part = None if scan.propagation is None else Part.of(replace(scan, probe=start.probe, probe_scaled=True), chosen.saturation)
    job = ReconstructJob(scan, start.object, start.probe, start.positions, groups, losses_of(groups), scan.flux)
    result = _with_power(payload.backend.reconstruct(job, payload.plan, noted), start.probe)
    fits = FrameMisfits.of(scan, result, check, chosen.saturation)
    for note in fits.notes:
        noted.emit(Event("message", message=note))
    found_wrong: list[Doubt] = []
    if part is not None and not result.interrupted:
        found_wrong = _doubts_of_distance(payload, part, scan, result, hub)
    verdict = judge(signs_of(scan, result, fits, check, flat, [*chosen.doubts, *found_wrong]))
    said = [one.sentence for one in (*looked.doubts, *found_wrong)]
    metrics = {**fits.as_dict(), **verdict.as_dict(), "doubts": said}
    metrics |= regime_facts(scan)
    metrics |= {"stopped_by": result.stopped_by, "interrupted": result.interrupted, "notes": noted.notes}
    if made is not None:
        metrics |= {"made_probe": made.record, "notes": [made.note, *noted.notes]}
    rows = rows_of(scan, start, result, fits, looked.counts)
    return Found(_collect(payload, scan, start, result, metrics, chosen.saturation), metrics, rows)


def _check_background(payload: ReconstructionPayload, scan: Scan) -> None:
    """Refuse a known background where the backend models none, or where a constant one is asked for next to it."""
    from ptycho_core.errors import CapabilityError, SettingsError

    if scan.background is None:
        return
    if "background" not in payload.backend.spec.capabilities:
        raise CapabilityError(
            f"Backend '{payload.backend.spec.name}' models no background, and {scan.source} comes with one.",
            remedy="Choose another with --backend, or leave --background-file out.",
        )
    if payload.groups["reconstruction"]["background"] == "constant":
        raise SettingsError(
            "background = 'constant' and a known background exclude each other.",
            remedy="Leave --background out to take the image as it is; --background pixel fits it, beginning with the image.",
            source="reconstruction.background",
        )


def _start(scan: Scan, payload: ReconstructionPayload, inferred: StoredObject | None) -> Start:
    from ptycho_core.reconstruction.start import prepare_start
    from ptycho_core.settings.reconstruction import ReconstructionSettings

    groups = payload.groups
    probe = groups["data"]["probe"]
    return prepare_start(
        scan,
        ReconstructionSettings(**groups["reconstruction"]),  # type: ignore[arg-type]
        seed=int(groups["execution"]["seed"] or 0),
        probe=None if probe is None else str(probe),
        inferred=inferred,
    )


def _doubts_of_distance(
    payload: ReconstructionPayload, part: Part, scan: Scan, result: ReconstructResult, hub: EventHub
) -> list[Doubt]:
    """What the end of a fit in the near field says against the distance."""
    from ptycho_core.notes import QuietEvents
    from ptycho_core.reconstruction.distance import SETTLING, SURE, TRIAL, better_distance, doubt_of_distance, settled
    from ptycho_core.reconstruction.misfit import unknowns_of
    from ptycho_core.settings.planning import plan_of_trial

    own = part.own(result)
    slope = part.slope(own, unknowns_of(scan, result))
    assert part.scan.geometry is not None
    if abs(slope) < SURE:
        return []
    quiet, asked = QuietEvents(hub), payload.groups["reconstruction"]
    hub.emit(
        Event("message", message=f"looking at the distance from sample to detector: short fits of {len(part.frames)} frames")
    )
    # Several threads only wait for each other on arrays so small.
    common: dict[str, Value] = {"saturation": part.saturation or 0.0, "threads": 1}
    same = {name: asked[name] for name in ("modes", "likelihood", "refine_probe")}

    def of(trial: Mapping[str, Value]) -> tuple[Callable[[ReconstructJob], ReconstructResult], dict[str, dict[str, Value]]]:
        groups, plan = plan_of_trial(payload.backend, payload.groups, payload.plan, {**trial, **common})

        def fit(job: ReconstructJob) -> ReconstructResult:
            found = payload.backend.reconstruct(job, plan, quiet)
            if hub.stop_requested:
                raise KeyboardInterrupt
            return found

        return fit, groups

    better, stopped = None, False
    try:
        own = settled(part, own, *of({**SETTLING, **same}))
        slope = part.slope(own, unknowns_of(part.scan, own))
        if abs(slope) < SURE:
            return []
        better = better_distance(part, slope, *of(TRIAL))
    except KeyboardInterrupt:  # the result is complete
        stopped = True
    return [doubt_of_distance(slope, better, part.scan.geometry, stopped=stopped)]


def _with_power(result: ReconstructResult, probe: NDArray[Any]) -> ReconstructResult:
    """The same reconstruction with the probe's power as at the start.

    A factor can be moved between object and probe without changing any pattern. The start's power was stated in counts, or found
    from them, so it is the fit that drifted.
    """
    import numpy as np

    found = float(np.linalg.norm(result.probe))
    if not found > 0:  # a fit that failed has no scale to restore
        return result
    factor = float(np.linalg.norm(probe)) / found
    return replace(result, probe=result.probe * factor, object=result.object / factor)


_KEPT = (
    "misfit", "misfit_over_noise", "held_out_misfit", "held_out_misfit_over_noise", "verdict", "verdict_reasons", "made_probe",
)  # fmt: skip
"""Of the metrics, what the file of the result holds too."""


def _collect(
    payload: ReconstructionPayload,
    scan: Scan,
    start: Start,
    result: ReconstructResult,
    metrics: dict[str, Any],
    saturation: float | None,
) -> Reconstruction:
    from ptycho_core.formats.product import Reconstruction, title_and_scale
    from ptycho_core.scan.scan import regime_facts

    facts = {
        "probe_factor": start.probe_factor,
        "counts_factor": scan.counts_factor,
        "stored_size": scan.stored_size,
        **regime_facts(scan),
        "stopped_by": result.stopped_by,
        "interrupted": result.interrupted,
        "saturation": saturation,
        **{name: metrics[name] for name in _KEPT if name in metrics},
    }
    own = {"origin": start.origin, "mask": scan.mask, "settings": payload.audit}
    return Reconstruction.of(result, facts, **own, **title_and_scale(scan))
