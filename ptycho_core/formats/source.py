"""Where a scan lies: a file or folder, opened once by a job, and the files that belong to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ptycho_core.errors import DataError, did_you_mean
from ptycho_core.files.plain import why_not_plain

if TYPE_CHECKING:
    from ptycho_core.formats.hdf5_source import Hdf5Source
    from ptycho_core.formats.npz import NpzFile

__all__ = ["SAMPLE_PREFIX", "ScanFile", "Source", "scan_path"]

SAMPLE_PREFIX: Final = "sample:"
_MOST_KEYS: Final = 64


class ScanFile:
    """A scan's file, which one job opens once: its directory and headers are read when they are first asked for, and kept.

    Args:
        given: its path, or the name of a sample; looked at when it is first used.
    """

    def __init__(self, given: str | Path) -> None:
        self._given = given
        self._states: dict[Path, tuple[int, int, int]] = {}
        self._hdf5: dict[Path, Hdf5Source | None] = {}
        self._npz: dict[Path, NpzFile] = {}

    @cached_property
    def path(self) -> Path:
        """Where it is.

        Raises:
            DataError: as `scan_path`.
        """
        return scan_path(self._given)

    @property
    def archive(self) -> NpzFile:
        """Its arrays.

        Raises:
            DataError: it is no archive, or is cut off or damaged.
        """
        return self.open_npz(self.path)

    @property
    def hdf5(self) -> Hdf5Source | None:
        """Its content as HDF5; None where it is something else.

        Raises:
            DataError: it is damaged.
        """
        return self.open_hdf5(self.path)

    def open_npz(self, path: Path) -> NpzFile:
        """An archive that belongs to the scan; opened once.

        Raises:
            DataError: it is no archive, or is cut off or damaged.
        """
        from ptycho_core.formats.npz import NpzFile

        if path not in self._npz:
            self._states.setdefault(path, _state_of(path))
            self._npz[path] = NpzFile(path)
        return self._npz[path]

    def open_hdf5(self, path: Path) -> Hdf5Source | None:
        """An HDF5 file that belongs to the scan, opened once; None where it is something else.

        Raises:
            DataError: it is damaged.
        """
        from ptycho_core.formats.kinds import is_hdf5

        if path not in self._hdf5:
            if not is_hdf5(path):
                self._hdf5[path] = None
                return None
            from ptycho_core.formats.hdf5_source import Hdf5Source

            self._states.setdefault(path, _state_of(path))
            self._hdf5[path] = Hdf5Source(path)
        return self._hdf5[path]

    def holds_any(self, *names: str) -> bool:
        """Whether it is an archive that can be read and has an array of one of these names."""
        from ptycho_core.formats.npz import is_zip

        if not is_zip(self.path):
            return False
        try:
            return any(name in self.archive for name in names)
        except DataError:
            return False

    def check(self) -> None:
        """Refuse files that are others than when their headers were read: places and shapes would be those of the old ones.

        Raises:
            DataError: one has changed.
        """
        for path, state in self._states.items():
            if _state_of(path) != state:
                raise DataError(f"{path} has changed since this job looked at it.", remedy="Start the job again.")


@dataclass
class Source:
    """What a format looks at: the file or folder of a scan, with what the user says of it.

    Attributes:
        file: the scan's file, which stays open.
        frame_axis: which axis of the stored frames counts them: ``auto``, ``first`` or ``last``.
        positions: the file that ``--positions`` names, or None.
        columns: what follows its name, by which its columns or keys are chosen.
        dataset: the key of the frames, or of the group that holds them, that the user names; empty where none is named.
        taken: the files next to the main one that were used. A format that has read ``positions`` itself adds it here.
    """

    file: ScanFile
    frame_axis: str = "auto"
    positions: Path | None = None
    columns: tuple[str, ...] = ()
    dataset: str = ""
    taken: list[Path] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """The main file, or a folder."""
        return self.file.path

    @cached_property
    def kind(self) -> str:
        """What the main file is, a word of ``formats.kinds``; ``folder`` for a folder, empty where it cannot be read."""
        from ptycho_core.formats.kinds import kind_of

        try:
            return "folder" if self.path.is_dir() else kind_of(self.path)
        except DataError:
            return ""

    @property
    def hdf5(self) -> Hdf5Source:
        """The main file as HDF5.

        Raises:
            DataError: it is something else, or damaged.
        """
        if (found := self.file.hdf5) is None:
            raise DataError(f"{self.path} is no HDF5 file.")
        return found

    def has(self, *keys: str) -> bool:
        """Whether the main file is HDF5 and has something of each of these names. Never raises."""
        try:
            found = self.file.hdf5
        except DataError:
            return False
        return found is not None and found.has(*keys)

    def holds(self, *names: str) -> bool:
        """Whether the main file is an npz archive that has an array of each of these names. Never raises."""
        return all(self.file.holds_any(name) for name in names)

    def beside(self, *names: str) -> Path | None:
        """The first of these names that is a file in the folder of the main file."""
        places = (self.path.parent / name for name in names)
        return next((place for place in places if not why_not_plain(place)), None)

    def used(self, named: tuple[str, ...]) -> tuple[str, ...]:
        """Keys of the main file that were used: those that a format names, and those that it read."""
        from ptycho_core.formats.kinds import HDF5

        read = self.file.hdf5 if self.kind == HDF5 else None
        return tuple(dict.fromkeys((*named, *([] if read is None else read.used))))

    def left_aside(self, used: tuple[str, ...]) -> tuple[str, ...]:
        """Arrays and scalars of the main file that were not used, by key, the first of them; a link is not followed."""
        from ptycho_core.formats.kinds import HDF5, ZIP

        if self.kind == ZIP:
            return tuple(name for name in self.file.archive.headers if name not in used)[:_MOST_KEYS]
        if self.kind != HDF5 or (file := self.file.hdf5) is None:
            return ()
        return tuple(key for key in file.keys(_MOST_KEYS + len(used)) if key not in used)[:_MOST_KEYS]

    def take(self, path: Path) -> Path:
        """Note that a file next to the main one is used, and give it back."""
        if path not in self.taken:
            self.taken.append(path)
        return path

    def companion(self, path: Path) -> Hdf5Source:
        """An HDF5 file that belongs to the scan, opened once, and noted as used.

        Raises:
            DataError: it does not exist, is something else, or is damaged.
        """
        if why := why_not_plain(path):
            raise DataError(f"{path}, which {self.path} needs, {why}.", remedy=f"Put it next to {self.path.name}.")
        if (found := self.file.open_hdf5(self.take(path))) is None:
            raise DataError(f"{path}, which {self.path} needs, is no HDF5 file.")
        return found


def _state_of(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def scan_path(path: str | Path) -> Path:
    """The file or folder that a path or the name of a sample stands for.

    Raises:
        DataError: there is no such sample, or no such file, or it cannot be read.
    """
    text = str(path)
    if text.startswith(SAMPLE_PREFIX):
        from ptycho_core.samples import SAMPLES

        name = text.removeprefix(SAMPLE_PREFIX)
        if name not in SAMPLES:
            raise DataError(f"There is no sample '{name}'.{did_you_mean(name, SAMPLES)}", remedy=f"Known: {', '.join(SAMPLES)}.")
        return SAMPLES[name]()
    place = Path(path)
    try:
        if place.is_dir():
            return place
        if place.exists() and not place.is_file():  # to open a pipe would wait for its other end
            raise DataError(f"{place} is no plain file.")
        with place.open("rb"):
            pass
    except FileNotFoundError:
        raise DataError(f"{place} does not exist.") from None
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # a character that names of files lack here, or that ends them
        raise DataError(f"{text!r} cannot be the name of a file: {error}.") from error
    return place
