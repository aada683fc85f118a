"""How a test of the kit says for whom it is and what must hold before it means anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from ptycho_core.contract import BackendSpec

__all__ = ["CONTRACT", "MARK", "NOTHING", "applies", "kit"]

MARK: Final = "ptycho"
CONTRACT: Final = "contract"
"""What a test proves that belongs to no capability: it runs for every backend."""

NOTHING: Final = "ptycho_nothing"
"""Marks the stand-in of a parametrised test for which the manifest leaves no case."""


def kit(*claims: str, needs: tuple[str, ...] = (), since: tuple[int, int] = (2, 0)) -> pytest.MarkDecorator:
    """Mark a test.

    Args:
        claims: capability words; it runs for a backend that claims all of them, and proves each. None: it runs for all.
        needs: names of tests without which it means nothing. If one of them did not pass it is *blocked*. Of a test with
            parameters, those instances count that agree in the parameters that both have.
        since: version of the contract that asks for it; a backend of an older one is not held to it.
    """
    return getattr(pytest.mark, MARK)(claims=claims or (CONTRACT,), needs=needs, since=since)  # type: ignore[no-any-return]


def applies(claims: tuple[str, ...], since: tuple[int, int], spec: BackendSpec | None) -> bool:
    """Whether a backend is held to a test; one whose manifest cannot be read only to what claims nothing."""
    offered = {CONTRACT} if spec is None else {CONTRACT, *spec.capabilities}
    return set(claims) <= offered and (spec is None or since <= spec.contract)
