"""Runs the kit for many wrong backends in one process: ``python keeper.py FOLDER NAME...``, a report in FOLDER for each.

The tests of the kit are what they are. What is spared is time: a job runs in this process where the kit starts another one, and
what the reference has computed once it gives again when it is asked for the same. Backends that end, hang or crash their
process are not for here; whether a plugin loads lightly is looked at in a process that has nothing heavy.
"""

import functools
import gc
import hashlib
import importlib
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from ptycho_core.backends.discovery import forget
from ptycho_core.conformance.reference import plugin as reference
from ptycho_core.conformance.suite import bench, jobs
from ptycho_core.contract import EvaluateBatchJob, EvaluateJob
from ptycho_core.errors import PtychoError
from ptycho_core.failures import described, raised_again

NO_MATTER = ("backend", "accelerator", "precision", "threads", "seconds", "patterns_per_second")
"""What the answers of the reference do not depend on: it is always NumPy, in double precision, on the processor."""

NOTHING_OF = {"Scan": ("source",), "Model": ("settings", "producer"), "TrainJob": ("output_dir",)}
"""Fields of classes that say where something is from, or where it goes."""

READERS = ("num_workers", "prefetch")
LIGHT = "ptycho_core.conformance.suite.laziness:heavy_imports"


class Here:
    """A worker whose process is this one, as `Worker` otherwise."""

    light = site = None

    def __init__(self, backend, *, threads=None):
        self.backend = backend

    def call(self, target, /, *arguments, timeout=None, **keywords):
        if target == LIGHT:
            Here.light.stdin.write(f"{Here.site} {arguments[0]}\n")
            return json.loads(Here.light.stdout.readline())
        module, _, name = target.partition(":")
        try:
            return getattr(importlib.import_module(module), name)(*arguments, **keywords)
        except PtychoError:
            raise
        except (Exception, SystemExit) as error:
            raise raised_again(described(error), self.backend, f"running {target}") from error

    def close(self):
        """There is nothing to end."""


def identity(value, left_out):
    """What tells two arguments apart: contents, not places."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    if hasattr(value, "read") and hasattr(value, "shape"):  # patterns, looked at without a reading that the kit would count
        while hasattr(value, "_patterns"):
            value = value._patterns
        if hasattr(value, "counts"):
            return identity(value.counts, left_out)
        return identity([value._array.read(slice(None)), value._bad, value._dark, value._clip, value._factor], left_out)
    if is_dataclass(value):
        named = [one.name for one in fields(value) if one.name not in NOTHING_OF.get(type(value).__name__, ())]
        return [type(value).__name__, *(identity(getattr(value, name), left_out) for name in named)]
    if hasattr(value, "items"):
        return sorted((str(name), identity(one, left_out)) for name, one in value.items() if name not in left_out)
    if isinstance(value, list | tuple):
        return [identity(one, left_out) for one in value]
    return repr(value)


def remembered(hook, replayed):
    """A hook of the reference that gives again what it has given for the same job; not where it may be asked to stop."""
    known = {}

    @functools.wraps(hook)
    def again(job, *rest):
        sink = rest[-1] if rest else jobs.Sink()
        if type(sink) is not jobs.Sink or sink._stop_after is not None or sink.snapshot_due:
            return hook(job, *rest)
        left_out = NO_MATTER if replayed is _yielded else NO_MATTER + READERS  # a batch may be read ahead of the one before
        return replayed(hook, known, json.dumps(identity(job, left_out)), job, rest)

    return again


def _answered(hook, known, key, job, rest):
    if key not in known:
        known[key] = hook(job, *rest)
    _read_once(job)
    return known[key]


def _read_once(job):
    """Patterns are read where they are wanted, also for an answer that is remembered."""
    if not isinstance(job, EvaluateJob | EvaluateBatchJob):
        scan = job.data.scans[0].scan if hasattr(job, "data") else job.scan
        scan.patterns.read(np.zeros(1, np.int64))


def _yielded(hook, known, key, job, rest):
    if key not in known:
        known[key] = list(hook(job, *rest))
    else:
        _read_once(job)
    return iter(known[key])


def _fitted(hook, known, key, job, rest):
    sink = rest[-1]
    if key in known:
        result, events, files = known[key]
        _read_once(job)
    else:
        before = len(sink.events)
        result = hook(job, *rest)
        folder = getattr(job, "output_dir", None)
        files = {} if folder is None else {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*.ptycho")}
        known[key] = result, sink.events[before:], files
        return result
    for one in events:
        sink.emit(one)
    for name, content in files.items():
        path = job.output_dir / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    if files:
        result = replace(result, model_path=job.output_dir / result.model_path.name, last_path=job.output_dir / "last.ptycho")
    return result


@contextmanager
def surroundings(site):
    """The process as it was, whatever a backend does to it."""
    environment, folder, path = dict(os.environ), Path.cwd(), list(sys.path)
    sys.path.insert(0, site)
    forget()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.path[:] = path


def main(folder, names):
    for name, how in {"train": _fitted, "infer": _yielded, "reconstruct": _fitted, "evaluate": _answered}.items():
        setattr(reference, f"ptycho_{name}", remembered(getattr(reference, f"ptycho_{name}"), how))
    bench.Worker = Here
    lightly = [sys.executable, str(Path(__file__).with_name("lightly.py"))]
    with subprocess.Popen(lightly, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as Here.light:
        for name in names:
            Here.site = str(folder / name)
            gc.collect()
            gc.freeze()  # what is loaded stays: a session looks through all of it several times
            with surroundings(Here.site):
                pytest.main(
                    [
                        "--pyargs", "ptycho_core.conformance", "--ptycho-backend", name, "-q", "-p", "no:cacheprovider",
                        f"--ptycho-report={folder / name}.json", "--basetemp", str(folder / f"{name}-files"),
                        "-p", "no:hypothesispytest",
                    ]
                )  # fmt: skip
            print(f"CPU {name} {time.process_time():.2f}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
