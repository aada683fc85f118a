"""An empty figure that touches neither the home folder nor matplotlib's global state."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["empty_figure"]


def empty_figure(width: float, height: float) -> Figure:
    """A figure of that many inches.

    Without ``MPLCONFIGDIR`` matplotlib would keep its cache in the home folder; it gets a folder that goes with the process.
    """
    if "MPLCONFIGDIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="ptycho-matplotlib-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["MPLCONFIGDIR"] = folder
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
