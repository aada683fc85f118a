"""A small simulated scan with known truth, and the command line in this process."""

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
