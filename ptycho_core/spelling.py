"""Names of files as text."""

from __future__ import annotations

__all__ = ["printable"]


def printable(name: str) -> str:
    r"""A name for places that take UTF-8 alone: a byte of it that is none as ``\udcXX``, as Python and its JSON spell it."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
