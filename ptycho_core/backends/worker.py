"""A worker process: one process for one backend, kept alive for several calls, whose crash or hang costs one call."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, Self

from ptycho_core.backends.child import end_child, last_words, start_child, told_end
from ptycho_core.backends.codec import read_value, unpack, write_value
from ptycho_core.errors import UsageError, WorkerError
from ptycho_core.events import EventHub
from ptycho_core.failures import raised_again
from ptycho_core.files.scratch import using_scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ptycho_core.contract import Observer

__all__ = ["Usage", "Worker"]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_POLL = 0.1  # seconds between two looks at a child that says nothing
_FAREWELL = 2.0  # seconds that a child without work gets to leave


@dataclass(frozen=True)
class Usage:
    """What a worker process has cost.

    Attributes:
        cpu_seconds: user and system time since its start, of the processes that it waited for too.
        peak_mb: its largest resident memory so far, in 10⁶ bytes.
        call_seconds: wall time of the last call.
    """

    cpu_seconds: float
    peak_mb: float
    call_seconds: float


class Worker:
    """Runs functions in a separate process, one call at a time.

    The process is started by the first call, and anew by the first one after it died or was ended. It ends with this process,
    however that ends. Not to be shared between threads.

    Args:
        backend: name of the backend that it is for; a label, which errors name.
        threads: for the libraries under the frameworks (``OMP_NUM_THREADS`` and its kin); None leaves them alone.
        environment: variables for the process, in addition to those of this one.

    Attributes:
        usage: what it has cost, after the last call that it answered; None before.
    """

    def __init__(self, backend: str, *, threads: int | None = None, environment: Mapping[str, str] | None = None) -> None:
        self.backend = backend
        self.usage: Usage | None = None
        count = {} if threads is None else dict.fromkeys(_THREADS, str(threads))
        policy = os.environ.get("OMP_WAIT_POLICY", "PASSIVE")  # a thread that spins takes its core from the next worker
        self._environment = {"OMP_WAIT_POLICY": policy, **count, **(environment or {})}
        self._process: _Process | None = None
        self._words = ""

    def __enter__(self) -> Self:
        """The worker itself, its process started; leaving ends it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()

    @property
    def age(self) -> float:
        """Seconds since the process was started; 0 without one."""
        return 0.0 if self._process is None else time.monotonic() - self._process.started

    @property
    def written(self) -> str:
        """The end of what the process wrote, or the last one, to its standard output and error."""
        return self._words if self._process is None else last_words(self._process.errors)

    def start(self) -> None:
        """Start the process, if there is none."""
        if self._process is None:
            self._process = _Process(self._environment)

    def close(self) -> None:
        """End the process, if there is one, and all that it started."""
        if self._process is not None:
            self._bury(self._process.leave)

    def call(
        self,
        target: str,
        /,
        *arguments: Any,  # noqa: ANN401 - those of any function
        timeout: float | None = None,
        observer: Observer | None = None,
        **keywords: Any,  # noqa: ANN401 - the same
    ) -> Any:  # noqa: ANN401 - the same
        """Run a function in the process.

        Args:
            target: ``package.module:function``, or ``path/to/file.py:function``.
            arguments: of the function: plain data, arrays, data of the contract (``ptycho_core.backends.codec``).
            timeout: seconds, the start of a process included, after which the process is ended; None for no limit.
            observer: is called with each event; the function gets ``observers=[…]``, as the verbs take it.
            keywords: of the function.

        Returns:
            What the function returned.

        Raises:
            PtychoError: that the function raised; the same class, with the same data.
            BackendError: it raised something else.
            WorkerError: the process died, or did not answer in time.
            UsageError: the target, an argument or the answer is not of the kind that can be used here.
        """
        began = time.monotonic()
        request = {"target": _absolute(target), "arguments": arguments, "keywords": keywords, "observed": observer is not None}
        self.start()
        process = self._process
        assert process is not None
        try:
            process.ask(request)
            answer = self._wait(process, None if timeout is None else began + timeout, timeout, observer)
        except UsageError:  # nothing was asked
            raise
        except BaseException:
            self._bury(process.end)
            raise
        self.usage = Usage(**answer["usage"], call_seconds=time.monotonic() - began)
        if "failure" in answer:
            raise raised_again(answer["failure"], self.backend, process.doing)
        return process.fetch(answer["answer"])

    def _wait(
        self, process: _Process, deadline: float | None, timeout: float | None, observer: Observer | None
    ) -> dict[str, Any]:
        """The answer; on the way, events are passed on."""
        hub = EventHub([] if observer is None else [observer])
        while True:
            left = _POLL if deadline is None else min(_POLL, deadline - time.monotonic())
            message = process.hear(max(left, 0.0))
            if message is None:
                if process.gone:
                    self._died(process, told_end(process.end()))
                if deadline is not None and time.monotonic() >= deadline:
                    self._died(process, f"no answer within {timeout:g} s")
            elif "event" in message:
                hub.emit(unpack(message["event"], ()))
            elif "doing" in message:
                process.doing = message["doing"]
            else:
                return message

    def _died(self, process: _Process, how: str) -> NoReturn:
        error = WorkerError(
            f"the worker process of backend '{self.backend}' failed: {how} while {process.doing}.",
            remedy="Add --traceback to see what it wrote last." if last_words(process.errors).strip() else "",
            backend=self.backend,
        )
        error.add_note(f"The last that it wrote:\n{last_words(process.errors)}".rstrip())
        raise error

    def _bury(self, end: Callable[[], object]) -> None:
        process, self._process = self._process, None
        assert process is not None
        try:
            end()
        finally:
            self._words = last_words(process.errors)
            process.forget()


