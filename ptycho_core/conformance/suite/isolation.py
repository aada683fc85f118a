"""Run in a process of a backend: a job, and what it leaves behind besides its answer."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["watched"]

_GRACE: Final = 2.0
"""Seconds that threads and processes get to end."""

_CREATES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_NO_PLACE: Final = ("/dev/", "/proc/", "/sys/")


def watched(name: str, job: str, arguments: Sequence[Any], keywords: Mapping[str, Any], own: Sequence[Path]) -> dict[str, Any]:
    """Run a job of `jobs` and look at the process before and after.

    Args:
        name: of the backend.
        job: name of the function.
        arguments: of the function.
        keywords: of the function.
        own: folders in which it may leave files.

    Returns:
        ``answer``, and of what must stay as it was the differences, in words: ``random``, ``environment``, ``directory``,
        ``files``, ``running``.
    """
    from ptycho_core.backends import choose, load
    from ptycho_core.conformance.suite import jobs

    environment, directory = dict(os.environ), Path.cwd()
    backend = load(choose(name))
    loaded = dict(os.environ)
    backend.probe()  # imports the framework, which may do to the environment what it likes
    before = dict(os.environ)
    states, threads, children = _random_states(backend), set(threading.enumerate()), _children()
    with _written_files() as written:
        answer = getattr(jobs, job)(*arguments, **keywords)
    after = _random_states(backend)
    return {
        "answer": answer,
        "random": [f"the state of {place} changed" for place in states if states[place] != after[place]],
        "environment": _changes(environment, loaded, backend.spec.environment) + _changes(before, dict(os.environ), {}),
        "directory": [] if Path.cwd() == directory else [f"the working directory is {Path.cwd()}"],
        "files": _left(written, own),
        "running": _running(threads, children),
    }


def _random_states(backend: Any) -> dict[str, bytes]:  # noqa: ANN401 - a Backend
    """The state of each global generator that can be seen."""
    import numpy as np

    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - the global generator is what is looked at
    found = {"random": repr(random.getstate()).encode(), "numpy.random": repr((kind, np.asarray(keys).tolist(), rest)).encode()}
    framework = backend.spec.framework
    if framework is not None:
        module = getattr(import_module(framework.module), "random", None)
        state = getattr(module, "get_rng_state", None)
        if callable(state):
            found[f"{framework.module}.random"] = np.asarray(state()).tobytes()
    return found


def _changes(before: Mapping[str, str], after: Mapping[str, str], allowed: Mapping[str, str]) -> list[str]:
    names = {*before, *after} - set(allowed)
    return [
        f"{name}: {before.get(name)} became {after.get(name)}" for name in sorted(names) if before.get(name) != after.get(name)
    ]


_recorded: list[list[str]] = []


@contextmanager
def _written_files() -> Iterator[list[str]]:
    """Collects the paths that are opened for writing, made or renamed, and what is new in the usual places."""
    if not _recorded:
        sys.addaudithook(_audit)  # for good: hooks cannot be removed
        _recorded.append([])
    paths: list[str] = []
    places = (Path.cwd(), Path(tempfile.gettempdir()))
    before = set(_listing(places))
    _recorded[0] = paths
    try:
        yield paths
    finally:
        _recorded[0] = []
        paths += [path for path in _listing(places) if path not in before]  # written by code that is not Python


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    path: Any = None
    if event == "open":
        path, mode, flags = arguments
        writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool((flags or 0) & _CREATES)
        path = path if writes else None
    elif event in ("os.mkdir", "os.rename", "os.link", "os.symlink"):
        path = arguments[0 if event == "os.mkdir" else 1]
    # What is a folder already is not made, and a file without a name is opened by that of its folder.
    if isinstance(path, str | bytes | os.PathLike) and not os.path.isdir(path):  # noqa: PTH112
        _recorded[0].append(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 - as it is now, without following links


def _listing(places: Sequence[Path]) -> list[str]:
    return [str(path) for place in places for path in place.iterdir()]


def _left(written: Sequence[str], own: Sequence[Path]) -> list[str]:
    """What is still there and lies in none of its own folders."""
    folders = [str(folder.resolve()) for folder in own]

    def counts(path: str) -> bool:
        place = os.path.realpath(path)
        inside = any(place == folder or place.startswith(folder + os.sep) for folder in folders)
        return not inside and not place.startswith(_NO_PLACE) and "__pycache__" not in place and Path(place).exists()

    return sorted({path for path in written if counts(path)})


def _running(threads: set[threading.Thread], children: set[int]) -> list[str]:
    """Threads and processes that are still there after a while."""
    deadline = time.monotonic() + _GRACE
    while True:
        left = [f"thread {one.name}" for one in threading.enumerate() if one not in threads]
        left += [f"process {one}" for one in sorted(_children() - children)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def _children() -> set[int]:
    """Numbers of the processes that this one has started and that still run."""
    if not Path("/proc/self/stat").exists():
        import multiprocessing

        return {one.pid for one in multiprocessing.active_children() if one.pid is not None}
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:  # it ended just now
                continue
            if int(parent) == os.getpid() and state != "Z":
                found.add(int(entry.name))
    return found
