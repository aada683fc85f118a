"""One job at a time in a folder: a lock that goes with the process, and a record of who holds it.

The operating system's lock (``flock``) ends with the process that holds it, however that ends. The record in the file tells a
second job whom it would disturb, and decides where a file system has no locks.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from ptycho_core.errors import OutputError
from ptycho_core.files.whole import why

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["LOCK", "FolderLock", "check_unlocked"]

LOCK: Final = ".ptycho.lock"
"""Name of the file, which is there while a job runs; after one that was killed it is left, and means nothing."""

_ATTEMPTS: Final = 20
_here: set[tuple[int, int]] = set()
"""Folders, by device and number, that jobs of this process hold: some file systems lock for a process, not for a thread."""
_guard = threading.Lock()


class FolderLock:
    """Holds a folder from the call to the end of the ``with`` block.

    Args:
        folder: must exist.

    Raises:
        OutputError: another job holds it, or it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / LOCK
        try:
            found = folder.stat()
            self._identity = found.st_dev, found.st_ino
            self._descriptor = self._acquired()
        except OSError as error:
            raise OutputError(f"The output folder {folder} cannot be written: {why(error)}.") from error

    def __enter__(self) -> Self:
        """The lock itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Let the folder go, and remove the file while no other process can hold it."""
        try:
            if self.held:
                self._path.unlink(missing_ok=True)
        except OSError:  # a place that has become unwritable keeps a file that means nothing
            pass
        finally:
            os.close(self._descriptor)
            with _guard:
                _here.discard(self._identity)

    @property
    def held(self) -> bool:
        """Whether the folder is still the one that was locked: it may have been removed, and made anew by another job."""
        try:
            found = self._folder.stat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity and (
            _is_at(self._descriptor, self._path) or not self._path.exists()
        )

    def _acquired(self) -> int:
        """The descriptor of the locked file, with this process's record in it."""
        with _guard:
            if self._identity in _here:
                raise _in_use(self._folder, _Holder(os.getpid(), socket.gethostname(), ""))
            descriptor = _open_locked(self._folder, self._path)
            _here.add(self._identity)
        try:
            record = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(record).encode(), 0)
        except OSError:
            self._path.unlink(missing_ok=True)
            os.close(descriptor)
            with _guard:
                _here.discard(self._identity)
            raise
        return descriptor


def check_unlocked(folder: Path) -> None:
    """Refuse a folder that a job holds; makes and changes nothing.

    Raises:
        OutputError: another job holds it.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        holder, free = _Holder.read(descriptor), _lock(descriptor)
        if free is False or (holder is not None and not holder.gone(locked=free)):
            raise _in_use(folder, holder)
    finally:
        os.close(descriptor)


class _Holder(NamedTuple):
    """The process that a record names, and since when."""

    pid: int
    host: str
    since: str

    @classmethod
    def read(cls, descriptor: int) -> _Holder | None:
        """Of a lock file; None if it holds no record."""
        try:
            found: Any = json.loads(os.pread(descriptor, 4096, 0))
            return cls(int(found["pid"]), str(found["host"]), str(found.get("since", "")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @property
    def here(self) -> bool:
        """Whether it is, or was, a process of this machine."""
        return self.host == socket.gethostname()

    def gone(self, *, locked: bool | None) -> bool:
        """Whether it has ended for certain: this process has the system's lock (None: there are no locks), and it is of here."""
        return self.here and (locked is True or not _alive(self.pid))


def _open_locked(folder: Path, path: Path) -> int:
    """Make the file or take over a stale one, locked."""
    for _ in range(_ATTEMPTS):
        try:
            descriptor, made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), True
        except FileExistsError:
            try:
                descriptor, made = os.open(path, os.O_RDWR | os.O_CLOEXEC), False
            except FileNotFoundError:  # its holder has just ended
                continue
        try:
            free, holder = _lock(descriptor), _Holder.read(descriptor)
            if free is False or not (made or _stale(holder, locked=free)):
                raise _in_use(folder, holder)
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder took it away in between
    raise _in_use(folder, None)


def _stale(holder: _Holder | None, *, locked: bool | None) -> bool:
    return locked is True if holder is None else holder.gone(locked=locked)


def _lock(descriptor: int) -> bool | None:
    """Whether this descriptor has the file's lock now; None where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's, or no number of a process
        return True
    return True


def _in_use(folder: Path, holder: _Holder | None) -> OutputError:
    if holder is None:
        return OutputError(
            f"The output folder {folder} is in use by another job.", remedy="Wait for it, or choose another folder."
        )
    since = f", since {holder.since}" if holder.since else ""
    message = f"The output folder {folder} is in use by process {holder.pid} on {holder.host}{since}."
    if holder.here:
        return OutputError(message, remedy="Wait for it, or choose another folder.")
    remedy = f"Wait for it, or choose another folder; if it has ended, delete {folder / LOCK}."
    return OutputError(message, remedy=remedy)
