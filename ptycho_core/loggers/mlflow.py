"""The logger ``mlflow``: a run in the store that ``MLFLOW_TRACKING_URI`` names, or else in files beside the results."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.errors import SettingsError
from ptycho_core.loggers.names import STORE, figures_of
from ptycho_core.spelling import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ptycho_core.contract import Event
    from ptycho_core.settings.payload import Payload

__all__ = ["open_log"]

_EXPERIMENT: Final = "ptycho"
_PARAMETERS_AT_ONCE: Final = 100
_ENDINGS: Final = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
_OURS: Final = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
"""What MLflow is told unless the user has told it otherwise: files are enough of a store, and nobody else is told of the run."""


def open_log(folder: Path, payload: Payload, history: Sequence[Mapping[str, Any]]) -> _MlflowRun:
    """A run of MLflow, which begins with the first figures; a call that goes on is a run of its own.

    Raises:
        ImportError: the package is not there.
        SettingsError: MLflow cannot write beside the results, since their folder's name is no UTF-8.
    """
    if "MLFLOW_TRACKING_URI" not in os.environ and printable(place := str(folder.resolve())) != place:
        raise SettingsError(
            f"logger mlflow: MLflow cannot write to {folder}, whose name is no UTF-8.",
            remedy="Choose another folder, set MLFLOW_TRACKING_URI, or use --logger csv.",
        )
    with _told():
        import mlflow.tracking  # noqa: F401 - whether it can be imported is told before the job starts
    return _MlflowRun(folder, payload, len(history))


class _MlflowRun:
    """One run: the settings as parameters, the figures as metrics."""

    def __init__(self, folder: Path, payload: Payload, before: int) -> None:
        self._folder, self._payload, self._before = folder, payload, before
        self._client: Any = None
        self._run = ""

    def __call__(self, event: Event) -> None:
        """Send the figures of an epoch or step."""
        figures = figures_of(event)
        if figures is None:
            return
        from mlflow.entities import Metric

        with _told():
            if self._client is None:
                self._begin()
            now = time.time_ns() // 1_000_000
            metrics = [Metric(name, value, now, figures.step) for name, value in figures.values.items()]
            self._client.log_batch(self._run, metrics=metrics)

    def close(self, state: str) -> None:
        """End the run."""
        if self._run:
            with _told():
                self._client.set_terminated(self._run, _ENDINGS[state])

    def _begin(self) -> None:
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        place = os.environ.get("MLFLOW_TRACKING_URI") or (self._folder.resolve() / STORE).as_uri()
        client = MlflowClient(tracking_uri=place)
        found = client.get_experiment_by_name(_EXPERIMENT)
        experiment = found.experiment_id if found is not None else client.create_experiment(_EXPERIMENT)
        resolved = self._payload.resolved
        tags = {"verb": resolved.verb, "folder": printable(str(self._folder)), "epochs_before": str(self._before)}
        tags = {f"ptycho.{name}": value for name, value in tags.items()}
        self._run = client.create_run(experiment, run_name=printable(self._folder.name), tags=tags).info.run_id
        self._client = client
        settings = {**resolved.values, **resolved.options}
        parameters = [Param(name, printable(str(one.value))) for name, one in settings.items()]
        for first in range(0, len(parameters), _PARAMETERS_AT_ONCE):
            client.log_batch(self._run, params=parameters[first : first + _PARAMETERS_AT_ONCE])


@contextmanager
def _told() -> Iterator[None]:
    """The environment with what MLflow is told, for as long as it is at work."""
    added = {name: value for name, value in _OURS.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
