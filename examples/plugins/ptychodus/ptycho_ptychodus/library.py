"""The backends that are installed as reconstructors of ptychodus: ``ptycho_NAME`` fits, ``ptycho_NAME-network`` trains and infers."""

from __future__ import annotations

import shutil
import threading
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Protocol

from ptycho_core.backends import find_backends
from ptycho_core.errors import PtychoError
from ptychodus.api.io import StandardFileLayout, save_training_data
from ptychodus.api.reconstruct import (
    LossValue,
    ReconstructInput,
    ReconstructOutput,
    Reconstructor,
    ReconstructorLibrary,
    TrainableReconstructor,
    TrainOutput,
)

from ptycho_ptychodus.child import Job
from ptycho_ptychodus.data import hand_over, stated_by, taken_back
from ptycho_ptychodus.settings import SNAPSHOT, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ptychodus.api.product import Product
    from ptychodus.api.settings import SettingsRegistry

__all__ = ["JobFailedError", "Library"]

_MODEL: Final = f"{StandardFileLayout.MODEL_BASENAME}.ptycho"
_MODELS: Final = "Models of ptycho (*.ptycho)"
_TRAINING: Final = "Training data (*.h5)"


class JobFailedError(RuntimeError):
    """A job that failed; its text says why and what to do."""


class Monitor(Protocol):
    """What is used of ``ptychodus.model.task_monitor.TaskProgressMonitor``."""

    is_stopping: bool
    update_progress: Callable[[int, int], None]


