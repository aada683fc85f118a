"""Fixtures of the kit; without a named backend nothing of it is collected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ptycho_core.conformance.suite.bench import Bench


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the tests alone in an ordinary run."""
    named = config.getoption("--ptycho-backend", default=None)
    return True if named is None and collection_path.name.startswith("test_") else None


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The backend under test, in separate processes, and what it is given."""
    from ptycho_core.conformance.suite.bench import Bench

    config = request.config
    one = Bench(
        str(config.getoption("--ptycho-backend")),
        device=str(config.getoption("--ptycho-device")),
        timeout=float(config.getoption("--ptycho-timeout")),
        folder=tmp_path_factory.mktemp("kit"),
    )
    yield one
    one.close()
