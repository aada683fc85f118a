"""What a scan format has to provide, and what the user may state about a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, cast, get_args

from ptycho_core.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from ptycho_core.scan.scan import Scan

__all__ = ["Reader", "Reading", "Signal"]

Signal = Literal["auto", "counts", "amplitude"]
_LARGEST = 16384
FrameAxis = Literal["auto", "first", "last"]


@dataclass(frozen=True)
class Reading:
    """How a file is to be read: the *data* settings. ``auto`` and None leave it to the file."""

    signal: Signal = "auto"
    frame_axis: FrameAxis = "auto"
    photons: float | None = None
    size: int | None = None
    mask: str | None = None
    probe: str | None = None
    photon_energy_ev: float | None = None
    detector_distance_m: float | None = None
    detector_pixel_size_m: float | None = None

    _choices: ClassVar[dict[str, tuple[str, ...]]] = {"signal": get_args(Signal), "frame_axis": get_args(FrameAxis)}

    @classmethod
    def of(cls, settings: Mapping[str, Any] | object | None) -> Reading:
        """From a mapping or an object with these names.

        Raises:
            SettingsError: a key or a word is unknown, or a length or energy is not positive.
        """
        names = [item.name for item in fields(cls)]
        if settings is None:
            return cls()
        if isinstance(settings, Mapping):
            unknown = [str(key) for key in settings if key not in names]
            if unknown:
                raise SettingsError(f"There is no data setting '{unknown[0]}'.{did_you_mean(unknown[0], names)}")
            values = dict(settings)
        else:
            values = {name: getattr(settings, name) for name in names}
        for name, words in cls._choices.items():
            if values.get(name, "auto") not in words:
                raise SettingsError(f"data.{name} is {values[name]!r}; it must be one of {', '.join(words)}.")
        if (size := values.get("size")) is not None and not (isinstance(size, int) and 1 <= size <= _LARGEST):
            raise SettingsError(f"data.size is {size!r}; it must be a whole number from 1 to {_LARGEST}.")
        for name in ("photons", "photon_energy_ev", "detector_distance_m", "detector_pixel_size_m"):
            if (value := values.get(name)) is not None and not 0 < float(value) < float("inf"):
                raise SettingsError(f"data.{name} is {value!r}; it must be a positive number.")
        for name in ("mask", "probe"):
            values[name] = str(values[name]) if values.get(name) else None
        return cls(**cast("dict[str, Any]", values))


class Reader(Protocol):
    """Reads scans of one format."""

    name: str
    """The format's name, as ``Scan.format`` and ``ptycho inspect`` give it."""

    def matches(self, path: Path) -> bool:
        """Whether the content of the file, not its name, says that it is of this format. Never raises for a strange file."""

    def read(self, path: Path, reading: Reading) -> Scan:
        """Open the scan without reading its patterns.

        Raises:
            DataError: the file cannot be used; the message names file, key and shape.
        """
