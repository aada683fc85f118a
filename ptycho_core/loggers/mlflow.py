"""The logger ``mlflow``: a run in the store that ``MLFLOW_TRACKING_URI`` names, or else in files next to the results."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ptycho_core.errors import SettingsError
from ptycho_core.loggers.figures import figures_of
from ptycho_core.loggers.logger import Left, Logger
from ptycho_core.spelling import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ptycho_core.contract import Event
    from ptycho_core.loggers.logger import LoggedRun

__all__ = ["MlflowRun"]

_STORE: Final = "mlruns"
"""Folder of the store where it is files."""

_EXPERIMENT: Final = "ptycho"
_PARAMETERS_AT_ONCE: Final = 100
_ENDINGS: Final = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
_OURS: Final = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
"""Variables that are set unless the user has set them: files are enough of a store, and no figures of use are sent away."""


class MlflowRun(Logger):
    """One run: the settings as parameters, the figures as metrics.

    It begins with the first figures; a resumed training is a separate run.
    """

    name = "mlflow"
    requires: ClassVar = {"mlflow": "mlflow-skinny"}

    def __init__(self, run: LoggedRun) -> None:
        if "MLFLOW_TRACKING_URI" not in os.environ and printable(place := str(run.folder.resolve())) != place:
            raise SettingsError(
                f"logger mlflow: MLflow cannot write to {run.folder}, whose name is no UTF-8.",
                remedy="Choose another folder, set MLFLOW_TRACKING_URI, or use --logger csv.",
            )
        with _environment():
            import mlflow.tracking  # noqa: F401 - if it cannot be imported, the job does not start
        self._logged = run
        self._client: Any = None
        self._run = ""

    def __call__(self, event: Event) -> None:
        """Send the figures of an epoch or step."""
        figures = figures_of(event)
        if figures is None:
            return
        from mlflow.entities import Metric

        with _environment():
            if self._client is None:
                self._begin()
            now = time.time_ns() // 1_000_000
            metrics = [Metric(name, value, now, figures.step) for name, value in figures.values.items()]
            self._client.log_batch(self._run, metrics=metrics)

    def close(self, state: str) -> None:
        """End the run."""
        if self._run:
            with _environment():
                self._client.set_terminated(self._run, _ENDINGS[state])

    @classmethod
    def writes(cls, *, steps: bool) -> Sequence[str]:  # noqa: ARG003 - both are in one run
        """The folder of the store."""
        return [f"{_STORE}/"]

    @classmethod
    def left(cls, folder: Path) -> Left:
        """The files of our runs, and the folders of the store."""
        store = folder / _STORE
        inside = sorted((path for path in store.rglob("*") if path.is_dir() and not path.is_symlink()), reverse=True)
        return Left([*_stored(store)], [*inside, store])

    def _begin(self) -> None:
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        folder = self._logged.folder
        place = os.environ.get("MLFLOW_TRACKING_URI") or (folder.resolve() / _STORE).as_uri()
        client = MlflowClient(tracking_uri=place)
        found = client.get_experiment_by_name(_EXPERIMENT)
        experiment = found.experiment_id if found is not None else client.create_experiment(_EXPERIMENT)
        tags = {"verb": self._logged.verb, "folder": printable(str(folder)), "epochs_before": str(len(self._logged.history))}
        tags = {f"ptycho.{name}": value for name, value in tags.items()}
        self._run = client.create_run(experiment, run_name=printable(folder.name), tags=tags).info.run_id
        self._client = client
        parameters = [Param(name, printable(str(value))) for name, value in self._logged.settings.items()]
        for first in range(0, len(parameters), _PARAMETERS_AT_ONCE):
            client.log_batch(self._run, params=parameters[first : first + _PARAMETERS_AT_ONCE])


@contextmanager
def _environment() -> Iterator[None]:
    """The environment with `_OURS` in it, for as long as MLflow is at work."""
    added = {name: value for name, value in _OURS.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _stored(store: Path) -> Iterator[Path]:
    """MLflow's files of our runs, and of experiments that hold nothing else; not what a user has added to a run."""
    for experiment in _folders(store):
        runs = [path for path in _folders(experiment) if (path / "tags" / "ptycho.verb").is_file()]
        for run in runs:
            yield run / "meta.yaml"
            for part in ("metrics", "params", "tags"):
                yield from (path for path in (run / part).rglob("*") if path.is_file())
        if {path.name for path in experiment.iterdir()} == {"meta.yaml", *(path.name for path in runs)}:
            yield experiment / "meta.yaml"


def _folders(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if path.is_dir()] if place.is_dir() else []
