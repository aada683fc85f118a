"""Opens a scan of any format that is installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ptycho_core.errors import DataError, SettingsError
from ptycho_core.formats.source import SAMPLE_PREFIX, ScanFile, Source, scan_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_core.formats.interface import Evidence, RawScan, ScanFormat
    from ptycho_core.scan.scan import Scan
    from ptycho_core.settings.data import DataSettings

__all__ = [
    "MODEL_SUFFIX",
    "SAMPLE_PREFIX",
    "Opened",
    "Recognized",
    "ScanFile",
    "open_scan",
    "opened",
    "recognized",
    "scan_path",
    "source_of",
    "stated",
]

MODEL_SUFFIX: Final = ".ptycho"
LAYOUT_SUFFIX: Final = ".toml"
"""Of a layout, which is given in place of the name of a format."""


class Opened(NamedTuple):
    """An opened scan, and how it was read.

    Attributes:
        scan: as `open_scan` returns it.
        form: the format that read it.
        evidence: why.
        used: keys of the main file that were used.
        aside: keys of the main file that were not, the first of them.
        files: further files that were used.
    """

    scan: Scan
    form: ScanFormat
    evidence: Evidence
    used: tuple[str, ...]
    aside: tuple[str, ...]
    files: tuple[Path, ...]


class Recognized(NamedTuple):
    """The format that reads a source, and why."""

    format: ScanFormat
    evidence: Evidence


def open_scan(path: str | Path | ScanFile, settings: Mapping[str, Any] | object | None = None) -> Scan:
    """Open a scan; its patterns are read when they are asked for.

    Args:
        path: a file of a known format, recognised by its content, or ``sample:siemens-star``, the measured scan that comes with
            ptycho; or a file that is open already.
        settings: the *data* settings, as a mapping or an object with these names; ``docs/reference/settings.md`` lists them.

    Returns:
        The scan, in the conventions of ``ptycho_core.scan.scan.Scan``.

    Raises:
        DataError: the file cannot be used; the message names file, key and shape.
        SettingsError: a setting is unknown, or of a wrong type or range.
    """
    return opened(path, settings).scan


def opened(path: str | Path | ScanFile, settings: Mapping[str, Any] | object | None = None) -> Opened:
    """Open a scan and say how it was read; arguments and errors are those of `open_scan`."""
    from ptycho_core.formats.assembly import scan_of
    from ptycho_core.scan.binning import with_bin
    from ptycho_core.scan.margin import with_margin
    from ptycho_core.scan.size import with_size
    from ptycho_core.settings.data import data_settings

    asked, file = data_settings(settings), path if isinstance(path, ScanFile) else ScanFile(path)
    place = file.path
    file.check()
    source = source_of(file, asked)
    form, evidence = recognized(source, asked.format)
    raw = _read(form, source)
    scan = scan_of(raw, place, form.title, asked)
    scan = scan if asked.size is None else with_size(scan, asked.size * asked.bin)
    scan = with_margin(with_bin(scan, asked.bin), asked.margin)
    scan = _with_probe(scan, asked)
    used = source.used(raw.used)
    return Opened(scan, form, evidence, used, source.left_aside(used), tuple(source.taken))


def source_of(file: ScanFile, asked: DataSettings) -> Source:
    """A file with what the user says of it."""
    from ptycho_core.settings.data import positions_file

    place, columns = (None, ()) if asked.positions is None else positions_file(asked.positions)
    return Source(file, asked.frame_axis, place, columns, (asked.dataset or "").strip("/"))


def recognized(source: Source, name: str = "auto") -> Recognized:
    """The format of a source: the one that is named, else the one that is surest.

    Raises:
        DataError: no format is, or several are equally sure.
        SettingsError: there is no format of that name, or the layout that is named cannot be used.
    """
    from ptycho_core.formats.interface import Evidence, Strength
    from ptycho_core.formats.registry import format_named

    if name.lower().endswith(LAYOUT_SUFFIX):
        from ptycho_core.formats.layout import described

        return Recognized(described(Path(name))(), Evidence(Strength.STATED, "is read so, as the settings state"))
    if name != "auto":
        return Recognized(format_named(name), Evidence(Strength.STATED, "is read so, as the settings state"))
    found = candidates(source)
    if not found:
        raise _unknown(source)
    best = [one for one in found if one.evidence.strength == found[0].evidence.strength]
    if len(best) > 1:
        listed = "; ".join(f"{one.format.name}: it {one.evidence.reason}" for one in best)
        raise DataError(
            f"{source.path} could be read as several formats. {listed}.", remedy=f"Choose with --format {best[0].format.name}."
        )
    return best[0]


def candidates(source: Source) -> list[Recognized]:
    """The formats that take a source for one of theirs, the surest first."""
    from ptycho_core.formats.registry import usable_formats

    found = []
    for form in usable_formats():
        try:
            evidence = form.recognize(source)
        except Exception:  # noqa: BLE001 - a format of a third party can raise anything, and must hide no other
            evidence = None
        if evidence is not None:
            found.append(Recognized(form, evidence))
    return sorted(found, key=lambda one: -one.evidence.strength)


def stated(file: ScanFile, asked: DataSettings) -> dict[str, tuple[float | int, str]]:
    """N and the numbers that a scan states, but for the object's pixel, by setting, each with its place; no frame is read.

    Nothing where the file is of no format that is known. A value that is not positive is left out.

    Raises:
        DataError: the file does not exist or is damaged.
    """
    from ptycho_core.formats.assembly import square_size
    from ptycho_core.formats.interface import FREQUENCY_STEP, PIXEL_WIDTH

    source = source_of(file, asked)
    place = source.path
    if asked.format == "auto" and not candidates(source):
        return _of_no_format(source)
    form = recognized(source, asked.format).format
    found = form.facts(source)
    if found is None:
        raw = _read(form, source)
        # The pixel of the object is no fact: it changes with N, and the file must not overrule itself.
        aside = ("object_pixel_m", FREQUENCY_STEP, PIXEL_WIDTH)
        found = {name: one for name, one in raw.stated.items() if 0 < one.value < float("inf") and name not in aside}
        size = square_size(raw, asked)
        entries: dict[str, tuple[float | int, str]] = {"size": (max(size // asked.bin, 1), f"{place}: {raw.key}")}
    else:
        entries = {}
    for name, one in found.items():
        if name == PIXEL_WIDTH:
            continue  # it goes with the pitch from row to row, and is no setting
        entries[name] = (max(int(one.value) // asked.bin, 1) if name == "size" else float(one.value), f"{place}: {one.key}")
    return entries


def _of_no_format(source: Source) -> dict[str, tuple[float | int, str]]:
    """The numbers that an archive states, though it holds no scan that is known."""
    from ptycho_core.formats.kinds import ZIP
    from ptycho_core.formats.npz_scan import npz_facts

    found = npz_facts(source.file.archive, ()) if source.kind == ZIP else {}
    return {name: (float(one.value), f"{source.path}: {one.key}") for name, one in found.items()}


def _read(form: ScanFormat, source: Source) -> RawScan:
    """What a format reads, with the positions that the user gives, or those of a table that lies next to it."""
    from ptycho_core.formats.guard import guarded
    from ptycho_core.formats.position_file import table_beside, with_positions

    with guarded(f"{source.path}: its content, by format '{form.name}',"):  # a format of a third party can raise anything
        raw = form.read(source)
    _check_dataset(form, source, raw)
    if source.positions is None and raw.positions is None and (table := table_beside(source)) is not None:
        return with_positions(raw, source, table, "which lies next to it")
    if source.positions is None or source.positions in source.taken:
        return raw
    return with_positions(raw, source, source.positions, "as the settings state")


def _check_dataset(form: ScanFormat, source: Source, raw: RawScan) -> None:
    """Refuse a key that the user names and the format does not read."""
    key = raw.key.partition("'")[2].partition("'")[0].strip("/")
    if source.dataset and source.dataset not in (key, key.rpartition("/")[0]):
        raise SettingsError(
            f"{source.path}: as {form.title} the frames are {raw.key}, not those of '{source.dataset:.80}'.",
            source="data.dataset", remedy="Leave out --dataset, or give a layout with --format FILE.toml.",
        )  # fmt: skip


def _unknown(source: Source) -> DataError:
    """The error for a file that no format takes."""
    from ptycho_core.formats.kinds import HDF5, LISTED, ZIP, another_kind

    place = source.path
    if place.suffix == MODEL_SUFFIX:
        return DataError(f"{place} is a model, not a scan.", remedy="Give the scan as SCAN and the model with --model.")
    if source.kind == ZIP:
        names = source.file.archive.names  # says what is wrong with a damaged archive
        return DataError(
            f"{place} holds no scan in a known layout: it has {names}, but neither 'intensity' with 'positions_px' nor"
            " 'diffraction' with 'xcoords' and 'ycoords'.",
            remedy="'ptycho formats' lists what is read, with what it is recognized by.",
        )
    if source.kind == HDF5:
        names = _names(source)
        return DataError(
            f"{place} holds no scan in a known layout: it is HDF5 with {names}.",
            remedy="'ptycho formats' lists what is read; docs/your-data.md says how to describe another layout.",
        )
    if source.kind == "folder":
        return DataError(f"{place} is a folder that holds no scan in a known layout.", remedy=LISTED)
    return another_kind(place, "is not an npz file, nor of another format of scans")


def _names(source: Source) -> str:
    """What an HDF5 file holds, for a message.

    Raises:
        DataError: it is damaged.
    """
    try:
        return ", ".join(f"'{name:.40}'" for name in source.hdf5.names("/")[:12]) or "nothing"
    except DataError as error:
        raise DataError(
            f"{source.path} is not to be read: it holds HDF5 that is damaged.", remedy="Copy or download it again."
        ) from error


def _with_probe(scan: Scan, asked: DataSettings) -> Scan:
    """The scan with the probe that the settings state, of no known scale; without one where the patterns must be asked."""
    from dataclasses import replace

    from ptycho_core.scan.made_probe import known_probe
    from ptycho_core.settings.data import made_probe

    made = None if asked.probe is None else made_probe(asked.probe)
    if asked.probe_defocus is not None and made is None and (scan.probe is not None or asked.probe is not None):
        where = scan.source if asked.probe is None else asked.probe
        raise SettingsError(
            f"probe_defocus = {asked.probe_defocus} acts on a probe that is made, and {where} holds one.",
            remedy="Give --probe auto, or leave it out.", source="data.probe_defocus",
        )  # fmt: skip
    if asked.probe is None:
        return scan
    if made is None:
        return _with_probe_of(scan, Path(asked.probe))
    notes = (*scan.notes, f"Probe: {asked.probe}, as the settings state.")
    return replace(scan, probe=known_probe(scan, asked.probe, asked.probe_defocus), probe_scaled=False, notes=notes)


def _with_probe_of(scan: Scan, path: Path) -> Scan:
    """The scan with the probe out of a file."""
    from dataclasses import replace

    from ptycho_core.formats.product import read_probe
    from ptycho_core.scan.binning import probe_for

    notes = [f"Probe: that of {path}, as the settings state."]
    probe = probe_for(scan, read_probe(path, notes))
    if probe.shape[1:] != scan.mask.shape:
        found = f"{probe.shape[1]} x {probe.shape[2]}"
        raise DataError(f"{path}: the probe is {found} pixels, the patterns of {scan.source} are {scan.size} x {scan.size}.")
    return replace(scan, probe=probe, probe_scaled=False, notes=(*scan.notes, *notes))
