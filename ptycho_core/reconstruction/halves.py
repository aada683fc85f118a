"""The resolution of a scan: two independent halves of its frames are reconstructed and compared."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.contract import Event
from ptycho_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from ptycho_core.contract import Observer, Value
    from ptycho_core.events import EventHub
    from ptycho_core.formats.product import Reconstruction, StoredObject
    from ptycho_core.imaging.metrics import Score
    from ptycho_core.scan.scan import Scan
    from ptycho_core.settings.payload import ResolutionPayload

__all__ = ["Resolution", "resolution", "run_resolution", "split_in_halves"]

LEAST_FRAMES: Final = 16
"""Frames of a scan whose halves can be reconstructed."""

_FIRST = "stopping after this epoch or iteration; there is nothing to write"


@dataclass(frozen=True, eq=False)
class Resolution:
    """How far two halves of a scan agree.

    Attributes:
        score: the second half compared with the first; its ``frc`` is the Fourier ring correlation.
        frames: number of frames of each half.
        verdicts: of the two reconstructions.
        seconds: that it took.
    """

    score: Score
    frames: tuple[int, int]
    verdicts: tuple[str, str]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For ``resolution.json``: crossings as fractions of Nyquist, half periods in metres where the pixel is known."""
        found = self.score.as_dict()
        kept = {name: value for name, value in found.items() if name.startswith("frc")}
        return {
            **kept,
            "pixel_size_m": self.score.pixel_size_m,
            "frames": list(self.frames),
            "verdicts": list(self.verdicts),
            "registration": found["registration"],
            "seconds": self.seconds,
        }


def resolution(
    scan: str | Path,
    output_dir: str | Path | None = None,
    *,
    config_file: str | Path | None = None,
    overwrite: bool = False,
    observers: Sequence[Observer] = (),
    **settings: Value,
) -> Resolution:
    """Reconstruct two independent halves of a scan's frames and compare them by Fourier ring correlation.

    Of each two frames that follow one another, one goes into each half, drawn with the seed. The halves start from a flat object.
    What both get wrong alike (a wrong probe guess that stays, wrong positions) raises the correlation: it tells how well the
    result repeats.

    Args:
        scan: path of the scan file.
        output_dir: folder for ``resolution.json`` and ``resolution.png``; None writes nothing.
        config_file: settings in TOML.
        overwrite: whether these files may be replaced in a folder that is not empty.
        observers: functions that are called with each ``ptycho_core.contract.Event``.
        settings: any setting of ``reconstruct`` by name, but ``start`` and ``logger``.

    Raises:
        SettingsError: for an unknown or impossible setting, a start, which both halves would share, or a logger.
        BackendUnusableError: if the backend cannot be used.
        CapabilityError: if the backend does not provide what was asked for.
        DataError: if scan or probe cannot be used, or there are too few frames.
        OutputError: if ``output_dir`` cannot be used.
        KeyboardInterrupt: it was asked to stop.
    """
    from ptycho_core.settings.payload import create_resolution_payload

    payload = create_resolution_payload(scan, output_dir, settings, config_file=config_file)
    return run_resolution(payload, overwrite=overwrite, observers=observers)


def run_resolution(payload: ResolutionPayload, *, overwrite: bool = False, observers: Sequence[Observer] = ()) -> Resolution:
    """Run a frozen payload of a reconstruction on each half; see `resolution`."""
    from ptycho_core.events import EventHub, stop_on_interrupt
    from ptycho_core.files.folder import claimed_folder
    from ptycho_core.jobs.observers import installed_observers
    from ptycho_core.settings.files import check_files

    check_files(payload)
    folder, hub = payload.output_dir, EventHub([*observers, *installed_observers()])
    with nullcontext() if folder is None else claimed_folder(folder, overwrite=overwrite), stop_on_interrupt(hub, _FIRST):
        found = _compared(payload, hub)
        if folder is not None:
            _write(folder, found, hub, figures=payload.figures)
    values: dict[str, Value] = {"interrupted": False, "frc_seventh": found.score.frc.crossing(1 / 7)}
    hub.emit(Event("finished", message="both halves compared", values=values, path="" if folder is None else str(folder)))
    return found


def split_in_halves(number: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the frames of two halves of a scan, each (k,), ascending: of each two neighbors one, drawn with ``seed``."""
    import numpy as np

    random = np.random.default_rng([seed, 3])
    firsts = np.arange(0, number - 1, 2) + random.integers(0, 2, number // 2)
    return firsts, np.setdiff1d(np.arange(number), firsts)


def _compared(payload: ResolutionPayload, hub: EventHub) -> Resolution:
    from ptycho_core.imaging.metrics import score
    from ptycho_core.jobs.doubts import LookedOver
    from ptycho_core.reconstruction.run import fit, opened, with_probe
    from ptycho_core.scan.selection import with_frames

    began = time.perf_counter()
    scan, doubts, counts = opened(payload, hub)
    if len(scan) < LEAST_FRAMES:
        raise DataError(f"{scan.source} has {len(scan)} frames: too few for two halves; it takes {LEAST_FRAMES}.")
    scan, doubts, counts = with_probe(payload, LookedOver(scan, doubts, counts), hub)[0]
    halves: list[StoredObject] = []
    verdicts: list[str] = []
    frames: list[int] = []
    for number, chosen in enumerate(split_in_halves(len(scan), int(payload.groups["execution"]["seed"] or 0)), 1):
        hub.emit(Event("message", message=f"half {number} of 2: {len(chosen)} frames"))
        half = LookedOver(with_frames(scan, chosen), doubts, counts[chosen])
        found = fit(payload, half, hub)
        if found.reconstruction.interrupted:
            raise KeyboardInterrupt
        halves.append(_stored(found.reconstruction, half.scan))
        verdicts.append(found.metrics["verdict"])
        frames.append(len(chosen))
    compared = score(halves[1], halves[0])
    return Resolution(compared, (frames[0], frames[1]), (verdicts[0], verdicts[1]), round(time.perf_counter() - began, 3))


def _stored(one: Reconstruction, scan: Scan) -> StoredObject:
    """The object with the numbers of its frames, by which it is not taken for that of the other half's."""
    from ptycho_core.formats.product import StoredObject
    from ptycho_core.scan.selection import frame_numbers

    return StoredObject(
        one.object, one.probe, one.positions, one.origin, pixel_size_m=one.pixel_size_m, frames=frame_numbers(scan)
    )


def _write(folder: Path, found: Resolution, hub: EventHub, *, figures: bool) -> None:
    from ptycho_core.imaging.figures import figure_of_score
    from ptycho_core.imaging.report import HALVES, draw_all, write_json
    from ptycho_core.notes import tell

    table, figure = (folder / name for name in HALVES)
    write_json(table, found.as_dict(), ready=lambda: figure.unlink(missing_ok=True))
    if figures:
        draw_all(folder, {figure.name: lambda: figure_of_score(found.score, ("Half 1", "Half 2"))}, partial(tell, hub))
