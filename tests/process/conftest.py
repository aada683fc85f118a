"""The command in separate processes, whose descriptors, signals and environment are what a test makes of them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ptycho_core.cli.main import main

DESCRIPTORS = Path(__file__).with_name("descriptors.py")


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 frames of 16 x 16 pixels."""
    path = tmp_path_factory.mktemp("scan") / "scan.npz"
    assert main(["simulate", str(path), "--size", "16", "--frames", "16", "--photons", "1e5", "--seed", "1"]) == 0
    return path


@pytest.fixture
def ptycho() -> Callable[..., "subprocess.CompletedProcess[bytes]"]:
    """Runs ``ptycho`` as a user does; ``code`` runs a program of Python instead. Descriptors in ``closed`` are closed before."""

    def run(
        *words: object, code: str = "", closed: tuple[int, ...] = (), cwd: Path | None = None, **environment: str
    ) -> "subprocess.CompletedProcess[bytes]":
        def close() -> None:
            for number in closed:
                os.close(number)

        program = ["-c", code] if code else ["-m", "ptycho_core"]
        line = [os.fsencode(str(word)) for word in (sys.executable, *program, *words)]
        return subprocess.run(
            line, capture_output=True, timeout=120, cwd=cwd, env=os.environ | environment, preexec_fn=close if closed else None
        )

    return run


@pytest.fixture(scope="session")
def job() -> Iterator[Callable[..., dict[str, Any]]]:
    """Runs a command whose descriptors lead elsewhere, in a separate process; see ``descriptors.py``."""
    with subprocess.Popen([sys.executable, DESCRIPTORS], stdin=-1, stdout=-1, text=True) as driver:

        def run(*words: object, stdout: str = "pipe", stderr: str = "pipe", signals: tuple[str, ...] = ()) -> dict[str, Any]:
            assert driver.stdin is not None
            assert driver.stdout is not None
            case = {"words": [*map(str, words)], "stdout": stdout, "stderr": stderr, "signals": signals}
            print(json.dumps(case), file=driver.stdin, flush=True)
            return json.loads(driver.stdout.readline())

        yield run
        driver.stdin.close()
