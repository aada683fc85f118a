"""A small simulated scan with known truth, and the command line in this process and in a separate one."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ptycho_core.cli.main import main


@pytest.fixture(autouse=True, scope="module")
def _alone(only_the_backend_under_test: None) -> None:
    """No test here names the backend."""


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 frames of 32 x 32 pixels with a probe guess of 90 % of the defocus."""
    path = tmp_path_factory.mktemp("scan") / "scan.npz"
    assert main(["simulate", str(path), "--size", "32", "--frames", "100", "--photons", "1e5", "--seed", "3"]) == 0
    return path


@pytest.fixture
def answered(capsys: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    """As `ptycho`, in this process."""

    def run(*arguments: object) -> SimpleNamespace:
        capsys.readouterr()
        status = main([*map(str, arguments)])
        return SimpleNamespace(returncode=status, stderr=capsys.readouterr().err)

    return run


@pytest.fixture
def ptycho() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command as a user does."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ptycho_core", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=dict(os.environ) | environment)

    return run
