"""The installed backends as reconstructors of ptychodus: ``ptycho_NAME`` fits, ``ptycho_NAME-network`` trains and infers."""

from __future__ import annotations

import logging
import shutil
import threading
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from ptychodus.api.io import StandardFileLayout, save_training_data
from ptychodus.api.reconstruct import (
    LossValue,
    ReconstructInput,
    Reconstructor,
    ReconstructorLibrary,
    ReconstructOutput,
    TrainableReconstructor,
    TrainOutput,
)

from ptycho_core.backends import find_backends
from ptycho_core.errors import PtychoError
from ptycho_ptychodus.child import Job
from ptycho_ptychodus.data import hand_over, stated_by, taken_back
from ptycho_ptychodus.settings import SNAPSHOT, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ptychodus.api.product import Product

__all__ = ["JobFailedError", "Library"]

_MODEL: Final = f"{StandardFileLayout.MODEL_BASENAME}.ptycho"


class JobFailedError(RuntimeError):
    """A job that failed; its text says why and what to do."""


class Library(ReconstructorLibrary):  # type: ignore[misc]
    """Reconstructors of every backend that can be used and is not taken by its name alone.

    Args:
        registry: settings of ptychodus.

    Attributes:
        monitor: of ptychodus' tasks; set once it is there.
        stop: set where the user asked to stop in another way than by the monitor.
        last: the last product of the present job.
        done, goal: epochs and iterations of the present job, and how many are planned; 0 until the plan is made.
    """

    name = "ptycho"
    last: Product | None = None
    monitor: Any = None
    done = goal = 0

    def __init__(self, registry: Any) -> None:  # noqa: ANN401 - of ptychodus
        super().__init__(self.name)
        logging.getLogger("ptychodus.model.task_manager").addFilter(_without_trace)
        specs = [row.spec for row in find_backends() if row.state == "ok" and row.spec is not None and not row.only_by_name]
        self.settings, self.stop = Settings(registry, specs), threading.Event()
        self._all: list[Reconstructor] = [Fit(self, one.name) for one in specs if "reconstruct" in one.capabilities]
        self._all += [Network(self, one.name) for one in specs if {"train", "infer"} <= set(one.capabilities)]

    def __iter__(self) -> Iterator[Reconstructor]:
        return iter(self._all)

    def stopping(self) -> bool:
        """Whether the user asked to stop."""
        return self.stop.is_set() or (self.monitor is not None and bool(self.monitor.is_stopping))

    def products(
        self, verb: str, backend: str, given: ReconstructInput, model: Path | None = None
    ) -> Iterator[ReconstructOutput]:
        """Run a job on what ptychodus hands over: a product every so often, and the last when it ends or is stopped."""
        with TemporaryDirectory(prefix="ptycho-", ignore_cleanup_errors=True) as folder:
            try:
                shift = hand_over(given, Path(folder))
            except PtychoError as error:
                raise self._failed(error) from None
            losses: list[LossValue] = []

            def take(line: Mapping[str, Any]) -> ReconstructOutput | None:
                if line["what"] == "progress":
                    losses.extend(_values(line, "misfit"))
                    return None
                self.last = taken_back(Path(line["path"]), given.product, shift, losses)
                Path(line["path"]).unlink()
                # After a stop ptychodus takes one product more: that is the last one.
                return ReconstructOutput(self.last, self.done) if line["last"] or not self.stopping() else None

            stated = stated_by(given.product, Path(folder)) if verb == "reconstruct" else {}
            yield from self.run({"verb": verb, "folder": folder, "scans": [folder], "model": str(model)}, backend, stated, take)

    def run(
        self, order: dict[str, Any], backend: str, stated: dict[str, Any], take: Callable[[Mapping[str, Any]], Any]
    ) -> Iterator[Any]:
        """Run a job: what ``take`` makes of its lines, but for None; the log and the monitor of ptychodus get the others.

        A job that is not followed to its end is asked to stop, and its last lines are taken.

        Raises:
            JobFailedError: it failed.
        """
        self.last, self.done, self.goal, left = None, 0, 0, False
        try:
            settings = {**stated, **self.settings.asked(order["verb"], backend), "backend": backend}
            seconds = self.settings.value("Ptychodus", SNAPSHOT.name)
        except PtychoError as error:
            raise self._failed(error) from None
        with closing(Job({"settings": settings, "snapshot_seconds": seconds, **order})) as job:
            lines = job.lines(lambda: left or self.stopping())
            try:
                for line in lines:
                    if self._heard(line) and (found := take(line)) is not None:
                        yield found
            finally:
                left = True
                for line in lines:
                    if self._heard(line):
                        take(line)

    def _heard(self, line: Mapping[str, Any]) -> bool:
        """Whether a line is more than one for the log; progress is both."""
        if line["what"] == "error":
            raise self._failed(line["message"])
        if line["what"] == "log":
            getattr(self.get_logger(), line["level"])(line["message"])
        if line["what"] == "progress":
            self.done, self.goal = line["done"], line["goal"]
            self.monitor.update_progress(self.done, self.goal)
            said = [f"{name} {one:.5g}" for name, one in line["values"].items() if name in ("misfit", "loss", "validation_loss")]
            self.get_logger().info(" ".join([f"{line['stage']}: {self.done} of {self.goal}", *said]))
        return bool(line["what"] != "log")

    def _failed(self, why: object) -> JobFailedError:
        """What ptychodus gets; its window shows the log."""
        self.get_logger().error("%s", why)
        return JobFailedError(str(why))


