"""Scans and results of ptycho in ptychodus, which opens every module of this folder.

Nothing here keeps it from starting: what is needed is imported when ptychodus asks, and a failure is a line in the log.
"""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["register_plugins"]

_SCANS = "Scans and results that ptycho reads (*.npz *.h5 *.hdf5 *.cxi *.nxs *.emd *.mat)"


def register_plugins(registry: Any) -> None:  # noqa: ANN401 - of ptychodus
    """Register them, or say in the log why not."""
    try:
        from ptycho_ptychodus.data import Frames, Products

        registry.diffraction_file_readers.register_plugin(Frames(), simple_name="ptycho", display_name=_SCANS)
        registry.register_product_file_reader_with_adapters(Products(), simple_name="ptycho", display_name=_SCANS)
        registry.product_file_writers.register_plugin(Products(), simple_name="ptycho", display_name="Results of ptycho (*.h5)")
    except Exception:
        logging.getLogger(__name__).exception("The files of ptycho cannot be opened here.")
