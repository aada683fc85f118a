"""The installed backends as reconstructors of ptychodus: ``ptycho_NAME`` fits, ``ptycho_NAME-network`` trains and infers."""

from __future__ import annotations

import logging
import shutil
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from ptychodus.api import reconstruct as api
from ptychodus.api.io import StandardFileLayout, save_training_data
from ptychodus.api.product import LossValue, Product

from ptycho_core.backends import find_backends
from ptycho_core.errors import DataError, PtychoError
from ptycho_ptychodus.child import Job
from ptycho_ptychodus.data import hand_over, stated_by, taken_back
from ptycho_ptychodus.settings import SNAPSHOT, Settings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

__all__ = ["Library"]

_MODEL: Final = f"{StandardFileLayout.MODEL_BASENAME}.ptycho"


class Library(api.ReconstructorLibrary):  # type: ignore[misc]
    """Reconstructors of every backend that can be used and is not taken by its name alone.

    Args:
        registry: settings of ptychodus.

    Attributes:
        monitor: of ptychodus' tasks; set once it is there.
        stopped: whether the user asked to stop in another way than by the monitor, as a signal does.
        last: the last product of the present job.
        done, goal: see `Job`; of the present one.
    """

    name = "ptycho"
    last: Product | None = None
    monitor: Any = None
    stopped, done, goal = False, 0, 0

    def __init__(self, registry: Any) -> None:  # noqa: ANN401 - of ptychodus
        super().__init__(self.name)
        logging.getLogger("ptychodus.model.task_manager").addFilter(self._without_trace)
        specs = [row.spec for row in find_backends() if row.state == "ok" and row.spec is not None and not row.only_by_name]
        self.settings = Settings(registry, specs)
        self._all: list[api.Reconstructor] = [Fit(self, one.name) for one in specs if "reconstruct" in one.capabilities]
        self._all += [Network(self, one.name) for one in specs if {"train", "infer"} <= set(one.capabilities)]

    def __iter__(self) -> Iterator[api.Reconstructor]:
        return iter(self._all)

    def stopping(self) -> bool:
        """Whether the user asked to stop."""
        return self.stopped or (self.monitor is not None and bool(self.monitor.is_stopping))

    def products(self, verb: str, backend: str, given: api.ReconstructInput, model: str = "") -> Iterator[api.ReconstructOutput]:
        """Run a job on what ptychodus hands over: a product every so often, and the last when it ends or is stopped."""
        with TemporaryDirectory(prefix="ptycho-", ignore_cleanup_errors=True) as folder:
            shift, told = hand_over(given, Path(folder)), list[dict[str, Any]]()
            stated = stated_by(given.product, Path(folder)) if verb == "reconstruct" else {}
            with closing(self.lines(verb, backend, stated, folder=folder, scans=[folder], model=model)) as lines:
                for line in lines:
                    told.append(line)
                    # After a stop ptychodus takes one product more: that is the last one.
                    if line["kind"] == "checkpoint" and (line["values"]["last"] or not self.stopping()):
                        self.last = taken_back(Path(line["path"]), given.product, shift, _course(told, "misfit"))
                        Path(line["path"]).unlink()
                        yield api.ReconstructOutput(self.last, self.done)

    def lines(self, verb: str, backend: str, stated: dict[str, Any], **order: Any) -> Generator[dict[str, Any]]:  # noqa: ANN401
        """Run a job: what it tells, which the log and the monitor of ptychodus get too.

        Raises:
            PtychoError: it failed, or a setting cannot be.
        """
        self.last = None
        settings = {**stated, **self.settings.asked(verb, backend), "backend": backend}
        seconds = self.settings.value("Ptychodus", SNAPSHOT.name)
        with closing(Job({"verb": verb, "settings": settings, "snapshot_seconds": seconds, **order})) as job:
            for line in job.lines(self.stopping):
                self.done, self.goal = job.done, job.goal
                self._hear(**line)
                yield line

    def _hear(self, kind: str, message: str, stage: str, values: Mapping[str, Any], **_: object) -> None:
        if kind == "error":
            raise PtychoError(message)
        if kind in ("started", "message"):
            self.get_logger().log(logging.WARNING if "doubt" in values else logging.INFO, "%s", message)
        self.monitor.update_progress(self.done, self.goal)
        if kind == "epoch":
            said = [f"{name} {one:.5g}" for name, one in values.items() if one is not None and name.endswith(("misfit", "loss"))]
            self.get_logger().info(" ".join([f"{stage}: {self.done} of {self.goal}", *said]))

    def _without_trace(self, record: logging.LogRecord) -> bool:
        """Log a failure that says what it is as its sentence, which the window shows, in the place of a trace."""
        failure = record.exc_info[1] if record.exc_info else None
        if isinstance(failure, PtychoError):
            self.get_logger().error("%s", failure)
        return not isinstance(failure, PtychoError)


