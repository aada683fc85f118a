"""An HDF5 file that appears whole or not at all.

HDF5 cannot close a file that it cannot write: it ends the process. So it writes to memory, or to a file that never tells it of an
error but keeps the first one for us.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import h5py

from ptycho_core.files.whole import replace_file, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ptycho_core.formats.contents import PatternStream
    from ptycho_core.scan.scan import Steps

__all__ = ["IN_MEMORY", "put_patterns", "stream_hdf5", "write_hdf5"]

IN_MEMORY: Final = 1 << 30
"""Most bytes of arrays whose file is made in memory."""


def write_hdf5(path: Path, fill: Callable[[Any], None], *, size: int, ready: Callable[[], None] | None = None) -> None:
    """Write an HDF5 file in one step.

    Args:
        path: file to make; an existing one is replaced.
        fill: opens a binary file of Python's with ``h5py.File(…, "w")``, fills and closes it.
        size: bytes of the arrays that it will hold.
        ready: called when the new file is on the disk, just before it takes its name.

    Raises:
        OutputError: the file cannot be written; what was there before is untouched.
    """
    if size > IN_MEMORY:
        stream_hdf5(path, fill, ready=ready)
        return
    image = io.BytesIO()
    fill(image)
    write_whole(path, image.getbuffer(), ready)


def stream_hdf5(path: Path, fill: Callable[[Any], None], *, ready: Callable[[], None] | None = None) -> None:
    """Write an HDF5 file of any size in one step, never whole in memory; arguments and errors are those of `write_hdf5`."""
    replace_file(path, lambda temporary: _fill_on_disk(temporary, fill), ready)


def put_patterns(group: h5py.Group, key: str, stream: PatternStream, progress: Steps | None = None) -> h5py.Dataset:
    """Store patterns (frame, N, N) piece by piece, as they are, so that they can be read so too."""
    data = group.create_dataset(key, stream.shape, stream.dtype)
    for frames, values in stream.pieces(progress):
        data[frames] = values
    return data


def _fill_on_disk(path: Path, fill: Callable[[Any], None]) -> None:
    """Fill a file on the disk.

    Raises:
        OSError: it could not be written, or what was written cannot be read.
    """
    with _Silent(path) as storage:
        try:
            fill(storage)
        except Exception as error:  # whatever HDF5 makes of a file that does not hold what was written
            raise (storage.error or error) from error
    if storage.error is not None:
        raise storage.error
    with h5py.File(path, "r"):  # refuses a file that is shorter than it should be
        pass


class _Silent(io.FileIO):
    """A file whose writing does not fail.

    Attributes:
        error: the first failure; the file is then of no use.
    """

    error: OSError | None = None

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")

    def write(self, data: Any) -> int:  # noqa: ANN401 - any buffer
        """Write all of it, or keep why not."""
        left = memoryview(data).cast("B")
        whole = len(left)
        while len(left) and self.error is None:
            try:
                left = left[super().write(left) :]
            except OSError as error:
                self.error = error
        return whole

    def truncate(self, size: int | None = None) -> int:
        """Set the size, or keep why not."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def flush(self) -> None:
        """Nothing is held back."""
