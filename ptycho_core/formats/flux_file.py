"""The dose of each frame out of a file: values of a monitor of the beam, in any unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.files.plain import plain_file
from ptycho_core.formats.kinds import NPY, ZIP, another_kind, kind_of
from ptycho_core.formats.npy import NpyFile
from ptycho_core.formats.npz import NpzFile
from ptycho_core.formats.table import is_table, read_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["checked_flux", "flux_from_file"]


def flux_from_file(path: Path) -> tuple[NDArray[Any], str]:
    """The values of a file, (value,), and where they are, for messages.

    Raises:
        DataError: no such file, another kind of file, several columns, or it is damaged.
    """
    if not path.exists():
        raise DataError(f"The flux {path} does not exist.", source="data.flux")
    plain_file(path)
    kind = kind_of(path)
    if kind in (NPY, ZIP):
        file: NpzFile | NpyFile = NpzFile(path) if kind == ZIP else NpyFile(path, "flux")
        if isinstance(file, NpzFile):
            file.require("flux")
        return file.array("flux"), f"{path}: 'flux'" if kind == ZIP else str(path)
    if not is_table(path):
        raise another_kind(path, "holds no values of a monitor", "Give a table (csv, txt), npy, or npz with the key 'flux'.")
    table = read_table(path)
    columns = [place for place, name in enumerate(table.names) if name.lower() == "flux"] or list(range(table.values.shape[1]))
    if len(columns) != 1:
        message = f"{path} has {table.values.shape[1]} columns, and none of them, or several, have the name 'flux'."
        raise DataError(message, remedy="Store one column of numbers, one a frame.", source="data.flux")
    return table.values[:, columns[0]], str(path)


def checked_flux(values: NDArray[Any], where: str, stored: int, frames: NDArray[np.int64]) -> NDArray[np.float64]:
    """The values of the frames that are used, over their mean: (k,).

    Args:
        values: of all frames of the file, or of those that are used.
        where: they are, for messages.
        stored: how many frames the file has.
        frames: (k,), numbers of those that are used.

    Raises:
        DataError: it is no number above zero for each frame.
    """
    from ptycho_core.scan.scan import relative_flux

    if values.ndim != 1 or len(values) not in (stored, len(frames)) or values.dtype.kind not in "iuf":
        raise DataError(
            f"{where} has shape {values.shape} and type {values.dtype}; the flux is one number for each of {stored} frames.",
            source="data.flux",
        )
    own = values[frames] if len(values) == stored else values
    bad = ~(np.isfinite(own) & (own > 0))
    if bad.any():
        place = int(np.argmax(bad))
        raise DataError(
            f"{where} holds {own[place]:g} for frame {frames[place]}; the flux must be above zero.",
            remedy="Leave frames without a beam out with --frames.", source="data.flux",
        )  # fmt: skip
    return relative_flux(own)
