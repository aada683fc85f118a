"""What must be refused, and what a test says where it is not: the error to raise, in one sentence instead of a trace."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ptycho_core.errors import PtychoError

__all__ = ["refusal_of", "refused_with"]


@contextmanager
def refused_with(kind: type[PtychoError], names: str, what: str) -> Iterator[None]:
    """What is done inside must raise an error of this kind.

    Args:
        kind: class of the error.
        names: what its message must hold; empty for anything.
        what: is refused, in words.
    """
    raised = f"raise {kind.__name__}" + (f" whose message names '{names}'" if names else "")
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever is raised instead is reported
        if not isinstance(error, kind):
            pytest.fail(f"{what}: {raised}, not {type(error).__name__}: {' '.join(str(error).split())}", pytrace=False)
        if names not in str(error):
            pytest.fail(f"{what}: {raised}; it says: {error}", pytrace=False)
    else:
        pytest.fail(f"{what} is taken as if it were right: {raised}", pytrace=False)


def refusal_of(error: Exception, *names: str) -> None:
    """A setting that is refused must be named, so that no other refusal passes for it."""
    if not any(name in str(error) for name in names):
        pytest.fail(f"{' or '.join(names)} was asked for, and something else is refused: {error}", pytrace=False)
