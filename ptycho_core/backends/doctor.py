"""Examining backends in child processes, where a crash or a hang costs a row and nothing else."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from ptycho_core.backends.child import end_child, last_words, start_child, told_end
from ptycho_core.backends.registry import find_backends, find_named
from ptycho_core.files.scratch import using_scratch

if TYPE_CHECKING:
    from ptycho_core.backends.states import BackendInfo

__all__ = ["Diagnosis", "diagnose"]


@dataclass(frozen=True)
class Diagnosis:
    """What became of one backend when it was really started.

    Attributes:
        name: the backend's name.
        source: the distribution and version that provide it.
        state: as in ``BackendInfo``; ``broken`` if it failed when started.
        reason: why it is not ``ok``, else empty.
        seconds: how long it took.
        report: the fields of its ``ProbeReport``.
        environment: variables that were set for it.
        trace: where the failure arose, if it was an exception; else the end of what the process wrote.
    """

    name: str
    source: str
    state: str
    reason: str = ""
    seconds: float = 0.0
    report: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    trace: str = ""


def diagnose(name: str | None = None, timeout: float = 120.0) -> tuple[Diagnosis, ...]:
    """Start each backend, or the named one, in a child process: load the plugin, import the framework, probe.

    Args:
        name: name, alias or ``NAME@DISTRIBUTION``; None for all.
        timeout: seconds after which a child is ended.

    Raises:
        UnknownBackendError: no such backend.
        BackendUnusableError: it is known but its plugin is not installed.
    """
    rows = find_backends() if name is None else find_named(name)
    return tuple(_examine(row, timeout) for row in rows)


def _examine(row: BackendInfo, timeout: float) -> Diagnosis:
    if row.state != "ok":
        return Diagnosis(row.name, row.source, row.state, f"{row.reason}. {row.remedy}" if row.remedy else row.reason)
    if row.claim is None:
        return Diagnosis(row.name, row.source, "ok", "registered in this process, so no other process can start it")
    started = time.monotonic()
    with using_scratch():
        held = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the next line
    with held as errors:
        output, status = _run_child(row.address, timeout, errors)
        written = last_words(errors)
    seconds = time.monotonic() - started
    answers = _answers(output)
    step = answers.get("step", "starting Python")
    if "report" in answers:
        return Diagnosis(row.name, row.source, "ok", "", seconds, answers["report"], answers["environment"])
    if "failure" in answers:
        reason, trace = f"{answers['failure'].rstrip('.')} (while {step})", answers["trace"]
    elif status is None:
        reason, trace = f"no answer within {timeout:g} s while {step}", written
    else:
        reason, trace = f"{told_end(status)} while {step}", written
    return Diagnosis(row.name, row.source, "broken", reason, seconds, trace=trace)


def _run_child(name: str, timeout: float, errors: IO[bytes]) -> tuple[str, int | None]:
    with start_child("ptycho_core.backends.probe_child", name, errors=errors) as child:
        try:
            output, _ = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            end_child(child)
            return child.communicate()[0], None
        except BaseException:
            end_child(child)
            raise
    return output, child.returncode


def _answers(output: str) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for line in output.splitlines():
        try:
            answers.update(json.loads(line))
        except ValueError:  # cut off by a crash
            continue
    return answers
