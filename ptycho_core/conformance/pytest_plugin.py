"""The options of the conformance kit for pytest: ``pytest --pyargs ptycho_core.conformance --ptycho-backend NAME``.

pytest imports this module in every run of every project of the environment, so it imports nothing and, without its option, does
nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pytest

__all__ = ["pytest_addoption", "pytest_configure"]

_SECONDS = 120.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("ptycho", "conformance of a ptycho backend")
    group.addoption("--ptycho-backend", metavar="NAME", help="prove this backend: NAME, or NAME@DISTRIBUTION")
    group.addoption("--ptycho-xfails", metavar="FILE", help="tests that are known to fail, one 'ID = REASON' a line")
    group.addoption("--ptycho-report", metavar="FILE", help="write what was found as JSON")
    group.addoption(
        "--ptycho-device", metavar="WORD", default="cpu", help="accelerator that the backend computes on (default: cpu)"
    )
    group.addoption(
        "--ptycho-timeout", metavar="S", type=float, default=_SECONDS,
        help=f"seconds after which a job counts as hanging (default: {_SECONDS:g})",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Set up the session of a backend, if one is named."""
    if config.getoption("--ptycho-backend") is not None:
        from ptycho_core.conformance.suite.session import set_up

        set_up(config)