def _course(lines: Sequence[Mapping[str, Any]], name: str) -> list[LossValue]:
    """A figure of each epoch that has it."""
    values = (line["values"].get(name) for line in lines if line["kind"] == "epoch")
    return [LossValue(epoch, value) for epoch, value in enumerate(values, 1) if value is not None]


class Fit(api.Reconstructor):  # type: ignore[misc]
    """``ptycho reconstruct`` with a backend."""

    name = ""

    def __init__(self, library: Library, backend: str) -> None:
        self._library, self.name = library, backend

    def get_progress_goal(self) -> int:
        """Epochs and iterations that are planned, never fewer than are done."""
        return self._library.goal

    def reconstruct(self, parameters: api.ReconstructInput) -> Iterator[api.ReconstructOutput]:
        """Fit object and probe."""
        return self._library.products("reconstruct", self.name, parameters)


class Network(api.TrainableReconstructor):  # type: ignore[misc]
    """``ptycho train`` and ``ptycho infer`` with a backend."""

    name = ""
    get_progress_goal = Fit.get_progress_goal

    def __init__(self, library: Library, backend: str) -> None:
        self._library, self._backend, self.name, self._model = library, backend, f"{backend}-network", Path()

    def reconstruct(self, parameters: api.ReconstructInput) -> Iterator[api.ReconstructOutput]:
        """Infer the object with the model."""
        self._check_model()
        return self._library.products("infer", self._backend, parameters, str(self._model))

    def train(self, input_path: Path, output_path: Path) -> Iterator[api.TrainOutput]:
        """Train on ``diffraction.h5`` with ``product.h5`` of a folder, or on its training files; the model goes to the other."""
        whole = StandardFileLayout.DIFFRACTION.path(input_path).is_file()
        scans = [str(one) for one in ([input_path] if whole else sorted(input_path.glob("*.h5")))]
        if not scans:
            raise DataError(f"{input_path} holds no training data. Export some to it, as *.h5.")
        stated, model = {"figures": False, "logger": "none"}, output_path / _MODEL
        with TemporaryDirectory(prefix="ptycho-", ignore_cleanup_errors=True) as folder:
            lines = self._library.lines("train", self._backend, stated, folder=folder, scans=scans, model=str(model))
            told = list(lines)  # ptychodus would leave at the first that it gets after a stop, and lose the model
        self._model = model
        yield api.TrainOutput(_course(told, "loss"), _course(told, "validation_loss"), self._library.done)

    def is_model_loaded(self) -> bool:
        """Whether it can infer."""
        return self._model != Path()

    def load_model_from_file(self, file_path: Path) -> None:
        """Take a model; what it is, the job finds out."""
        self._model = file_path

    def save_model(self, file_path: Path) -> None:
        """Copy the model."""
        self._check_model()
        shutil.copyfile(self._model, file_path)

    def export_training_data(self, file_path: Path, parameters: api.ReconstructInput) -> None:
        """Write a file to train on."""
        save_training_data(file_path, parameters)

    def get_model_file_filter(self) -> str:
        """For the dialog of files."""
        return "Models of ptycho (*.ptycho)"

    def get_model_file_extension(self) -> str:
        """With its dot."""
        return ".ptycho"

    def get_training_data_file_filter(self) -> str:
        """For the dialog of files."""
        return "Training data (*.h5)"

    def _check_model(self) -> None:
        if not self.is_model_loaded():
            raise DataError(f"There is no model for {self.name}. Train one, or load {_MODEL}.")
