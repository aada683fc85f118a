"""What a job reads, and what it will write: for its plan, and so that it writes over nothing that it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ptycho_core.errors import OutputError
from ptycho_core.settings.components import logger
from ptycho_core.settings.data import FILES, file_of
from ptycho_core.settings.payload import InferencePayload, ReconstructionPayload, ResolutionPayload, TrainingPayload

if TYPE_CHECKING:
    from pathlib import Path

    from ptycho_core.loggers.logger import Logger
    from ptycho_core.settings.payload import Payload

__all__ = ["JobFiles", "check_files", "chosen_logger", "files_of"]


class JobFiles(NamedTuple):
    """Files of a job.

    Attributes:
        reads: files and folders that are read.
        folder: for what is written; None writes nothing.
        writes: names in the folder; of a folder with a slash at its end.
    """

    reads: list[Path]
    folder: Path | None
    writes: list[str]


def files_of(payload: Payload) -> JobFiles:
    """The files of a payload, but for the settings file."""
    from ptycho_core.imaging.report import HALVES, HISTORY, RECORDS, RESULTS
    from ptycho_core.training.checkpoints import model_names

    execution = payload.groups["execution"]
    if isinstance(payload, TrainingPayload):
        reads = [*payload.scans, *payload.validation, *_named(payload, *FILES, "labels")]
        reads += [one for one in (payload.resume, payload.start_model) if one is not None]
        return JobFiles(reads, payload.output_dir, [*model_names(execution), *_drawn(payload, *RECORDS), *_logs(payload)])
    if isinstance(payload, InferencePayload):
        model = [] if payload.model_path is None else [payload.model_path]
        reads = [payload.scan, *model, *_named(payload, *FILES)]
        return JobFiles(reads, payload.output_dir, _drawn(payload, *RESULTS))
    assert isinstance(payload, ReconstructionPayload)
    reads = [payload.scan, *_named(payload, *FILES, "start")]
    if isinstance(payload, ResolutionPayload):
        return JobFiles(reads, payload.output_dir, _drawn(payload, *HALVES))
    return JobFiles(reads, payload.output_dir, [*_drawn(payload, *RESULTS, *HISTORY), *_logs(payload)])


def check_files(payload: Payload) -> None:
    """Refuse a job that would write over what it reads.

    A result that a fit starts with, and the checkpoint that a training continues from, may be replaced: they are read whole
    before, and stay until what takes their place is complete.

    Raises:
        OutputError: the message names both files; or a folder lies where a file would be written.
    """
    from ptycho_core.files.place import check_apart
    from ptycho_core.formats.product import FILE_NAME
    from ptycho_core.training.checkpoints import LAST

    files = files_of(payload)
    if files.folder is None:
        return
    reads = [*files.reads, *([] if payload.config_file is None else [payload.config_file])]
    replaced = {*_named(payload, "probe", "start"), getattr(payload, "resume", None)}
    for name in files.writes:
        if not name.endswith("/") and (files.folder / name).is_dir():
            raise OutputError(f"{files.folder / name} is a folder, and would be written as a file.", remedy="Move it away.")
        kept = [path for path in reads if path not in replaced] if name in (FILE_NAME, LAST) else reads
        check_apart([files.folder / name], kept)


def chosen_logger(payload: Payload) -> type[Logger] | None:
    """The class of a payload's logger; None where nothing is logged."""
    name = str(payload.resolved.values["logger"].value)
    return None if name == "none" else logger(name).found


def _logs(payload: Payload) -> list[str]:
    """The logs that the job writes."""
    kind = chosen_logger(payload)
    return [] if kind is None else [*kind.writes(steps=bool(payload.groups["execution"].get("log_every")))]


def _drawn(payload: Payload, *names: str) -> list[str]:
    """The files without the figures, where the job draws none."""
    return [name for name in names if payload.figures or not name.endswith(".png")]


def _named(payload: Payload, *names: str) -> list[Path]:
    """The files that settings name."""
    values = {name: value for group in payload.groups.values() for name, value in group.items()}
    return [path for name in names if (path := file_of(name, values.get(name))) is not None]
