"""What a scan format has to provide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ptycho_core.formats.opening import ScanFile
    from ptycho_core.scan.scan import Scan
    from ptycho_core.settings.data import DataSettings

__all__ = ["Reader"]


class Reader(Protocol):
    """Reads scans of one format."""

    name: str
    """The format's name, as ``Scan.format`` and ``ptycho inspect`` give it."""

    def matches(self, opened: ScanFile) -> bool:
        """Whether the content of the file, not its name, says that it is of this format. Never raises for a strange file."""

    def read(self, opened: ScanFile, settings: DataSettings) -> Scan:
        """Open the scan without reading its patterns.

        Raises:
            DataError: the file cannot be used; the message names file, key and shape.
        """
