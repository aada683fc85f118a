"""Which backend the tests of the verbs run with: ``pytest --backend NAME``. A process holds one framework."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptycho_core.backends.known import known_backends

pytest.register_assert_rewrite("execution_flags", "liveness_table")

WATCHED = """
import json, sys
from ptycho_core.cli.main import main
from ptycho_core.scan.patterns import ArrayPatterns

seen, original = {}, ArrayPatterns.read

def watched(patterns, frames):
    if "tensorflow" in sys.modules:
        from ptycho_tensorflow.devices import threads_in_use
        from tensorflow.python.framework.config import is_op_determinism_enabled  # there is no public way to ask

        seen["threads"], seen["mode"] = threads_in_use(), 2 * is_op_determinism_enabled()
    return original(patterns, frames)

ArrayPatterns.read = watched
for words in json.loads(sys.argv[1]):
    seen.clear()
    status = main(words)
    print(json.dumps({"status": status, **seen}))
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", default="torch", help="backend that the tests of the verbs run with (default: torch)")
    parser.addoption("--ptycho-accelerator", default="cpu", help="where backends are compared: cpu or cuda (default: cpu)")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what looks inside another backend than the one under test, and the folders of its commands."""
    name, chosen = collection_path.name, config.getoption("--backend")
    inside = name.startswith("ptycho_") and name != f"ptycho_{chosen}"
    commands = collection_path.parent == Path(__file__).parent and name in known_backends() and name != chosen
    return True if inside or commands else None


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> str:
    """Name of the backend under test."""
    return str(request.config.getoption("--backend"))


@pytest.fixture(scope="session")
def accelerator(request: pytest.FixtureRequest) -> str:
    """Accelerator that backends are held against each other on."""
    return str(request.config.getoption("--ptycho-accelerator"))


@pytest.fixture(scope="session")
def watched() -> Callable[[list[list[str]]], list[dict[str, Any]]]:
    """Runs commands one after the other in a process of their own; what TensorFlow was set to while each read patterns."""

    def watched(commands: list[list[str]]) -> list[dict[str, Any]]:
        environment = dict(os.environ) | {"OMP_WAIT_POLICY": "PASSIVE", "TF_CPP_MIN_LOG_LEVEL": "2"}
        words = [sys.executable, "-c", WATCHED, json.dumps(commands)]
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=200)
        assert done.returncode == 0, done.stderr
        seen = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        assert [one["status"] for one in seen] == [0] * len(commands), done.stderr
        return seen

    return watched
