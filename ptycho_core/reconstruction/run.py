"""The verb ``reconstruct``: from a scan file through a backend to a result and, if asked, its folder."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.contract import Event, Observer, ReconstructJob, ReconstructResult, ScanSource, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ptycho_core.events import EventHub
    from ptycho_core.files.folder import Claim
    from ptycho_core.formats.product import Reconstruction, StoredObject
    from ptycho_core.reconstruction.start import Start
    from ptycho_core.scan.scan import Scan
    from ptycho_core.settings.first import FirstInference
    from ptycho_core.settings.payload import ReconstructionPayload

__all__ = ["reconstruct", "run_payload"]

_FIRST = "stopping after this epoch or iteration, and writing what there is"


def reconstruct(
    scan: str | Path,
    output_dir: str | Path | None = None,
    *,
    config_file: str | Path | None = None,
    overwrite: bool = False,
    observers: Sequence[Observer] = (),
    **settings: Value,
) -> Reconstruction:
    """Reconstruct object and probe of a scan.

    Args:
        scan: path of the scan file.
        output_dir: folder for the results, see ``specs/result-folder.md``; None writes nothing.
        config_file: settings in TOML.
        overwrite: whether results that are already in ``output_dir`` may be replaced.
        observers: functions that are called with each ``ptycho_core.contract.Event``.
        settings: any setting by name, such as ``backend="torch"``, ``modes=2``, ``refine_positions=True``
            (``docs/reference/settings.md``).

    Returns:
        The reconstruction; if it was interrupted, the best so far.

    Raises:
        SettingsError: for an unknown or impossible setting.
        BackendUnusableError: if the backend cannot be used.
        CapabilityError: if the backend does not provide what was asked for.
        DataError: if scan, probe or start cannot be used.
        OutputError: if ``output_dir`` cannot be.
    """
    from ptycho_core.settings.payload import create_reconstruction_payload

    payload = create_reconstruction_payload(scan, output_dir, settings, config_file=config_file)
    return run_payload(payload, overwrite=overwrite, observers=observers)[0]


def run_payload(
    payload: ReconstructionPayload, *, overwrite: bool = False, observers: Sequence[Observer] = ()
) -> tuple[Reconstruction, dict[str, Any]]:
    """Run a frozen payload; returns the reconstruction and its metrics (as in ``metrics.json``).

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
            reconstruction, metrics = _run(payload, hub)
    else:
        with claimed_folder(folder, overwrite=overwrite) as claim, stop_on_interrupt(hub, _FIRST):
            reconstruction, metrics = _run_into(payload, folder, claim, hub)
    names = ("misfit", "held_out_misfit", "interrupted")
    values = {name: metrics[name] for name in names if name in metrics}
    hub.emit(Event("finished", message=metrics["stopped_by"], values=values, path="" if folder is None else str(folder)))
    return reconstruction, metrics


def _run_into(payload: ReconstructionPayload, folder: Path, claim: Claim, hub: EventHub) -> tuple[Reconstruction, dict[str, Any]]:
    """Run, and write the results and the log; what was there before stays until the new arrays are written."""
    from ptycho_core.imaging.report import HISTORY, RESULTS, SEAL, write_results
    from ptycho_core.jobs.logging import logging_to
    from ptycho_core.jobs.old_logs import old_files
    from ptycho_core.notes import tell

    arrays, *others = (folder / name for name in (*RESULTS, *HISTORY))
    old = old_files(folder, [folder / SEAL, *others], renamed=arrays)
    with logging_to(hub, payload, folder, old=old):
        reconstruction, metrics = _run(payload, hub)
        replace = partial(claim.replace, old)
        write_results(
            folder, reconstruction, settings=payload.audit, metrics=metrics, figures=payload.figures, ready=replace,
            tell=partial(tell, hub),
        )  # fmt: skip
    return reconstruction, metrics


