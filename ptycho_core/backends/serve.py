"""The child process of a worker: runs one function after the other and answers in lines of JSON.

Requests come in lines on standard input, each the place of a file; values travel in such files (``ptycho_core.backends.codec``).
Standard output is reserved for the answers; whatever a backend prints, from C code too, goes to standard error. When standard
input ends, because the parent closed it or is no more, the process ends, with all that it started.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import queue
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.backends.child import end_own_session
from ptycho_core.backends.codec import pack, read_value, write_value
from ptycho_core.errors import UsageError
from ptycho_core.failures import described

if TYPE_CHECKING:
    from collections.abc import Callable

    from ptycho_core.contract import Event

__all__ = ["main"]

_GRACE = 1.0  # seconds to leave in good order once the parent is gone


class _Channel:
    """Where the answers go, a line each; events may come from several threads."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(1), "w", encoding="utf-8")
        self._lock = threading.Lock()

    def say(self, **answer: object) -> None:
        """Send one line."""
        with self._lock:
            print(json.dumps(answer), file=self._file, flush=True)

    def forward(self, event: Event) -> None:
        """Pass an event on to the parent."""
        arrays: list[Any] = []
        plain = pack(event, arrays, "An event")
        if arrays:
            raise UsageError("An event holds an array; only plain values can travel between processes.")
        self.say(event=plain)


def main() -> None:
    """Serve until standard input ends."""
    channel = _Channel()
    requests: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
    source = os.fdopen(os.dup(0), "r", encoding=sys.getfilesystemencoding(), errors="surrogateescape")
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def listen() -> None:
        for line in source:
            requests.put(Path(line.rstrip("\n")))
        requests.put(None)
        time.sleep(_GRACE)
        end_own_session()

    threading.Thread(target=listen, daemon=True).start()
    while (place := requests.get()) is not None:
        _serve(place, channel)


def _serve(place: Path, channel: _Channel) -> None:
    """Answer one request."""
    try:
        request = read_value(place)
        target, keywords = request["target"], request["keywords"]
        channel.say(doing=f"importing {target.rpartition(':')[0]}")
        function = _function(target)
        if request["observed"]:
            keywords["observers"] = [channel.forward]
        channel.say(doing=f"running {target}")
        answer = function(*request["arguments"], **keywords)
        write_value(place.with_name("answer"), answer, f"The answer of {target}")
    except BaseException as error:  # noqa: BLE001 - told to the parent, whatever it was
        channel.say(failure=described(error), usage=_usage())
    else:
        channel.say(answer=str(place.with_name("answer")), usage=_usage())


def _function(target: str) -> Callable[..., Any]:
    module, _, name = target.rpartition(":")
    found: Any = _file(Path(module)) if module.endswith(".py") else importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    function: Callable[..., Any] = found
    return function


@cache
def _file(path: Path) -> Any:  # noqa: ANN401 - a module
    """The module in a file, imported once."""
    name = f"{path.stem}_{abs(hash(path)):x}"
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up there
    specification.loader.exec_module(module)
    return module


def _usage() -> dict[str, float]:
    """CPU seconds of the process and of those that it started and waited for; its own peak memory in MB."""
    spent = os.times()
    seconds = spent.user + spent.system + spent.children_user + spent.children_system
    return {"cpu_seconds": seconds, "peak_mb": _peak_bytes() / 1e6}


def _peak_bytes() -> float:
    """Largest resident size so far."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts on Linux what the parent held when it started this process
        for line in status.read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
