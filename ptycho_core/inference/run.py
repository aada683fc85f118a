"""The verb ``infer``: from a scan, with a model or without, through a backend to a stitched object and, if asked, its folder."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ptycho_core.contract import Event, InferJob, Observer, Value
from ptycho_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from ptycho_core.backends.loading import Backend
    from ptycho_core.contract import EventSink, ExecutionPlan
    from ptycho_core.events import EventHub
    from ptycho_core.files.folder import Claim
    from ptycho_core.formats.product import Reconstruction
    from ptycho_core.imaging.stitching import StitchedObject
    from ptycho_core.inference.probe import ChosenProbe
    from ptycho_core.jobs.beam import Made
    from ptycho_core.model import Model
    from ptycho_core.scan.doubt import Doubt
    from ptycho_core.scan.scan import Scan
    from ptycho_core.settings.payload import InferencePayload

__all__ = ["infer", "infer_job", "infer_payload", "run_payload", "stitched"]

_FIRST = "stopping at the next batch; there is nothing to save, and nothing is written"
_JUDGED = 128
"""Most frames that the misfit is computed from; they are spread over the scan."""


def infer(
    scan: str | Path,
    model: str | Path | None = None,
    output_dir: str | Path | None = None,
    *,
    config_file: str | Path | None = None,
    overwrite: bool = False,
    observers: Sequence[Observer] = (),
    **settings: Value,
) -> Reconstruction:
    """Make the object of a scan in one pass: by a few steps on tiles of neighboring frames, or through a trained network.

    Args:
        scan: path of the scan file.
        model: a model file, or the folder of a training run, whose best model is taken; None for no network.
        output_dir: folder for the results, see ``specs/result-folder.md``; None writes nothing.
        config_file: settings in TOML.
        overwrite: whether results that are already in ``output_dir`` may be replaced.
        observers: functions that are called with each ``ptycho_core.contract.Event``.
        settings: any setting by name, such as ``backend="torch"``, ``probe="probe.npy"`` (``docs/reference/settings.md``).

    Returns:
        Object and probe; the object is 1 where no frame shows it.

    Raises:
        SettingsError: for an unknown or impossible setting, or one that contradicts the model.
        BackendUnusableError: if the backend cannot be used.
        CapabilityError: if the backend does not provide what was asked for.
        DataError: if scan, probe or model cannot be used, or do not belong together.
        OutputError: if ``output_dir`` cannot be used.
    """
    from ptycho_core.settings.payload import create_inference_payload

    payload = create_inference_payload(model, scan, output_dir, settings, config_file=config_file)
    return run_payload(payload, overwrite=overwrite, observers=observers)[0]


def run_payload(
    payload: InferencePayload, *, overwrite: bool = False, observers: Sequence[Observer] = ()
) -> tuple[Reconstruction, dict[str, Any]]:
    """Run a frozen payload; returns the reconstruction and its metrics (as in ``metrics.json``).

    Raises:
        DataError: if scan, probe or model cannot be used, or do not belong together.
        OutputError: if the output folder cannot be used.
        KeyboardInterrupt: it was asked to stop; half an object is no result.
    """
    from ptycho_core.events import EventHub, stop_on_interrupt
    from ptycho_core.files.folder import claimed_folder
    from ptycho_core.jobs.observers import installed_observers
    from ptycho_core.settings.files import check_files

    check_files(payload)
    hub = EventHub([*observers, *installed_observers()])
    with nullcontext() if payload.output_dir is None else claimed_folder(payload.output_dir, overwrite=overwrite) as claim:
        with stop_on_interrupt(hub, _FIRST):
            reconstruction, metrics = infer_payload(payload, hub)
        if claim is not None:
            _write(payload, claim, reconstruction, metrics, hub)
    names = ("misfit", "misfit_over_noise", "verdict", "frames")
    values: dict[str, Value] = {**{name: metrics[name] for name in names}, "interrupted": False}
    place = "" if payload.output_dir is None else str(payload.output_dir)
    hub.emit(Event("finished", message="all frames inferred", values=values, path=place))
    return reconstruction, metrics


def _write(
    payload: InferencePayload, claim: Claim, reconstruction: Reconstruction, metrics: dict[str, Any], hub: EventHub
) -> None:
    """Write the results; what was there before, logs too, stays until the new arrays are written."""
    from ptycho_core.imaging.report import HISTORY, RESULTS, SEAL, write_results
    from ptycho_core.jobs.old_logs import old_files
    from ptycho_core.notes import tell

    folder = payload.output_dir
    assert folder is not None
    arrays, *others = (folder / name for name in (*RESULTS, *HISTORY))
    old = old_files(folder, [folder / SEAL, *others], renamed=arrays)
    replace = partial(claim.replace, old)
    write_results(
        folder, reconstruction, settings=payload.audit, metrics=metrics, figures=payload.figures, ready=replace,
        tell=partial(tell, hub),
    )  # fmt: skip


def _made_probe(scan: Scan, payload: InferencePayload, hub: EventHub) -> Made | None:
    """The probe of a scan that holds none: as settings state it, and without a model, which has one, else by short fits.

    Raises:
        CapabilityError, DataError, KeyboardInterrupt, SettingsError: as the functions of ``ptycho_core.jobs.beam``.
    """
    from ptycho_core.jobs.beam import with_made_probe, with_stated_probe

    if scan.probe is not None:
        return None
    return with_made_probe(scan, payload, hub) if payload.model_path is None else with_stated_probe(scan, payload)


def infer_payload(
    payload: InferencePayload, hub: EventHub, *, announce: Literal["started", "message"] = "started"
) -> tuple[Reconstruction, dict[str, Any]]:
    """The inference itself, without folder: what `run_payload` wraps, and what a reconstruction starts with.

    Args:
        payload: what to do.
        hub: gets what is done.
        announce: kind of the first event; a job that infers on its way has begun already.

    Raises:
        DataError, KeyboardInterrupt: as `run_payload`.
    """
    from ptycho_core.jobs.doubts import say_doubts
    from ptycho_core.notes import NotedEvents
    from ptycho_core.scan.canvas import object_canvas

    began = time.perf_counter()
    it = _ready(payload, hub)
    scan, model, chosen = it.scan, it.model, it.chosen
    origin, shape = object_canvas(scan.positions, scan.size)
    how = f"model {payload.model_path}" if payload.model_path is not None else _steps_of(model)
    what = f"{len(scan)} patterns of {scan.source.name}, {how}, probe: {chosen.origin}"
    hub.emit(Event(announce, message=f"{what}, {payload.said}"))
    said = say_doubts(hub, it.doubts) if announce == "started" else []  # a job that has begun said them
    noted = NotedEvents(hub)
    job = infer_job(scan, model, chosen.probe, scan.positions - origin, payload.groups, it.background)
    found = stitched(payload.backend, payload.plan, job, shape, noted)
    for note in (*it.notes, *chosen.notes, *found.notes):
        noted.emit(Event("message", message=note))
    seconds = round(time.perf_counter() - began, 3)
    metrics = _metrics(payload, job, it.measured, chosen, found)
    metrics |= {"doubts": said, "notes": noted.notes, "model": _name_of(payload), "seconds": seconds}
    metrics |= {} if it.made is None else {"made_probe": it.made.record}
    metrics |= {} if payload.model_path is None else {"untrained": dict(model.untrained)}
    return _collect(payload, job, it.measured, chosen, found, origin), metrics


class _Ready(NamedTuple):
    """All that a pass takes.

    Attributes:
        scan: with the same dose in every frame.
        measured: the same as it was measured.
        model: the one given, or one that estimates without a network.
        chosen: the probe.
        background: (N, N), counts, or None.
        made: how the probe was made, if it was.
        doubts: about the scan.
        notes: what was chosen, a sentence each.
    """

    scan: Scan
    measured: Scan
    model: Model
    chosen: ChosenProbe
    background: NDArray[np.floating[Any]] | None
    made: Made | None
    doubts: Sequence[Doubt]
    notes: Sequence[str]


def _ready(payload: InferencePayload, hub: EventHub) -> _Ready:
    """Open the scan, and find what is not known of it."""
    from ptycho_core.formats.opening import open_scan
    from ptycho_core.inference.untrained import untrained_model
    from ptycho_core.jobs.doubts import doubts_with_probe, looked_over
    from ptycho_core.jobs.prepared import evened, prepared
    from ptycho_core.model import load_model
    from ptycho_core.scan.kept import kept

    looked = looked_over(kept(open_scan(payload.file, _reading(payload))))
    trained = None if payload.model_path is None else load_model(payload.model_path)
    scan, doubts, subtract = looked.scan, list(looked.doubts), trained is not None
    named, notes = payload.groups["data"]["probe"], list[str]()
    if scan.probe is None:
        named = None  # what only fits could find is taken from the model
    if (made := _made_probe(evened(scan, subtract=subtract), payload, hub)) is not None:
        scan = replace(scan, probe=made.scan.probe, probe_scaled=made.scan.probe_scaled)
        named, notes = made.record["made_from"], [made.note]
        doubts += made.doubts
    if trained is not None and payload.model_path is not None:
        _check_scan(scan, trained, payload.model_path, payload)
    beam = partial(_probe, payload, trained, None if named is None else str(named))
    if looked.scan.probe is None:
        doubts += doubts_with_probe(looked, beam(evened(scan, subtract=subtract)).probe)
    even, measured, chosen_notes, _ = prepared(
        payload, "inference", scan, doubts, lambda one: beam(one).probe, hub, subtract=subtract
    )
    chosen, background = beam(even), None
    if trained is None:
        chosen, background = _refined(payload, even, chosen, hub)
    model = trained or untrained_model(even, chosen, payload.groups["model"])
    return _Ready(even, measured, model, chosen, background, made, doubts, [*notes, *chosen_notes])


def _probe(payload: InferencePayload, model: Model | None, given: str | None, scan: Scan) -> ChosenProbe:
    """The probe of a scan of an even dose; ``given`` is the file that was asked for, for messages."""
    from ptycho_core.inference.probe import choose_probe, own_probe

    groups = payload.groups
    if model is None:
        return own_probe(scan, groups["model"], given=given)
    return choose_probe(scan, model, given=given, seed=int(groups["execution"]["seed"] or 0))


def _refined(
    payload: InferencePayload, scan: Scan, guess: ChosenProbe, hub: EventHub
) -> tuple[ChosenProbe, NDArray[np.floating[Any]] | None]:
    """Probe and background for the pass: fitted to a few tiles, where that is asked for; else as they are known."""
    from ptycho_core.inference.refinement import fit_job, fit_settings, with_probe_of
    from ptycho_core.notes import QuietEvents
    from ptycho_core.scan.selection import least_saturation
    from ptycho_core.settings.planning import plan_of_trial

    asked = payload.groups["inference"]
    settings = fit_settings(asked)
    if settings is None:
        return guess, scan.background
    settings |= {"saturation": least_saturation(scan)}
    groups, plan = plan_of_trial(payload.backend, payload.groups, payload.plan, settings)
    result = payload.backend.reconstruct(fit_job(scan, guess, groups), plan, QuietEvents(hub))
    if hub.stop_requested:
        raise KeyboardInterrupt
    return with_probe_of(guess, result) if asked["refine_probe"] else guess, result.background


def _steps_of(model: Model) -> str:
    asked = model.network["estimate"]
    return f"no model: {asked['steps']} steps on tiles of neighbors, likelihood {asked['likelihood']}"


def _name_of(payload: InferencePayload) -> str | None:
    return None if payload.model_path is None else str(payload.model_path)


def infer_job(
    scan: Scan,
    model: Model,
    probe: NDArray[np.complex64],
    positions: NDArray[np.float64],
    settings: Mapping[str, Mapping[str, Value]],
    background: NDArray[np.floating[Any]] | None = None,
) -> InferJob:
    """The job of an inference, with the groups of all frames.

    Args:
        scan: the opened scan.
        model: the network.
        probe: (mode, N, N), in counts of the scan.
        positions: (frame, 2), float64, on the scan's canvas.
        settings: the groups *data*, *model* and *execution* by name.
        background: (N, N), counts, or None.

    Raises:
        DataError: the scan has too few frames for a group.
    """
    from ptycho_core.training.groups import inference_groups

    among = model.facts["neighbor_count"]
    number = None if among is None else int(among)
    groups = inference_groups(positions, model.gridsize, neighbor_count=number, source=str(scan.source))
    return InferJob(scan, model, probe, positions, groups, settings, background)


def _reading(payload: InferencePayload) -> Mapping[str, Value]:
    """The *data* settings; the window of a model is whole, so that nothing is added to it without being asked."""
    data = payload.groups["data"]
    return data if payload.model_path is None or data["margin"] is not None else {**data, "margin": 0}


def _check_scan(scan: Scan, model: Model, path: Path, payload: InferencePayload) -> None:
    """Refuse a scan that the network cannot take, or only if its patterns were cropped or padded, and that was not asked for."""
    if scan.size != model.size:
        raise DataError(
            f"{scan.source} is used with {scan.size} x {scan.size} pixels; {path} was trained with {model.size} x {model.size}.",
            remedy="Leave --margin out.",
        )
    stored = scan.size if scan.margin else scan.stored_size or scan.size
    if stored != model.size and "size" not in payload.resolved.requested:
        trained = f"{model.size} x {model.size}"
        raise DataError(
            f"{scan.source} has patterns of {stored} x {stored} pixels; {path} was trained with {trained}.",
            remedy=f"Train a model with scans of this size, or crop or pad the patterns with --size {model.size}.",
        )
    members = model.gridsize**2
    needed = int(model.facts.get("neighbor_count") or members)
    if len(scan) < needed:
        among = f" out of {needed} neighbours" if needed > members else ""
        raise DataError(
            f"{scan.source} has {len(scan)} frames; {path} takes groups of {members}{among} (gridsize {model.gridsize})."
        )


def stitched(backend: Backend, plan: ExecutionPlan, job: InferJob, shape: tuple[int, int], hub: EventSink) -> StitchedObject:
    """The object of all patches or tiles, which are stitched as they come.

    Args:
        backend: that infers.
        plan: its plan.
        job: what to infer.
        shape: (rows, columns) of the object.
        hub: hears how far it is.

    Raises:
        DataError: as the hook, or a patch is not finite.
        KeyboardInterrupt: it was asked to stop.
    """
    import numpy as np

    from ptycho_core.contract import InferTile
    from ptycho_core.imaging.stitching import Stitcher
    from ptycho_core.inference.order import inference_order
    from ptycho_core.inference.tiles import scan_tiles
    from ptycho_core.networks import estimates_tiles

    weight = (np.abs(job.probe) ** 2).sum(axis=0)
    split = scan_tiles if estimates_tiles(job.model.network) else inference_order
    stitcher = Stitcher(job.positions, shape, weight, split(job.positions, job.scan.size))
    done, began = 0, time.perf_counter()
    for batch in backend.infer(job, plan, hub):
        if isinstance(batch, InferTile):
            stitcher.add_tile(batch.frames, batch.object, batch.corner)
        else:
            stitcher.add(batch.frames, batch.patches)
        done += len(batch.frames)
        rate = done / max(time.perf_counter() - began, 1e-9)
        values: dict[str, Value] = {"frames": done, "frames_in_all": len(job.positions), "patterns_per_second": rate}
        hub.emit(Event("step", stage="inference", values=values))
        if hub.stop_requested:
            raise KeyboardInterrupt
    if hub.stop_requested:
        raise KeyboardInterrupt
    return stitcher.finish()


def _metrics(
    payload: InferencePayload, job: InferJob, measured: Scan, chosen: ChosenProbe, stitched: StitchedObject
) -> dict[str, Any]:
    """How well object and probe explain the patterns as they were ``measured``, computed by the core from the result alone."""
    import numpy as np

    from ptycho_core.imaging.metrics import flat_misfit, frame_sums, noise_sums
    from ptycho_core.imaging.verdict import ESTIMATED, INFERRED, Signs, judge
    from ptycho_core.scan.selection import least_saturation

    scan = measured
    judged = np.unique(np.linspace(0, len(scan) - 1, _JUDGED).astype(np.int64))
    counts, positions = scan.patterns.read(judged), job.positions[judged]
    background = scan.background if job.background is None else job.background
    flux = None if scan.flux is None else scan.flux[judged]
    model = stitched.object, job.probe, positions, background, flux, least_saturation(scan)
    sums = frame_sums(counts, scan.mask, *model, way=scan.propagation).sum(axis=0)
    noise = float(noise_sums(scan.mask, *model, way=scan.propagation).sum())
    misfit, over_noise = (float(sums[0] / whole) if whole > 0 else float("nan") for whole in (sums[1], noise))
    flat = flat_misfit(counts, scan.mask, stitched.object.shape, job.probe, positions, scan.propagation)
    signs = Signs(
        misfit, over_noise, flat=flat if over_noise > 0 and flat > 2 * misfit / over_noise else None,
        counts=float(counts[:, scan.mask].mean()),
        doubts=[("doubtful", note) for note in (*chosen.notes, *stitched.notes)],
    )  # fmt: skip
    return {
        "misfit": misfit,
        "misfit_over_noise": over_noise,
        "misfit_frames": len(judged),
        "frames": len(scan),
        "probe": chosen.origin,
        **judge(signs, ESTIMATED if payload.model_path is None else INFERRED).as_dict(),
    }


def _collect(
    payload: InferencePayload,
    job: InferJob,
    measured: Scan,
    chosen: ChosenProbe,
    stitched: StitchedObject,
    origin: NDArray[np.float64],
) -> Reconstruction:
    from ptycho_core.formats.product import Reconstruction, title_and_scale
    from ptycho_core.scan.scan import regime_facts
    from ptycho_core.scan.selection import least_saturation

    scan = job.scan
    return Reconstruction(
        object=stitched.object,
        probe=job.probe,
        positions=job.positions,
        origin=origin,
        background=job.background,
        flux=measured.flux,
        mask=scan.mask,
        settings=payload.audit,
        facts={
            "model": _name_of(payload),
            "probe": chosen.origin,
            "counts_factor": scan.counts_factor,
            "stored_size": scan.stored_size,
            **regime_facts(scan),
            "saturation": least_saturation(measured) or None,
            "notes": [*chosen.notes, *stitched.notes],
        },
        **title_and_scale(scan),
    )