class Library(ReconstructorLibrary):  # type: ignore[misc]
    """Reconstructors of every backend that can be used and is not taken by its name alone.

    Args:
        registry: settings of ptychodus.

    Attributes:
        monitor: of ptychodus' tasks; set once it is there.
        stop: set when the user asked to stop in another way than by the monitor.
        last: the last product of the present job.
        done, goal: progress of the present job.
    """

    def __init__(self, registry: SettingsRegistry) -> None:
        super().__init__("ptycho")
        usable = [row for row in find_backends() if row.state == "ok" and row.spec is not None and not row.only_by_name]
        self.settings = Settings(registry, [row.spec for row in usable if row.spec is not None])
        self.monitor: Monitor | None = None
        self.stop, self.last, self.done, self.goal = threading.Event(), None, 0, 0
        claims = [(row.name, row.spec.capabilities) for row in usable if row.spec is not None]
        self._all: list[Reconstructor] = [Fit(self, name) for name, can in claims if "reconstruct" in can]
        self._all += [Network(self, name) for name, can in claims if {"train", "infer"} <= set(can)]

    @property
    def name(self) -> str:
        """The first part of the names of its reconstructors."""
        return "ptycho"

    def __iter__(self) -> Iterator[Reconstructor]:
        return iter(self._all)

    def products(self, verb: str, backend: str, given: ReconstructInput, model: Path | None = None) -> Iterator[ReconstructOutput]:
        """Run a job on what ptychodus hands over: a product every so often, and the last one when it ends or is stopped."""
        with TemporaryDirectory(prefix="ptycho-", ignore_cleanup_errors=True) as folder:
            with self._told():
                shift = hand_over(given, Path(folder))
            stated = stated_by(given.product, Path(folder)) if verb == "reconstruct" else {}
            order = {"scans": [folder], "output": None, "model": None if model is None else str(model)}
            losses: list[LossValue] = []

            def take(line: Mapping[str, Any]) -> bool:
                """Take what a line tells; whether it is a product that ptychodus should have: once a stop is asked for, the last."""
                if line["what"] == "progress":
                    losses.extend(LossValue(line["done"], line["values"][name]) for name in ("misfit",) if name in line["values"])
                    return False
                self.last = taken_back(Path(line["path"]), given.product, shift, losses)
                Path(line["path"]).unlink()
                return bool(line["last"]) or not self.stopping()

            lines = self.lines(verb, backend, folder, order, stated)
            try:
                for line in lines:
                    if take(line):
                        yield ReconstructOutput(self.last, self.done)
            finally:  # ptychodus may take no more: the job was asked to stop, and ends in good order
                for line in lines:
                    take(line)

    def lines(
        self, verb: str, backend: str, folder: str, order: dict[str, Any], stated: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """Run a job; what it tells, but for what is logged. The monitor of ptychodus learns of each epoch.

        Raises:
            JobFailedError: it failed.
        """
        self.last, self.done, self.goal = None, 0, 0
        with self._told():
            settings = {**stated, **self.settings.asked(verb, backend), "backend": backend}
            seconds = self.settings.value("Ptychodus", SNAPSHOT.name)
            job = Job({"verb": verb, "folder": folder, "settings": settings, "snapshot_seconds": seconds, **order})
            try:
                for line in job.lines(self.stopping):
                    if line["what"] == "error":
                        raise JobFailedError(line["message"])
                    if line["what"] == "log":
                        getattr(self.get_logger(), line["level"].lower())(line["message"])
                        continue
                    if line["what"] == "progress":
                        self._progress(line)
                    yield line
            finally:
                job.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Failures become a sentence in the log, which the window shows, and one for ptychodus."""
        try:
            yield
        except (JobFailedError, PtychoError) as error:
            self.get_logger().error("%s", error)
            raise JobFailedError(str(error)) from None

    def stopping(self) -> bool:
        """Whether the user asked to stop."""
        return self.stop.is_set() or (self.monitor is not None and self.monitor.is_stopping)

    def _progress(self, line: Mapping[str, Any]) -> None:
        self.done, self.goal = line["done"], line["goal"]
        if self.monitor is not None:
            self.monitor.update_progress(self.done, self.goal)
        said = [f"{name} {value:.5g}" for name, value in line["values"].items() if name in ("misfit", "loss", "validation_loss")]
        self.get_logger().info("%s %d of %d: %s", line["stage"], self.done, self.goal, ", ".join(said))


class Fit(Reconstructor):  # type: ignore[misc]
    """``ptycho reconstruct`` with a backend."""

    verbs = ("reconstruct",)

    def __init__(self, library: Library, backend: str) -> None:
        self._library, self.backend, self.name = library, backend, backend

    def get_progress_goal(self) -> int:
        """Epochs and iterations that are planned, never fewer than are done; 0 until the plan is made."""
        return self._library.goal

    def reconstruct(self, parameters: ReconstructInput) -> Iterator[ReconstructOutput]:
        """Fit object and probe."""
        return self._library.products("reconstruct", self.backend, parameters)

    name = ""


class Network(TrainableReconstructor):  # type: ignore[misc]
    """``ptycho train`` and ``ptycho infer`` with a backend."""

    verbs = ("train", "infer")
    name = ""

    def __init__(self, library: Library, backend: str) -> None:
        self._library, self.backend, self.name = library, backend, f"{backend}-network"
        self._model: Path | None = None

    get_progress_goal = Fit.get_progress_goal

    def reconstruct(self, parameters: ReconstructInput) -> Iterator[ReconstructOutput]:
        """Infer the object with the model."""
        if self._model is None:
            raise JobFailedError(f"There is no model for {self.name}. Train one, or load {_MODEL}.")
        return self._library.products("infer", self.backend, parameters, self._model)

    def train(self, input_path: Path, output_path: Path) -> Iterator[TrainOutput]:
        """Train on the training files of a folder, or on its ``diffraction.h5`` and ``product.h5``; the model goes to the other."""
        whole = StandardFileLayout.DIFFRACTION.path(input_path).is_file()
        scans = [input_path] if whole else sorted(input_path.glob("*.h5"))
        if not scans:
            raise JobFailedError(f"{input_path} holds no training data. Export some to it, as *.h5.")
        courses: dict[str, list[LossValue]] = {"loss": [], "validation_loss": []}
        with TemporaryDirectory(prefix="ptycho-", ignore_cleanup_errors=True) as folder:
            order = {"scans": [str(scan) for scan in scans], "output": str(Path(folder) / "run"), "model": str(output_path / _MODEL)}

            def take(line: Mapping[str, Any]) -> bool:
                """Take what a line tells; whether it is an epoch."""
                if line["what"] == "model":
                    self._model = output_path / _MODEL
                for name, course in courses.items() if line["what"] == "progress" else ():
                    course.extend(LossValue(line["done"], line["values"][one]) for one in (name,) if one in line["values"])
                return line["what"] == "progress"

            lines = self._library.lines("train", self.backend, folder, order, {"figures": False, "logger": "none"})
            try:
                for line in lines:
                    if take(line):
                        yield TrainOutput(*map(list, courses.values()), self._library.done)
            finally:
                for line in lines:
                    take(line)

    def is_model_loaded(self) -> bool:
        """Whether it can infer."""
        return self._model is not None

    def load_model_from_file(self, file_path: Path) -> None:
        """Take a model; what it is, the job finds out."""
        self._model = file_path

    def save_model(self, file_path: Path) -> None:
        """Copy the model."""
        if self._model is None:
            raise JobFailedError(f"There is no model for {self.name}. Train one, or load {_MODEL}.")
        shutil.copyfile(self._model, file_path)

    def export_training_data(self, file_path: Path, parameters: ReconstructInput) -> None:
        """Write a file to train on."""
        save_training_data(file_path, parameters)

    def get_model_file_filter(self) -> str:
        """For the dialog of files."""
        return _MODELS

    def get_model_file_extension(self) -> str:
        """With its dot."""
        return ".ptycho"

    def get_training_data_file_filter(self) -> str:
        """For the dialog of files."""
        return _TRAINING
