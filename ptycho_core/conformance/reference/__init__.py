"""The backend in NumPy and double precision, written from ``specs/network.md`` with its derivatives spelt out.

It shares nothing with another backend, is slow, and serves to compare. Patterns and probes at the detector have zero frequency
at ``[0, 0]`` in here.
"""

from __future__ import annotations

from typing import Final

__all__ = ["NAME"]

NAME: Final = "reference"
"""Name of the entry point."""
