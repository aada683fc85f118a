"""Whether what an HDF5 file keeps in other files is read: by links, or as arrays that lie there. Only if the user says so."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FOLLOW", "FOLLOW_FLAG", "follows_links", "links_followed"]

FOLLOW: Final = "PTYCHO_FOLLOW_LINKS"
"""The variable that says so; a backend's process inherits it."""

FOLLOW_FLAG: Final = "--follow-links"


def follows_links() -> bool:
    """Whether links to other files are followed in this process."""
    return os.environ.get(FOLLOW, "").lower() in ("1", "true")


@contextmanager
def links_followed(*, wanted: bool) -> Iterator[None]:
    """Follow links to other files inside the block, here and in processes that are started there, where that is wanted."""
    before = os.environ.get(FOLLOW)
    if wanted:
        os.environ[FOLLOW] = "1"
    try:
        yield
    finally:
        if wanted and before is None:
            del os.environ[FOLLOW]
        elif wanted and before is not None:
            os.environ[FOLLOW] = before
