"""The zip archive around a model: only known members, stored as they are, nothing taken out to disk.

The text that binds is ``specs/model-file.md``.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, Self

from ptycho_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["LARGEST", "MANIFEST", "OPTIMIZER", "STATE", "WEIGHTS", "Archive", "write_archive"]

MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "weights.safetensors"
STATE: Final = "training/state.json"
OPTIMIZER: Final = "training/optimizer.safetensors"

LARGEST: Final[dict[str, int]] = {MANIFEST: 64 << 20, WEIGHTS: 4 << 30, STATE: 64 << 20, OPTIMIZER: 16 << 30}
"""The members a model file may have, and the most bytes that each may declare."""

_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, NotImplementedError, RuntimeError, OSError,
)  # fmt: skip
_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
_SEALED = "ptycho model, manifest sha256 "
_ENCRYPTED = 0x1


class Archive:
    """A model file opened for reading; leaving the ``with`` block closes it.

    Args:
        path: the file; its directory is read here.

    Raises:
        DataError: it cannot be read, is no zip archive, is cut off or damaged, or has no manifest.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file_size = _size_of_zip(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGE as error:
            raise DataError(f"{path} is cut off or damaged: {error}.", remedy="Copy it again.") from error
        self._infos = self._zip.infolist()
        if MANIFEST not in self.members:
            self._zip.close()
            held = ", ".join(repr(name) for name in self.members[:5]) + (", …" if len(self.members) > 5 else "")
            raise DataError(f"{path} is a zip archive but no ptycho model: it has no {MANIFEST}; it holds {held or 'nothing'}.")

    def __enter__(self) -> Self:
        """The archive itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._zip.close()

    @property
    def members(self) -> list[str]:
        """Names of the members, in the order of the archive's directory."""
        return [info.filename for info in self._infos]

    def check_members(self) -> None:
        """Refuse every member that a model file cannot have.

        Raises:
            DataError: a member leaves the archive, is not known, or half of the training folder is missing.
        """
        for name in self.members:
            steps = PurePosixPath(name.replace("\\", "/"))
            if steps.is_absolute() or ".." in steps.parts or ":" in name:
                raise DataError(f"{self.path}: member {name!r} has a path that leaves the archive.")
            if name not in LARGEST:
                raise DataError(f"{self.path}: member {name!r} does not belong in a model file; known are {', '.join(LARGEST)}.")
        if WEIGHTS not in self.members:
            raise DataError(f"{self.path} has no member '{WEIGHTS}'; it holds {', '.join(self.members)}.")
        if (STATE in self.members) != (OPTIMIZER in self.members):
            here, lacking = (STATE, OPTIMIZER) if STATE in self.members else (OPTIMIZER, STATE)
            raise DataError(f"{self.path} has '{here}' but no '{lacking}'; a checkpoint has both.")
        for name in self.members:
            self._info(name)

    def check_seal(self, manifest: bytes) -> None:
        """Refuse a manifest whose sha256 is not the one in the archive's comment.

        Raises:
            DataError: they differ.
        """
        said, found = self._zip.comment.decode("utf-8", "replace"), _seal(manifest)
        if said == found:
            return
        if found.startswith(said):
            raise DataError(f"{self.path} is cut off or damaged: its comment ends after '{said}', it should be '{found}'.")
        raise DataError(f"{self.path}: {MANIFEST} was changed: the archive's comment is {said[:120]!r}, it should be '{found}'.")

    def check_room(self, name: str, needed: int) -> None:
        """Refuse a member that is too short for the tensors it should hold, before it is read.

        Raises:
            DataError: it has fewer than ``needed`` bytes.
        """
        if (there := self._info(name).file_size) < needed:
            raise DataError(f"{self.path}: member '{name}' has {there} bytes; the shapes of its tensors need {needed}.")

    def read(self, name: str, sha256: str | None = None) -> bytes:
        """The bytes of a member, whole.

        Args:
            name: of the member, which must be there.
            sha256: what the manifest says of it; None for the manifest itself.

        Raises:
            DataError: it is there twice, encrypted, compressed, larger than allowed, damaged, or not what ``sha256`` says.
        """
        info = self._info(name)
        try:
            with self._zip.open(info) as member:
                data = member.read()
        except _DAMAGE as error:
            raise DataError(f"{self.path}: member '{name}' is damaged: {error}.", remedy="Copy the file again.") from error
        if len(data) != info.file_size:
            raise DataError(f"{self.path}: member '{name}' declares {info.file_size} bytes but has {len(data)}.")
        if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256:
            raise DataError(f"{self.path}: member '{name}' was changed: its sha256 is {found}, the manifest says {sha256}.")
        return data

    def _info(self, name: str) -> zipfile.ZipInfo:
        """What the directory says of a member, checked before a byte of it is read."""
        same = [info for info in self._infos if info.filename == name]
        where = f"{self.path}: member '{name}'"
        if len(same) > 1:
            raise DataError(f"{where} is there {len(same)} times.")
        info = same[0]
        if info.flag_bits & _ENCRYPTED:
            raise DataError(f"{where} is encrypted; a model file is not.")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise DataError(f"{where} is compressed ({info.compress_size} for {info.file_size} bytes); a model file is stored.")
        most = min(LARGEST[name], self._file_size - info.header_offset)
        if info.file_size > most:
            raise DataError(f"{where} declares {info.file_size} bytes; at most {most} are possible in this file.")
        return info


def write_archive(path: Path, members: Mapping[str, bytes]) -> None:
    """Write members, stored, without times, so that the same content gives the same bytes; the manifest's hash is the comment.

    Args:
        path: file to make; see ``replace_file`` for doing so in one step.
        members: content by name, in the order of writing; ``manifest.json`` must be there.

    Raises:
        DataError: a member is larger than a reader accepts.
    """
    for name, data in members.items():
        if len(data) > LARGEST[name]:
            raise DataError(f"Member '{name}' of a model file would have {len(data)} bytes; at most {LARGEST[name]} are read.")
    with path.open("wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, data)
        archive.comment = _seal(members[MANIFEST]).encode()


def _seal(manifest: bytes) -> str:
    return _SEALED + hashlib.sha256(manifest).hexdigest()


def _size_of_zip(path: Path) -> int:
    try:
        with path.open("rb") as file:
            start = file.read(4)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if start not in _STARTS:
        raise DataError(f"{path} is no ptycho model file: it is not a zip archive.")
    return size
