"""The verb ``train``: from scan files through a backend to a model and the folder of its run."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.contract import Event, EventSink, Observer, TrainJob, TrainResult, Value
from ptycho_core.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ptycho_core.events import EventHub
    from ptycho_core.files.folder import Claim
    from ptycho_core.files.old import OldFiles
    from ptycho_core.jobs.beam import Made
    from ptycho_core.jobs.doubts import LookedOver
    from ptycho_core.jobs.prepared import Prepared
    from ptycho_core.model import Model
    from ptycho_core.scan.scan import Scan
    from ptycho_core.settings.payload import TrainingPayload
    from ptycho_core.training.data import TrainingData

__all__ = ["run_payload", "train", "training_job"]

_FIRST = "stopping after this epoch, which is then saved"


def train(
    scans: str | Path | Sequence[str | Path],
    output_dir: str | Path,
    *,
    validation: Sequence[str | Path] = (),
    resume: bool = False,
    start_model: str | Path | None = None,
    config_file: str | Path | None = None,
    overwrite: bool = False,
    observers: Sequence[Observer] = (),
    **settings: Value,
) -> Model:
    """Fit a network to scans.

    Args:
        scans: path of a scan file, or several.
        output_dir: folder of the run: checkpoints, settings, log; see ``specs/training.md``.
        validation: paths of validation scans.
        resume: continue from ``last.ptycho`` in ``output_dir``, with the same scans and settings; ``epochs`` and how the job is
            run may differ.
        start_model: a model file, or the folder of a run, whose network and weights the training begins with.
        config_file: settings in TOML.
        overwrite: whether the run that is already in ``output_dir`` may be replaced.
        observers: functions that are called with each ``ptycho_core.contract.Event``.
        settings: any setting by name, such as ``backend="torch"``, ``gridsize=2``, ``epochs=100``
            (``docs/reference/settings.md``).

    Returns:
        The best model; if the training was interrupted, the best so far.

    Raises:
        SettingsError: for an unknown or impossible setting, or one that differs from the checkpoint's or the model's network.
        BackendUnusableError: if the backend cannot be used.
        CapabilityError: if the backend does not provide what was asked for.
        DataError: if a scan, its probe, the checkpoint or the model cannot be used, or the loss is not a number.
        OutputError: if ``output_dir`` cannot be used.
        UsageError: if it is both to continue and to begin with a model.
    """
    from ptycho_core.settings.payload import create_training_payload
    from ptycho_core.training.checkpoints import LAST

    payload = create_training_payload(
        [scans] if isinstance(scans, str | Path) else scans,
        output_dir,
        settings,
        validation=validation,
        resume=Path(output_dir) / LAST if resume else None,
        start_model=start_model,
        config_file=config_file,
    )
    return run_payload(payload, overwrite=overwrite, observers=observers)[0]


def run_payload(
    payload: TrainingPayload, *, overwrite: bool = False, observers: Sequence[Observer] = ()
) -> tuple[Model, dict[str, Any]]:
    """Run a frozen payload; returns the best model and the metrics (as in ``metrics.json``).

    Raises:
        DataError: if a scan, its probe or the checkpoint cannot be used, or the loss is not a number.
        OutputError: if the output folder cannot be used.
        UsageError: a run is both to be continued and to be replaced.
    """
    from ptycho_core.events import EventHub, stop_on_interrupt
    from ptycho_core.files.folder import claimed_folder
    from ptycho_core.jobs.logging import logging_to
    from ptycho_core.jobs.observers import installed_observers
    from ptycho_core.model import load_model
    from ptycho_core.settings.files import check_files

    if payload.resume is not None and overwrite:
        raise UsageError("--resume continues a run and --overwrite replaces it.", remedy="Give --resume or --overwrite.")
    check_files(payload)
    hub = EventHub([*observers, *installed_observers()])
    began = time.perf_counter()
    folder = payload.output_dir
    with (
        claimed_folder(folder, overwrite=overwrite or payload.resume is not None) as claim,
        stop_on_interrupt(hub, _FIRST),
    ):
        job, doubts, notes = training_job(payload, hub)
        resumed = payload.resume is not None
        old = _old_files(folder, resume=resumed)
        hub.add(_Replacing(claim, old))  # before the logger, which then begins anew
        with logging_to(hub, payload, folder, job.model.history, old=None if resumed else old):
            result = _fit(payload, job, hub, old)
            claim.replace(old)
        if not result.model_path.exists():  # the backend took the best model of the run before for its own
            result = replace(result, model_path=result.last_path)
        model = load_model(result.model_path, training=None)
        if not result.interrupted:
            model = _next_to_untrained(payload, job, model, result.model_path, hub)
        audit = job.model.settings
        metrics = _metrics(payload, result, len(model.history), audit["scans"])
        metrics |= {"doubts": doubts, "notes": [*notes, *metrics["notes"]], "untrained": dict(model.untrained)}
        metrics["seconds"] = round(time.perf_counter() - began, 3)
        _write_records(payload, audit, metrics, result.history, hub)
    hub.emit(Event("finished", message=result.stopped_by, values=_figures(metrics), path=str(folder)))
    return model, metrics


def _next_to_untrained(payload: TrainingPayload, job: TrainJob, model: Model, path: Path, hub: EventHub) -> Model:
    """The model with what it is worth next to the untrained pass, which its file keeps."""
    from ptycho_core.files.rescue import write_or_rescue
    from ptycho_core.model import save_model
    from ptycho_core.modelfile.trained import told_next_to_untrained
    from ptycho_core.training.rival import measured

    found = measured(payload, job.data, model, hub)
    if not found:
        return model
    judged = replace(model, untrained=found)
    write_or_rescue(path.parent, [(path.name, lambda place: save_model(place, judged))])
    if not found["better"]:
        hub.emit(Event("message", message=told_next_to_untrained(found)))
    return judged


def training_job(payload: TrainingPayload, hub: EventSink) -> tuple[TrainJob, list[str], list[str]]:
    """Open the scans and make the model to begin with, which keeps the audit; and say what is implausible about the scans.

    A scan without a probe gets one, unless the training continues from a checkpoint, which holds its probes.

    Args:
        payload: what to do.
        hub: receives the events.

    Returns:
        The job, the doubts about its scans, and how probes were made for them, a sentence each.

    Raises:
        DataError: a scan or its probe cannot be used, or the checkpoint was trained with other scans.
        SettingsError: the network that is asked for cannot be built.
    """
    from ptycho_core.formats.opening import open_scan
    from ptycho_core.jobs.doubts import looked_over, of_scans, say_doubts
    from ptycho_core.model import load_model
    from ptycho_core.scan.kept import kept
    from ptycho_core.settings.components import losses_of, network_of
    from ptycho_core.settings.data import RECONSTRUCT
    from ptycho_core.training.data import check_sizes, training_data
    from ptycho_core.training.labels import with_labels
    from ptycho_core.training.prepare import continued_model, initial_model, scan_records

    groups = payload.groups
    opened = [looked_over(kept(open_scan(path, groups["data"]))) for path in (*payload.scans, *payload.validation)]
    check_sizes([scan for scan, *_ in opened])  # before anything is computed for them
    architecture = None if payload.resume is not None else network_of(groups, opened[0][0].size)
    opened, notes = (opened, []) if payload.resume is not None else _with_probes(opened, payload, hub)
    ready = _prepared(opened, payload, hub)
    notes += _notes_of_several(opened, ready)
    scans, number = [one.scan for one in ready], len(payload.scans)
    data = training_data(scans[:number], groups, scans[number:])
    audit = {**payload.audit, "scans": [a | b.record for a, b in zip(scan_records(data), ready, strict=True)]}
    if payload.resume is None:
        start = None if payload.start_model is None else load_model(payload.start_model)
        audit |= {} if start is None else {"start_model": str(payload.start_model)}
        model = initial_model(data, groups, audit, _producer(payload), architecture, start)
    else:
        model = continued_model(payload.resume, audit, _producer(payload))
    hub.emit(_started(payload, data, len(model.history)))
    doubts = say_doubts(hub, of_scans(opened))
    for note in (*notes, *_repeated(audit["scans"])):
        hub.emit(Event("message", message=note))
    if groups["training"]["labels"] == RECONSTRUCT:
        data = with_labels(data, model.physics["probe"], payload, hub)
    return TrainJob(data, model, payload.output_dir, groups, losses_of(groups)), doubts, notes


def _prepared(opened: list[LookedOver], payload: TrainingPayload, hub: EventSink) -> list[Prepared]:
    """The scans as they are learned from: as they were before, where a training continues."""
    from ptycho_core.jobs.prepared import as_recorded, prepared
    from ptycho_core.model import read_model_manifest
    from ptycho_core.modelfile.trained import trained_scans
    from ptycho_core.training.probe import probe_in_counts

    def probe(scan: Scan) -> NDArray[Any]:
        return probe_in_counts(scan, payload.groups["model"])[0]

    if payload.resume is None:
        return [prepared(payload, "training", scan, doubts, probe, hub, subtract=True) for scan, doubts, _ in opened]
    where = str(payload.resume)
    records = trained_scans(read_model_manifest(payload.resume)["settings"], where, all_of_them=True)
    known = dict(enumerate(records))  # other scans are refused soon
    return [as_recorded(looked.scan, known.get(number, {}), where) for number, looked in enumerate(opened)]


def _notes_of_several(opened: list[LookedOver], ready: list[Prepared]) -> list[str]:
    """What was chosen for scans; each note names the file of its scan where there are several."""
    several = len({scan.source for scan, *_ in opened}) > 1
    pairs = zip(opened, ready, strict=True)
    every = [f"{scan.source.name}: {note}" if several else note for (scan, *_), one in pairs for note in one.notes]
    return list(dict.fromkeys(every))


def _with_probes(opened: list[LookedOver], payload: TrainingPayload, hub: EventSink) -> tuple[list[LookedOver], list[str]]:
    """The scans, those without a probe with one that is made; and how, a sentence each, which names the file."""
    from ptycho_core.jobs.beam import with_made_probe
    from ptycho_core.jobs.doubts import doubts_with_probe
    from ptycho_core.jobs.prepared import evened

    found: list[LookedOver] = []
    notes: list[str] = []
    known: dict[Path, Made] = {}
    for looked in opened:
        source = looked.scan.source
        if looked.scan.probe is None:
            made = known[source] = known.get(source) or with_made_probe(evened(looked.scan, subtract=True), payload, hub)
            notes.append(f"{source.name}: {made.note}")
            assert made.scan.probe is not None
            doubts = (*looked.doubts, *made.doubts, *doubts_with_probe(looked, made.scan.probe))
            with_probe = replace(looked.scan, probe=made.scan.probe, probe_scaled=made.scan.probe_scaled)
            looked = looked._replace(scan=with_probe, doubts=doubts)
        found.append(looked)
    return found, list(dict.fromkeys(notes))


def _fit(payload: TrainingPayload, job: TrainJob, hub: EventHub, old: OldFiles) -> TrainResult:
    try:
        return payload.backend.train(job, payload.plan, hub)
    except BaseException as error:
        left = _left(payload, old, usable=not isinstance(error, DataError))
        if left:
            hub.emit(Event("message", message=left))
        raise


def _left(payload: TrainingPayload, old: OldFiles, *, usable: bool) -> str:
    """What a failed training leaves, in a sentence; empty where there is nothing. After bad data continuing is of no use."""
    from ptycho_core.training.checkpoints import LAST, keeps_checkpoints

    last = payload.output_dir / LAST
    if not last.exists():
        return ""
    resumed = payload.resume is not None
    if not (resumed or old.gone):
        return f"The run that was to be replaced is still in {payload.output_dir}."
    if usable and not (resumed or keeps_checkpoints(payload.groups["execution"])):
        return ""
    return f"The last checkpoint is {last}" + ("; train --resume continues from it." if usable else ".")


class _Replacing:
    """An observer: what is replaced goes once the first model of this run is on the disk."""

    def __init__(self, claim: Claim, old: OldFiles) -> None:
        self._claim, self._old = claim, old

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if event.kind in ("epoch", "checkpoint"):
            self._claim.replace(self._old)


def _old_files(folder: Path, *, resume: bool) -> OldFiles:
    """What ceases to be true with the first model of this run: of a run that continues, only seal and figure."""
    from ptycho_core.files.old import OldFiles
    from ptycho_core.imaging.report import LOSSES, RECORDS, SEAL
    from ptycho_core.jobs.old_logs import old_files
    from ptycho_core.training.checkpoints import BEST, CHECKPOINTS, LAST, epoch_files

    if resume:
        return OldFiles([folder / SEAL, folder / LOSSES])
    models = (folder / BEST, folder / LAST, *epoch_files(folder).values())
    return old_files(folder, [folder / SEAL, *models, *(folder / name for name in RECORDS)], [folder / CHECKPOINTS])


def _write_records(
    payload: TrainingPayload,
    audit: Mapping[str, Any],
    metrics: dict[str, Any],
    history: Sequence[Mapping[str, Value]],
    hub: EventHub,
) -> None:
    """Settings, figure and, last, the metrics, with which the folder is complete."""
    from ptycho_core.files.rescue import write_or_rescue
    from ptycho_core.imaging.report import SEAL, draw_all, write_json
    from ptycho_core.notes import tell

    folder = payload.output_dir

    def finish(path: Path) -> None:
        if path.parent == folder:
            metrics["notes"] += draw_all(folder, _drawings(history) if payload.figures else {}, partial(tell, hub))
        write_json(path, metrics)

    write_or_rescue(folder, [("settings.json", lambda path: write_json(path, audit)), (SEAL, finish)])


def _drawings(history: Sequence[Mapping[str, Value]]) -> dict[str, Callable[[], Figure]]:
    """What draws the figure of a training, by name of the file."""
    from ptycho_core.imaging.figures import figure_of_losses
    from ptycho_core.imaging.report import LOSSES

    return {LOSSES: lambda: figure_of_losses(history)}


def _started(payload: TrainingPayload, data: TrainingData, epochs: int) -> Event:
    train, judge = sum(len(one.train) for one in data.scans), sum(len(one.validation) for one in data.scans)
    scans = f"{len(payload.scans)} scan{'s' * (len(payload.scans) > 1)}"
    judging = f", {judge} for validation" if judge else ""
    resumed = f", going on after epoch {epochs}" if payload.resume is not None else ""
    planned = int(payload.groups["training"]["epochs"] or 0)
    return Event("started", total=planned, message=f"{train} patterns of {scans}{judging}{resumed}, {payload.said}")


def _producer(payload: TrainingPayload) -> dict[str, str]:
    from ptycho_core import __version__

    backend = payload.audit["backend"]
    return {
        "ptycho-core": __version__,
        "backend": f"{backend['name']} ({backend['distribution']})",
        "framework_version": str(backend["framework_version"]),
    }


def _metrics(payload: TrainingPayload, result: TrainResult, taken: int, scans: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The last row of the history, that of the best model where one is kept, and how the training ended.

    Args:
        payload: what was asked for.
        result: of the backend.
        taken: number of the epoch that the model to take is from.
        scans: records of the scans.
    """
    from ptycho_core.training.checkpoints import BEST, keeps_checkpoints

    found: dict[str, Any] = {"epochs": len(result.history), "notes": [*_repeated(scans), *_notes(result.history)]}
    if taken and result.model_path.name == BEST:
        found["best"] = dict(result.history[taken - 1])
    if result.history:
        found["last"] = dict(result.history[-1])
    kept = keeps_checkpoints(payload.groups["execution"])
    files = {"model": result.model_path.name, "checkpoint": result.last_path.name if kept else None}
    return found | files | {"stopped_by": result.stopped_by, "interrupted": result.interrupted, "facts": dict(result.facts)}


