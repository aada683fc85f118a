"""Names that jobs give to their files: what a killed one left half written can be distinguished from a user's files by them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ptycho_core.files.whole import TEMPORARY

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CHECKPOINTS", "OWN", "is_left_over"]

CHECKPOINTS: Final = "checkpoints"
"""Folder of the best epochs of a training, where more than one is kept."""

OWN: Final = re.compile(
    r"(reconstruction\.h5|(settings|metrics|score|comparison|resolution)\.json|(log|steps|frames)\.csv|error\.txt|(best|last|epoch-\d{4,})\.ptycho"
    r"|(object|probe|losses|frames|score|comparison|resolution|reconstructed_amplitude|reconstructed_phase)\.png)"
)
"""Every file that a job writes in one step, wherever it lies in the folder of the job."""


def is_left_over(path: Path) -> bool:
    """Whether a file is the half-written one of a job that was killed; another hidden file is a user's."""
    found = TEMPORARY.fullmatch(path.name)
    return found is not None and OWN.fullmatch(found["stem"] + (found["suffix"] or "")) is not None
