"""Measured scans that come with ptycho."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["SAMPLES", "siemens_star"]


def siemens_star() -> Path:
    """A Siemens star in hard X-rays: 516 patterns of 128 x 128 pixels, measured; plain npz layout, with a guess of the probe.

    Where it comes from and its licence stand next to the file.
    """
    from importlib.resources import files

    return Path(str(files(__name__) / "siemens_star.npz"))


SAMPLES: Final[Mapping[str, Callable[[], Path]]] = {"siemens-star": siemens_star}
"""Samples by the name that follows ``sample:`` wherever a scan is asked for."""
