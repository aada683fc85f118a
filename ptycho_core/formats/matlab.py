"""Variables of MATLAB's ``.mat``, version 5 or 7.3 (HDF5), with axes in MATLAB's order: (row, column, …)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.guard import guarded
from ptycho_core.formats.kinds import MATLAB
from ptycho_core.formats.mat5 import Mat5File

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.source import Source

__all__ = ["MatFile", "mat_file"]

_PARTS: Final = frozenset({"real", "imag"})
"""Parts of a complex number as MATLAB 7.3 stores it."""


def mat_file(source: Source) -> MatFile | None:
    """The main file as one of MATLAB; None where it is neither HDF5 nor of version 5.

    Raises:
        DataError: it is damaged.
    """
    if source.kind == MATLAB:
        return _Version5(source.path)
    file = source.file.hdf5
    return None if file is None else _Version73(file)


class MatFile(ABC):
    """Variables by name; a field of a struct is ``struct.field``.

    Attributes:
        path: the file.
    """

    path: Path

    @abstractmethod
    def __contains__(self, name: str) -> bool:
        """Whether there is a variable of that name, or a field."""

    @abstractmethod
    def of_matlab(self, name: str) -> bool:
        """Whether a variable shows that MATLAB's layout is meant: others write HDF5 too."""

    @abstractmethod
    def _values(self, name: str) -> NDArray[Any]:
        """The values of a variable as they are stored, with axes as in MATLAB."""

    def where(self, name: str) -> str:
        """File and variable, for messages."""
        return f"{self.path}: '{name}'"

    def array(self, name: str, dimensions: Iterable[int]) -> NDArray[Any]:
        """Numbers, finite, of one of the numbers of dimensions, with axes as in MATLAB.

        Raises:
            DataError: it is something else.
        """
        values = self._values(name)
        allowed = tuple(dimensions)
        if values.dtype.kind not in "biufc" or values.ndim not in allowed or not values.size:
            wanted = " or ".join(str(number) for number in allowed)
            raise DataError(
                f"{self.where(name)} has shape {values.shape} and type {values.dtype}; numbers of {wanted} dimensions are"
                " expected."
            )
        if not np.isfinite(values).all():
            raise DataError(f"{self.where(name)}, shape {values.shape}, holds values that are not finite.")
        return values


class _Version5(MatFile):
    def __init__(self, path: Path) -> None:
        self.path, self._file = path, Mat5File(path)

    def __contains__(self, name: str) -> bool:
        return name in self._file

    def of_matlab(self, name: str) -> bool:
        return name in self

    def _values(self, name: str) -> NDArray[Any]:
        return self._file.values(name)


class _Version73(MatFile):
    def __init__(self, file: Hdf5Source) -> None:
        self.path, self._file = file.path, file

    def __contains__(self, name: str) -> bool:
        return self._file.has(name.replace(".", "/"))

    def of_matlab(self, name: str) -> bool:
        if name not in self:
            return False
        if self._file.attribute(name, "MATLAB_class") is not None:
            return True
        with guarded(self.where(name)):
            return frozenset(getattr(getattr(self._file.node(name), "dtype", None), "names", None) or ()) == _PARTS

    def _values(self, name: str) -> NDArray[Any]:
        key = name.replace(".", "/")
        with guarded(self.where(name)):
            data = self._file.dataset(key)
            if data.shape is None or math.prod(data.shape) == 0:
                raise DataError(f"{self.where(name)} is empty.")
            values: NDArray[Any] = np.asarray(data[()])
            if values.dtype.names is not None and frozenset(values.dtype.names) == _PARTS:
                values = values["real"] + np.complex64(1j) * values["imag"]
        return values.T