def _figures(metrics: Mapping[str, Any]) -> dict[str, Value]:
    """The main figures of the model to take, for those who listen."""
    names = ("epoch", "loss", "misfit", "validation_loss", "validation_misfit")
    row = metrics.get("best", metrics.get("last", {}))
    facts = {"epochs": metrics["epochs"], "interrupted": metrics["interrupted"], "model": metrics["model"]}
    return facts | {name: row[name] for name in names if name in row}


def _repeated(scans: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which scans have the same patterns and positions as one before them, and what that means."""
    notes: list[str] = []
    seen: dict[str, Mapping[str, Any]] = {}
    for scan in scans:
        first = seen.setdefault(scan["digest"], scan)
        if first is scan:
            continue
        same = scan["path"] if scan["path"] == first["path"] else f"{scan['path']} (the same as {first['path']})"
        judges = scan["part"] != first["part"]
        notes.append(
            f"{same} is learned from, so it cannot tell how well the network does with what it has not met."
            if judges
            else f"{same} is given twice and counts twice."
        )
    return notes


def _notes(history: Sequence[Mapping[str, Value]]) -> list[str]:
    """What a user must know of the model besides its losses: that it collapsed, as it was reported when that was seen."""
    from ptycho_core.training.stopping import collapse

    warnings = filter(None, (collapse(history[:epochs]) for epochs in range(1, len(history) + 1)))
    return list(itertools.islice(warnings, 1))