class _Process:
    """One child with its pipes, its folder for values, and a thread that listens to it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.doing = "starting Python"
        self.started = time.monotonic()
        with using_scratch():
            self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by forget()
            self._folder = tempfile.TemporaryDirectory(prefix="ptycho-", ignore_cleanup_errors=True)
            scratch = Path(self._folder.name) / "tmp"  # what a process that dies leaves there goes with the folder
            scratch.mkdir()
        self._messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._child = start_child(
            "ptycho_core.backends.serve",
            errors=self.errors,
            environment={"TMPDIR": str(scratch), **environment},
            stdin=subprocess.PIPE,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._silent = False

    @property
    def gone(self) -> bool:
        """Whether the child is dead and all that it said was heard."""
        if self._child.poll() is not None and not self._silent:
            end_child(self._child)  # what it started may hold the pipe open
            self._listener.join(_FAREWELL)
            return self._messages.empty()
        return self._silent

    def ask(self, request: Mapping[str, Any]) -> None:
        """Send a request."""
        for path in Path(self._folder.name).glob("*.*"):  # of the last call
            path.unlink()
        place = Path(self._folder.name) / "request"
        with using_scratch():
            write_value(place, request, f"The call of {request['target']}")
        assert self._child.stdin is not None
        with suppress(BrokenPipeError):  # it is dead, which waiting for the answer will tell
            self._child.stdin.write(f"{place}\n")
            self._child.stdin.flush()

    def hear(self, seconds: float) -> dict[str, Any] | None:
        """The next message, or None if none came in that time, or none will."""
        try:
            message = self._messages.get(timeout=seconds)
        except queue.Empty:
            return None
        self._silent = self._silent or message is None
        return message

    def fetch(self, place: str) -> Any:  # noqa: ANN401 - whatever was answered
        """The value of an answer."""
        return read_value(Path(place))

    def leave(self) -> None:
        """Let the child go, or end it if it does not."""
        assert self._child.stdin is not None
        try:
            with suppress(BrokenPipeError, subprocess.TimeoutExpired):
                self._child.stdin.close()
                self._child.wait(_FAREWELL)
        finally:
            self.end()

    def end(self) -> int:
        """End the child and all that it started; its exit status, its own if it was dead already."""
        if self._silent and self._child.poll() is None:  # it closed the pipe, so it is about to die: let it say how
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(_FAREWELL)
        end_child(self._child)
        return self._child.wait()

    def forget(self) -> None:
        """Close and remove what belongs to the process."""
        self._listener.join(_FAREWELL)
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        self.errors.close()
        self._folder.cleanup()

    def _listen(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            try:
                self._messages.put(json.loads(line))
            except ValueError:  # cut off by a crash
                continue
        self._messages.put(None)


def _absolute(target: str) -> str:
    """The target, a file with its whole path.

    Raises:
        UsageError: it is not of the form ``module:function``.
    """
    module, colon, function = target.rpartition(":")
    if not colon or not module or not function:
        raise UsageError(f"'{target}' is no function to call: write it as module:function or file.py:function.")
    return f"{Path(module).resolve()}:{function}" if module.endswith(".py") else target
