"""Opens a scan file of any known format."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_core.formats.npz import NpzFile
    from ptycho_core.scan.scan import Scan

__all__ = ["MODEL_SUFFIX", "SAMPLE_PREFIX", "ScanFile", "open_scan", "scan_path"]

MODEL_SUFFIX: Final = ".ptycho"
SAMPLE_PREFIX: Final = "sample:"


class ScanFile:
    """A scan's file, which one job opens once: its directory and headers are read when they are first asked for, and kept.

    Args:
        given: its path, or the name of a sample; looked at when it is first used.
    """

    def __init__(self, given: str | Path) -> None:
        self._given = given

    @cached_property
    def path(self) -> Path:
        """Where it is.

        Raises:
            DataError: as `scan_path`.
        """
        return scan_path(self._given)

    @cached_property
    def archive(self) -> NpzFile:
        """Its arrays.

        Raises:
            DataError: it is no archive, or is cut off or damaged.
        """
        from ptycho_core.formats.npz import NpzFile

        self._state = _state_of(self.path)
        return NpzFile(self.path)

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
        """Refuse a file that is another one than when its headers were read: places and shapes would be those of the old one.

        Raises:
            DataError: it has changed.
        """
        if "archive" in vars(self) and _state_of(self.path) != self._state:
            raise DataError(f"{self.path} has changed since this job looked at it.", remedy="Start the job again.")


def _state_of(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def open_scan(path: str | Path | ScanFile, settings: Mapping[str, Any] | object | None = None) -> Scan:
    """Open a scan; its patterns are read when they are asked for.

    Args:
        path: a file of a known format, recognised by its content, or ``sample:siemens-star``, the measured scan that comes with
            ptycho; or a file that is open already.
        settings: the *data* settings, as a mapping or an object with these names: ``signal`` (auto, counts, amplitude),
            ``frame_axis`` (auto, first, last), ``photons`` (mean counts of a pattern, for which the patterns are read once),
            ``size`` (N to crop or pad to), ``mask`` (file), ``probe`` (file, in place of the scan's own),
            ``photon_energy_ev``, ``detector_distance_m``, ``detector_pixel_size_m``.

    Returns:
        The scan, in the conventions of ``ptycho_core.scan.scan.Scan``.

    Raises:
        DataError: the file cannot be used; the message names file, key and shape.
        SettingsError: a setting is unknown, or of a wrong type or range.
    """
    from ptycho_core.formats.pinn_npz import PinnNpz
    from ptycho_core.formats.plain_npz import PlainNpz
    from ptycho_core.scan.size import with_size
    from ptycho_core.settings.data import data_settings

    asked, file = data_settings(settings), path if isinstance(path, ScanFile) else ScanFile(path)
    place = file.path
    file.check()
    for reader in (PlainNpz(), PinnNpz()):
        if reader.matches(file):
            scan = reader.read(file, asked)
            scan = scan if asked.size is None else with_size(scan, asked.size)
            return scan if asked.probe is None else _with_probe(scan, Path(asked.probe))
    if place.suffix == MODEL_SUFFIX:
        raise DataError(f"{place} is a model, not a scan.", remedy="Give the scan as SCAN and the model with --model.")
    names = file.archive.names  # says what is wrong with a file that is no archive, or a damaged one
    raise DataError(
        f"{place} holds no scan in a known layout: it has {names}, but neither 'intensity' with 'positions_px' nor 'diffraction'"
        " with 'xcoords' and 'ycoords'."
    )


def _with_probe(scan: Scan, path: Path) -> Scan:
    """The scan with the probe out of a file, whose scale is not known to be in counts."""
    from dataclasses import replace

    from ptycho_core.formats.product import read_probe
    from ptycho_core.scan.size import followed_probe

    notes = [f"Probe: that of {path}, as the settings state."]
    probe = followed_probe(read_probe(path, notes), scan.stored_size or scan.size, scan.size)
    if probe.shape[1:] != scan.mask.shape:
        found = f"{probe.shape[1]} x {probe.shape[2]}"
        raise DataError(f"{path}: the probe is {found} pixels, the patterns of {scan.source} are {scan.size} x {scan.size}.")
    return replace(scan, probe=probe, probe_scaled=False, notes=(*scan.notes, *notes))


def scan_path(path: str | Path) -> Path:
    """The file that a path or the name of a sample stands for.

    Raises:
        DataError: there is no such sample, or no such file, or it is a folder.
    """
    text = str(path)
    if text.startswith(SAMPLE_PREFIX):
        from ptycho_core.samples import SAMPLES

        name = text.removeprefix(SAMPLE_PREFIX)
        if name not in SAMPLES:
            raise DataError(f"There is no sample '{name}'.{did_you_mean(name, SAMPLES)}", remedy=f"Known: {', '.join(SAMPLES)}.")
        return SAMPLES[name]()
    place = Path(path)
    if place.is_dir():
        raise DataError(f"{place} is a folder; a scan is one file.")
    if place.exists() and not place.is_file():  # to open a pipe would wait for its other end
        raise DataError(f"{place} is no plain file.")
    try:
        with place.open("rb"):
            pass
    except FileNotFoundError:
        raise DataError(f"{place} does not exist.") from None
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # a character that names of files lack here, or that ends them
        raise DataError(f"{text!r} cannot be the name of a file: {error}.") from error
    return place
