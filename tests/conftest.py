"""Which backend the tests of the verbs run with: ``pytest --backend NAME``. A process holds one framework."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", default="torch", help="backend that the tests of the verbs run with (default: torch)")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> str:
    """Name of the backend under test."""
    return str(request.config.getoption("--backend"))