def _without_trace(record: logging.LogRecord) -> bool:
    """Whether a record is anything but the trace of a job whose failure was told in a sentence."""
    failure = record.exc_info[1] if record.exc_info else None
    return not isinstance(failure, JobFailedError)


def _values(line: Mapping[str, Any], name: str) -> list[LossValue]:
    return [LossValue(line["done"], line["values"][name])] if name in line["values"] else []


class Fit(Reconstructor):  # type: ignore[misc]
    """``ptycho reconstruct`` with a backend."""

    name = ""

    def __init__(self, library: Library, backend: str) -> None:
        self._library, self.name = library, backend

    def get_progress_goal(self) -> int:
        """Epochs and iterations that are planned, never fewer than are done."""
        return self._library.goal

    def reconstruct(self, parameters: ReconstructInput) -> Iterator[ReconstructOutput]:
        """Fit object and probe."""
        return self._library.products("reconstruct", self.name, parameters)


class Network(TrainableReconstructor):  # type: ignore[misc]
    """``ptycho train`` and ``ptycho infer`` with a backend."""

    name = ""
    get_progress_goal = Fit.get_progress_goal

    def __init__(self, library: Library, backend: str) -> None:
        self._library, self._backend, self.name, self._model = library, backend, f"{backend}-network", Path()

    def reconstruct(self, parameters: ReconstructInput) -> Iterator[ReconstructOutput]:
        """Infer the object with the model."""
        self._check_model()
        return self._library.products("infer", self._backend, parameters, self._model)

    def train(self, input_path: Path, output_path: Path) -> Iterator[TrainOutput]:
        """Train on ``diffraction.h5`` with ``product.h5`` of a folder, or on its training files; the model goes to the other."""
        whole = StandardFileLayout.DIFFRACTION.path(input_path).is_file()
        scans = [str(one) for one in ([input_path] if whole else sorted(input_path.glob("*.h5")))]
        if not scans:
            raise JobFailedError(f"{input_path} holds no training data. Export some to it, as *.h5.")
        courses: dict[str, list[LossValue]] = {"loss": [], "validation_loss": []}

        def take(line: Mapping[str, Any]) -> TrainOutput | None:
            if line["what"] == "model":
                self._model = output_path / _MODEL
                return None
            for name, course in courses.items():
                course.extend(_values(line, name))
            return TrainOutput(*map(list, courses.values()), line["done"])

        with TemporaryDirectory(prefix="ptycho-", ignore_cleanup_errors=True) as folder:
            order = {"verb": "train", "folder": folder, "scans": scans, "model": str(output_path / _MODEL)}
            yield from self._library.run(order, self._backend, {"figures": False, "logger": "none"}, take)

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

    def export_training_data(self, file_path: Path, parameters: ReconstructInput) -> None:
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
            raise JobFailedError(f"There is no model for {self.name}. Train one, or load {_MODEL}.")
