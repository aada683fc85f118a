"""Which backend the tests of the verbs run with: ``pytest --backend NAME``. A process holds one framework."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from ptycho_core.backends import registry
from ptycho_core.backends.known import known_backends
from ptycho_core.backends.registry import find_named

PATIENT = """
import sys, time
from ptycho_core.jobs import observers
from ptycho_core.cli.main import main
def patient(event):
    if event.kind == sys.argv[1]:
        print("told:", event.kind, file=sys.stderr, flush=True)
        time.sleep(float(sys.argv[2]))
observers.installed_observers = lambda: (patient,)
sys.exit(main(sys.argv[3:]))
"""

pytest.register_assert_rewrite("execution_flags", "liveness_table")
pytest_plugins = ("truth_backend",)
"""Of ``tests/training``: a small backend that trains and infers, for the tests of several folders."""

WATCHED = """
import json, sys
from ptycho_core.cli.main import main
from ptycho_core.scan.kept import KeptPatterns

seen, original = {}, KeptPatterns.read

def watched(patterns, frames):
    if "tensorflow" in sys.modules:
        from ptycho_backend_tensorflow.devices import threads_in_use
        from tensorflow.python.framework.config import is_op_determinism_enabled  # there is no public way to ask

        seen["threads"], seen["mode"] = threads_in_use(), 2 * is_op_determinism_enabled()
    return original(patterns, frames)

KeptPatterns.read = watched
for words in json.loads(sys.argv[1]):
    seen.clear()
    status = main(words)
    print(json.dumps({"status": status, **seen}))
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", default="torch", help="backend that the tests of the verbs run with (default: torch)")
    parser.addoption("--ptycho-accelerator", default="cpu", help="where backends are compared: cpu or cuda (default: cpu)")


def pytest_configure() -> None:
    """Listen to Ctrl-C, as the processes that tests start do then.

    A job in the background of a shell without job control is started with it ignored, and so is all that it starts.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what looks inside another backend than the one under test, and the folders of its commands."""
    name, chosen = collection_path.name, config.getoption("--backend")
    inside = name.startswith("ptycho_backend_") and name != f"ptycho_backend_{chosen}"
    commands = collection_path.parent == Path(__file__).parent and name in known_backends() and name != chosen
    return True if inside or commands else None


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Files are synced before they take their names; only a power cut could tell, and it takes most of the time of small jobs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> str:
    """Name of the backend under test."""
    return str(request.config.getoption("--backend"))


@pytest.fixture(scope="module")
def only_the_backend_under_test(backend: str) -> Iterator[None]:
    """It need not be named, here or in the processes that tests start; small backends of tests are there as well.

    One that is taken only where it is alone is so here.
    """
    spec = find_named(backend)[0].spec
    with pytest.MonkeyPatch.context() as patch:
        if spec is not None and spec.only_alone:
            own = tuple(claim for claim in registry.scan() if claim.name in (backend, "reference"))
            patch.setattr(registry, "scan", lambda: own)
        patch.setenv("PTYCHO_BACKENDS_ALLOW", f"{backend},reference,truth")
        yield


@pytest.fixture(scope="session")
def accelerator(request: pytest.FixtureRequest) -> str:
    """Accelerator that backends are held against each other on."""
    return str(request.config.getoption("--ptycho-accelerator"))


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """For tests that look at no picture of a job: the file is saved as ever, but is empty; a picture takes 0.3 CPU s."""
    from ptycho_core.files.whole import write_whole
    from ptycho_core.imaging import figures

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "draw", lambda make, path: write_whole(Path(path), b""))
        yield


class Started:
    """A process that is listened to while it runs, and sent signals. When its time is over it is killed, with what it started."""

    def __init__(self, words: list[str], seconds: float) -> None:
        self.process = subprocess.Popen(words, stdout=-1, stderr=-1, text=True, start_new_session=True)
        self._timer = Timer(seconds, self._kill)
        self._timer.start()

    def await_line(self, beginning: str) -> None:
        """Read stderr up to a line that begins so."""
        said = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            said.append(line)
            if line.startswith(beginning):
                return
        raise AssertionError(f"'{beginning}' never came, but {''.join(said)}")

    def end(self) -> tuple[int, str, str]:
        """Wait for it: its status, and what it still said on stdout and stderr."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def close(self) -> None:
        """End it, if it has not ended."""
        self._timer.cancel()
        self._kill()
        self.process.wait(10)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


@pytest.fixture
def started() -> Iterator[Callable[..., Started]]:
    """Starts ``ptycho`` with these arguments in a separate process, or with ``code`` a program of Python; see `Started`.

    With ``patience``, a kind of event and a number of seconds, an observer says "told: KIND" and waits so long at each.
    """
    running: list[Started] = []

    def started(*arguments: object, code: str = "", patience: tuple[str, float] | None = None, seconds: float = 90) -> Started:
        program = ["-c", code] if code else ["-c", PATIENT, *patience] if patience else ["-m", "ptycho_core"]
        running.append(Started([sys.executable, *map(str, [*program, *arguments])], seconds))
        return running[-1]

    yield started
    for one in running:
        one.close()


@pytest.fixture(scope="session")
def watched() -> Callable[[list[list[str]]], list[dict[str, Any]]]:
    """Runs commands one after the other in their own process; what TensorFlow was set to while each read patterns."""

    def watched(commands: list[list[str]]) -> list[dict[str, Any]]:
        environment = dict(os.environ) | {"OMP_WAIT_POLICY": "PASSIVE", "TF_CPP_MIN_LOG_LEVEL": "2"}
        words = [sys.executable, "-c", WATCHED, json.dumps(commands)]
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=200)
        assert done.returncode == 0, done.stderr
        seen = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        assert [one["status"] for one in seen] == [0] * len(commands), done.stderr
        return seen

    return watched
