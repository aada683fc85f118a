"""Comparing existing results of any origin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ptycho_core.comparison.entry import FAILED, Comparison, Entry
from ptycho_core.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ptycho_core.comparison.scoring import Scoring
    from ptycho_core.formats.product import StoredObject
    from ptycho_core.scan.scan import Scan

__all__ = ["compare_results"]


def compare_results(
    results: Sequence[str | Path],
    folder: str | Path,
    *,
    scan: str | Path | None = None,
    reference: str | Path | None = None,
    overwrite: bool = False,
) -> Comparison:
    """Compare results with a reference, or with the first of them.

    Args:
        results: result folders, or files that ``read_object`` reads: ``reconstruction.h5``, an npz of PtychoPINN, and others.
        folder: for ``comparison.json`` and ``comparison.png``.
        scan: path of the scan that they were made from: for the data misfit, and for its truth, if it holds one.
        reference: file with the true object.
        overwrite: whether what is in ``folder`` may be replaced.

    Raises:
        UsageError: there is nothing to compare.
        DataError: scan, reference, or the first result cannot be used. Another one that cannot be is an entry that says so.
        OutputError: the folder cannot be used.
    """
    from ptycho_core.comparison.report import FIGURE, TABLE, write_comparison
    from ptycho_core.comparison.scoring import find_reference
    from ptycho_core.files.folder import claimed_folder
    from ptycho_core.files.old import OldFiles
    from ptycho_core.files.place import check_apart
    from ptycho_core.formats.opening import open_scan, scan_path

    places = [Path(one) for one in results]
    if len(places) + (reference is not None or scan is not None) < 2:
        raise UsageError("there is nothing to compare with.", remedy="Name several results, or a reference.")
    opened = None if scan is None else open_scan(scan)
    scoring = find_reference(None if scan is None else scan_path(scan), None if reference is None else Path(reference))
    if len(places) < 2 and scoring.reference is None:
        raise UsageError(f"{scan} holds no truth to compare one result with.", remedy="Name several results, or a reference.")
    target = Path(folder)
    check_apart([target / TABLE, target / FIGURE], [*places, scan, reference])
    with claimed_folder(target, overwrite=overwrite):
        named = zip(_names(places), places, strict=True)
        entries = tuple(_entry(name, place, opened, scoring) for name, place in named)
        if all(entry.state == FAILED for entry in entries):
            raise DataError(f"none of the results can be used. {entries[0].reason}")
        job = {"job": "reconstructions", "scan": None if scan is None else str(scan)}
        found = Comparison(entries, scoring.label, scoring.first, job, target)
        notes = write_comparison(found, scoring, OldFiles([target / FIGURE]).remove)
    return replace(found, notes=tuple(notes))


def _entry(name: str, place: Path, scan: Scan | None, scoring: Scoring) -> Entry:
    from ptycho_core.formats.product import read_object

    try:
        result = read_object(place)
        quality, agreement = scoring.add(name, result)
    except DataError as error:
        return Entry(name, FAILED, str(error), place)
    misfit, why = (None, "") if scan is None else _misfit(result, place, scan)
    return Entry(name, reason=why, place=place, misfit=misfit, quality=quality, agreement=agreement)


def _misfit(result: StoredObject, place: Path, scan: Scan) -> tuple[float | None, str]:
    """The data misfit R of a result, or why there is none."""
    from ptycho_core.formats.product import load_reconstruction
    from ptycho_core.imaging.metrics import data_misfit
    from ptycho_core.reconstruction.start import common_factor
    from ptycho_core.scan.selection import with_frames

    if result.probe is None or result.positions is None:
        return None, f"no R: it has no {'positions' if result.positions is None else 'probe'}"
    if result.frames is not None and result.frames[0] >= 0 and result.frames[-1] < len(scan):
        scan = with_frames(scan, result.frames)
    if len(result.positions) != len(scan.positions):
        return None, f"no R: it has {len(result.positions)} frames, the scan {len(scan.positions)}"
    if result.probe.shape[-1] != scan.size:
        return None, f"no R: its windows have {result.probe.shape[-1]} pixels, the patterns {scan.size}"
    probe, background, flux = result.probe, None, None
    try:
        if result.origin is None:  # only our own file states one; another's object and probe share a scale that is not known
            probe = probe * common_factor(scan, result.object, probe, result.positions)
        else:
            own = load_reconstruction(place)
            background, flux = own.background, own.flux
        return data_misfit(scan, result.object, probe, result.positions, background=background, flux=flux), ""
    except DataError as error:
        return None, f"no R: {error.message}"


def _names(places: Sequence[Path]) -> list[str]:
    """What tells the results from each other: file or folder names, with their folders where these are alike."""
    from ptycho_core.formats.product import FILE_NAME

    short = [place.parent if place.name == FILE_NAME and place.parent.name else place for place in places]
    for length in range(1, max(len(place.parts) for place in short) + 1):
        names = [str(Path(*place.parts[-length:])) for place in short]
        if len(set(names)) == len(names):
            return names
    return [f"{number} {place}" for number, place in enumerate(short, 1)]
