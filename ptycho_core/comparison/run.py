"""The same job through several backends: one worker process each, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ptycho_core.comparison.entry import FAILED, INTERRUPTED, NOT_RUN, OK, Comparison, Entry
from ptycho_core.contract import Event
from ptycho_core.errors import BackendError, CapabilityError, OutputError, PtychoError
from ptycho_core.files.whole import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from ptycho_core.backends.worker import Worker
    from ptycho_core.comparison.request import Candidate, Request
    from ptycho_core.comparison.scoring import Scoring
    from ptycho_core.contract import Observer
    from ptycho_core.files.old import OldFiles

__all__ = ["ERRORS", "compare_backends"]

ERRORS: Final = "error.txt"
"""What a backend that failed leaves in its folder."""

_RESULT = ("reconstruction.h5", "metrics.json", "settings.json", "log.csv", "object.png", "probe.png", "losses.png", ERRORS)
_Emit: TypeAlias = Callable[[Event], None]


def compare_backends(request: Request, observers: Sequence[Observer] = ()) -> Comparison:
    """Run a job with each backend and compare what comes out.

    Each leaves its result in a folder of its name; ``comparison.json`` and ``comparison.png`` are written too. A backend that
    crashes, hangs, cannot be used or refuses is an entry with the reason, and the others continue. Ctrl-C ends the job that runs,
    and what is done by then is compared.

    Args:
        request: what to do.
        observers: get the events of all jobs, each named after its backend.

    Raises:
        UsageError, UnknownBackendError, SettingsError, DataError: the request cannot be met by any backend.
        OutputError: the folder cannot be used.
    """
    from ptycho_core.comparison.report import FIGURE, TABLE, write_comparison
    from ptycho_core.comparison.scoring import find_reference
    from ptycho_core.events import EventHub
    from ptycho_core.files.folder import claimed_folder
    from ptycho_core.files.old import OldFiles
    from ptycho_core.formats.opening import scan_path

    candidates = request.check()
    scoring = find_reference(scan_path(request.scan), request.reference)
    hub = EventHub(observers)
    _check_files(request, candidates)
    with claimed_folder(request.folder, overwrite=request.overwrite):
        table = OldFiles([request.folder / name for name in (TABLE, FIGURE)])
        results = {one.name: OldFiles([request.folder / one.name / name for name in _RESULT]) for one in candidates}
        entries = _run_all(request, candidates, scoring, hub.emit, table)
        names = {name: getattr(value, "value", value) for name, value in request.overrides.items()}
        job = {"job": request.verb, "scan": request.scan, "model": request.model, "settings": names, "timeout": request.timeout}
        found = Comparison(tuple(entries), scoring.label, scoring.first, job, request.folder)

        def ready() -> None:
            """Take away what would pass for a result of this comparison."""
            for old in (table, *(results[one.name] for one in entries if one.state != NOT_RUN)):
                old.remove()

        notes = write_comparison(found, scoring, ready, figures=request.figures)
    return replace(found, notes=tuple(notes))


def _check_files(request: Request, candidates: Sequence[Candidate]) -> None:
    """Refuse a comparison that would write over what it reads: each backend reads it anew, after others have written.

    Raises:
        OutputError: the message names both files.
    """
    from ptycho_core.comparison.report import FIGURE, TABLE
    from ptycho_core.comparison.request import VERBS
    from ptycho_core.files.place import check_apart
    from ptycho_core.formats.opening import scan_path
    from ptycho_core.settings.data import FILES, file_of

    values = {name: one.value for verb in VERBS[request.verb] for name, one in request.resolved(verb).values.items()}
    named = [file_of(name, values.get(name)) for name in (*FILES, "start", "labels")]
    writes = [request.folder / name for name in (TABLE, FIGURE)]
    writes += [request.folder / one.name / name for one in candidates for name in _RESULT]
    check_apart(writes, [scan_path(request.scan), request.model, request.reference, request.config, *named])


def _run_all(request: Request, candidates: Sequence[Candidate], scoring: Scoring, emit: _Emit, table: OldFiles) -> list[Entry]:
    """An entry for each backend; the old table goes with the first new result, of which it knows nothing."""
    entries: list[Entry] = []
    try:
        for number, one in enumerate(candidates, 1):
            emit(Event("message", message=f"{one.name}: {number} of {len(candidates)}"))
            entries.append(_judged(_run(request, one, emit), scoring))
            if entries[-1].state == OK:
                table.remove()
            if entries[-1].state == FAILED:
                emit(Event("message", message=f"{one.name}: failed: {entries[-1].reason}"))
    except KeyboardInterrupt:
        left = candidates[len(entries) :]
        entries += [Entry(one.name, INTERRUPTED, "it was interrupted", request.folder / one.name) for one in left[:1]]
        entries += [Entry(one.name, NOT_RUN, "the comparison was interrupted") for one in left[1:]]
    return entries


def _run(request: Request, one: Candidate, emit: _Emit) -> Entry:
    """One job in a separate worker."""
    from ptycho_core.backends.worker import Worker
    from ptycho_core.comparison.request import VERBS

    if one.reason:
        return Entry(one.name, FAILED, one.reason)
    place = request.folder / one.name
    threads = request.resolved(VERBS[request.verb][0]).values["threads"].value
    with Worker(one.name, threads=None if threads is None else int(threads)) as worker:
        watch = _FirstStep(worker, one.name, emit)
        began = time.monotonic()
        try:
            facts = _call(worker, request, one.name, place, watch)
        except PtychoError as error:
            reason, first, wall = _keep(place, error), watch.seconds, time.monotonic() - began
            return Entry(one.name, FAILED, reason, place, wall_seconds=wall, first_step_seconds=first)
        usage = worker.usage
        assert usage is not None
        return Entry(
            one.name,
            place=place,
            misfit=facts["misfit"],
            cpu_seconds=usage.cpu_seconds,
            wall_seconds=worker.age,
            peak_mb=usage.peak_mb,
            first_step_seconds=watch.seconds,
            facts=facts,
        )


def _call(worker: Worker, request: Request, name: str, place: Path, watch: _FirstStep) -> dict[str, Any]:
    found: dict[str, Any] = worker.call(
        "ptycho_core.comparison.jobs:run_job",
        request.verb,
        request.scan,
        place,
        request.for_backend(name),
        model=request.model,
        config=request.config,
        overwrite=request.overwrite,
        allow_unsupported=request.allow_unsupported,
        timeout=request.timeout,
        observer=watch,
    )
    return found


class _FirstStep:
    """Passes events on under the name of the backend, and remembers when the first step or epoch was reported."""

    def __init__(self, worker: Worker, name: str, emit: _Emit) -> None:
        self.seconds: float | None = None
        self._worker, self._name, self._emit = worker, name, emit

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if self.seconds is None and event.kind in ("step", "epoch"):
            self.seconds = self._worker.age
        stage, message = (f"{self._name}: {text}" if text else "" for text in (event.stage, event.message))
        self._emit(replace(event, stage=stage, message=message))


def _judged(entry: Entry, scoring: Scoring) -> Entry:
    """The entry with its quality; failed if its result cannot be used."""
    from ptycho_core.formats.product import read_object

    if entry.state == FAILED or entry.place is None:
        return entry
    try:
        quality, agreement = scoring.add(entry.name, read_object(entry.place))
    except PtychoError as error:
        return replace(entry, state=FAILED, reason=f"its result cannot be compared: {error}")
    return replace(entry, quality=quality, agreement=agreement)


def _keep(place: Path, error: PtychoError) -> str:
    """The reason in one line; the trace, or the last words, of a backend that did not refuse but failed goes to a file."""
    if not isinstance(error, BackendError) or isinstance(error, CapabilityError):
        return str(error)
    trace, text = place / ERRORS, "\n".join((str(error), *getattr(error, "__notes__", ()))) + "\n"
    try:
        place.mkdir(parents=True, exist_ok=True)
        write_whole(trace, text.encode(errors="backslashreplace"))
    except (OSError, OutputError):  # the table has the reason
        return str(error)
    return f"{error.message} See {trace}." if not error.remedy or "--traceback" in error.remedy else str(error)