def _run(payload: ReconstructionPayload, hub: EventHub) -> tuple[Reconstruction, dict[str, Any]]:
    from ptycho_core.files.scratch import scratch_folder, using_scratch
    from ptycho_core.notes import NotedEvents
    from ptycho_core.scan.opening import open_scan

    began = time.perf_counter()
    scan = open_scan(payload.scan, payload.groups["data"])
    hub.emit(Event("started", message=f"{len(scan)} patterns of {scan.source.name}, {payload.said}"))
    inferred, notes = (None, []) if payload.first is None else _inferred(payload.first, hub)
    start, noted = _start(scan, payload, inferred), NotedEvents(hub)
    for note in start.notes:
        noted.emit(Event("message", message=note))
    with scratch_folder() as scratch:
        start_path = scratch / "start.npz"
        with using_scratch():
            start.save(start_path)
        job = ReconstructJob(ScanSource(payload.scan, payload.groups["data"]), start_path, payload.groups)
        found = payload.backend.reconstruct(job, payload.plan, noted)
        result = _with_power(found, start.probe)
    metrics = _metrics(scan, result) | {"notes": notes + noted.notes, "seconds": round(time.perf_counter() - began, 3)}
    return _collect(payload, scan, start, result), metrics


def _start(scan: Scan, payload: ReconstructionPayload, inferred: StoredObject | None) -> Start:
    from ptycho_core.reconstruction.start import prepare_start

    groups = payload.groups
    asked = groups["reconstruction"]
    return prepare_start(
        scan,
        modes=int(asked["modes"] or 1),
        seed=int(groups["execution"]["seed"] or 0),
        start=None if asked["start"] is None else Path(str(asked["start"])),
        probe=None if groups["data"]["probe"] is None else Path(str(groups["data"]["probe"])),
        refine_positions=bool(asked["refine_positions"]),
        inferred=inferred,
    )


def _inferred(first: FirstInference, hub: EventHub) -> tuple[StoredObject, list[str]]:
    """The object, and the probe it goes with, that a model gives for the scan; and the notes of the inference."""
    from ptycho_core.backends.worker import Worker
    from ptycho_core.formats.product import StoredObject
    from ptycho_core.inference.run import infer_payload

    if first.said:
        hub.emit(Event("message", message=first.said))
    if first.payload is not None:
        found, metrics = infer_payload(first.payload, hub, announce="message")
        return StoredObject(found.object, found.probe, found.positions, found.origin), metrics["notes"]
    with Worker(str(first.settings["backend"])) as worker:
        arguments = str(first.model), str(first.scan), dict(first.settings)
        given = worker.call("ptycho_core.inference.apart:infer", *arguments, observer=hub.emit)
    notes = given.pop("notes")
    return StoredObject(**given), notes


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


def _metrics(scan: Scan, result: ReconstructResult) -> dict[str, Any]:
    """Misfit over the frames that were used and over those held out, computed by the core from the result alone."""
    import numpy as np

    from ptycho_core.imaging.metrics import data_misfit

    def misfit(frames: Any) -> float:  # noqa: ANN401 - frame numbers
        return data_misfit(scan, result.object, result.probe, result.positions, background=result.background, frames=frames)

    used = np.setdiff1d(np.arange(len(scan.patterns)), result.held_out)
    found: dict[str, Any] = {"misfit": misfit(used), "frames": len(used)}
    if len(result.held_out):
        found |= {"held_out_misfit": misfit(result.held_out), "held_out_frames": len(result.held_out)}
    return found | {"stopped_by": result.stopped_by, "interrupted": result.interrupted}


def _collect(payload: ReconstructionPayload, scan: Scan, start: Start, result: ReconstructResult) -> Reconstruction:
    from ptycho_core.formats.product import Reconstruction, title_and_scale

    return Reconstruction(
        object=result.object,
        probe=result.probe,
        positions=result.positions,
        origin=start.origin,
        background=result.background,
        mask=scan.mask,
        history=[dict(row) for row in result.history],
        held_out=result.held_out,
        settings=payload.audit,
        facts=dict(result.facts)
        | {
            "probe_factor": start.probe_factor,
            "counts_factor": scan.counts_factor,
            "stored_size": scan.stored_size,
            "stopped_by": result.stopped_by,
            "interrupted": result.interrupted,
        },
        **title_and_scale(scan),
    )
