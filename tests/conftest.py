"""Which backend the tests of the verbs run with: ``pytest --backend NAME``. A process holds one framework."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", default="torch", help="backend that the tests of the verbs run with (default: torch)")
    parser.addoption("--ptycho-accelerator", default="cpu", help="where backends are compared: cpu or cuda (default: cpu)")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what looks inside another backend than the one under test."""
    name = collection_path.name
    return True if name.startswith("ptycho_") and name != f"ptycho_{config.getoption('--backend')}" else None


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> str:
    """Name of the backend under test."""
    return str(request.config.getoption("--backend"))


@pytest.fixture(scope="session")
def accelerator(request: pytest.FixtureRequest) -> str:
    """Accelerator that backends are held against each other on."""
    return str(request.config.getoption("--ptycho-accelerator"))
