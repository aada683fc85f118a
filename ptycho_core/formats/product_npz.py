"""The NumPy side of files with objects: an npz by its keys, an npy as the one array that it holds."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.formats.npz import read_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["NpzReader"]


class NpzReader:
    """Reads one archive, array by array; every complaint names the file, the key and the shape.

    Args:
        path: the file.
        plain: what the array is called that an ``.npy`` holds.

    Raises:
        DataError: it is neither npz nor npy, or damaged.
    """

    def __init__(self, path: Path, plain: str) -> None:
        self.path = path
        self._archive: Any = None
        self._array: dict[str, NDArray[Any]] = {}
        with self._guarded(""):
            file = path.open("rb")
            try:  # np.load itself leaves a damaged archive open
                loaded = np.load(file, allow_pickle=False)
            except BaseException:
                file.close()
                raise
            if isinstance(loaded, np.ndarray):
                file.close()
                self._array = {plain: loaded}
            else:
                self._archive, self._file = loaded, file

    def __enter__(self) -> Self:
        """The reader itself; leaving closes the file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self._archive is not None:
            self._archive.close()
            self._file.close()

    def __contains__(self, key: str) -> bool:
        """Whether the file has an array of that name."""
        return key in self._array or (self._archive is not None and key in self._archive.files)

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of an array, whose values are not read."""
        with self._guarded(key), self._archive.zip.open(f"{key}.npy") as member:
            return read_header(member).shape

    def array(self, key: str, dimensions: Iterable[int]) -> NDArray[Any]:
        """The numeric array ``key``, which must have one of the numbers of dimensions.

        Raises:
            DataError: no numbers, another number of dimensions, values that are not finite, or a damaged file.
        """
        with self._guarded(key):
            values: NDArray[Any] = self._array[key] if key in self._array else self._archive[key]
            if not isinstance(values, np.ndarray):
                raise DataError(f"{self.path}: '{key}' is no array.")
        if values.dtype.kind not in "iufcb":
            raise DataError(f"{self.path}: '{key}' is of type {values.dtype}, not numbers.")
        if values.ndim not in (allowed := tuple(dimensions)):
            wanted = " or ".join(str(number) for number in allowed)
            raise DataError(f"{self.path}: '{key}' has shape {values.shape}; {wanted} dimensions are expected.")
        if not np.isfinite(values).all():
            raise DataError(f"{self.path}: '{key}' of shape {values.shape} holds values that are not finite.")
        return values

    def number(self, key: str) -> float | None:
        """A real number, None if there is no such key.

        Raises:
            DataError: it is something else.
        """
        if key not in self:
            return None
        values = self.array(key, [0, 1])
        if values.size != 1 or np.iscomplexobj(values):
            raise DataError(f"{self.path}: '{key}' must be one number; it has shape {values.shape} and type {values.dtype}.")
        return float(values.reshape(()))

    @contextmanager
    def _guarded(self, key: str) -> Iterator[None]:
        """Whatever a damaged file makes NumPy and zipfile raise is one sentence."""
        try:
            yield
        except DataError:
            raise
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            what = f"{self.path}: '{key}'" if key else f"{self.path}"
            raise DataError(f"{what} cannot be read as npz or npy: {reason}.") from error
