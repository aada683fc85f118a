"""The backend under test: separate processes, what it is given, and its answers, each asked for once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.backends.worker import Worker
from ptycho_core.conformance.limits import LIMITS
from ptycho_core.errors import CapabilityError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.backends.states import BackendInfo
    from ptycho_core.contract import BackendSpec, BatchRecipe, EvaluateJob, Value
    from ptycho_core.networks import Architecture

__all__ = ["Bench"]

_JOBS: Final = "ptycho_core.conformance.suite.jobs"


class Bench:
    """What the tests share.

    Args:
        name: of the backend.
        device: accelerator to compute on.
        timeout: seconds for each job.
        folder: an existing folder for all files.
    """

    def __init__(self, name: str, *, device: str, timeout: float, folder: Path) -> None:
        self.name, self.device, self.timeout, self.folder = name, device, timeout, folder
        self._workers: dict[str, Worker] = {}
        self._known: dict[Any, Any] = {}

    @cached_property
    def row(self) -> BackendInfo:
        """The backend, in whatever state."""
        from ptycho_core.backends.registry import find_named

        return find_named(self.name)[0]

    @property
    def spec(self) -> BackendSpec:
        """Its manifest."""
        assert self.row.spec is not None
        return self.row.spec

    @property
    def precision(self) -> str:
        """The sharpest precision that it claims and that has limits."""
        return next((one for one in LIMITS if one in self.spec.precisions), self.spec.precisions[0])

    def close(self) -> None:
        """End its processes."""
        for worker in self._workers.values():
            worker.close()

    def worker(self, which: str = "first") -> Worker:
        """A process of the backend; each word names another one."""
        if which not in self._workers:
            self._workers[which] = Worker(self.name, threads=1)
        return self._workers[which]

    def end(self, which: str) -> None:
        """End a process that is not needed any more."""
        if which in self._workers:
            self._workers.pop(which).close()

    def call(self, job: str, *arguments: Any, which: str = "first", **keywords: Any) -> Any:  # noqa: ANN401 - of any job
        """Run a job of `jobs`, or ``module:function``, in a process of the backend."""
        target = job if ":" in job else f"{_JOBS}:{job}"
        return self.worker(which).call(target, *arguments, timeout=self.timeout, **keywords)

    def once(self, key: Any, make: Callable[[], Any]) -> Any:  # noqa: ANN401 - a key and whatever is made
        """What ``make`` gives, remembered; an error is remembered too."""
        if key not in self._known:
            try:
                self._known[key] = make(), None
            except Exception as error:  # noqa: BLE001 - raised again, now and later
                self._known[key] = None, error
        value, failure = self._known[key]
        if failure is not None:
            raise failure
        return value

    def settings(self, **more: Value) -> dict[str, Value]:
        """Settings of a job: this backend, this device, its sharpest precision, one thread, and what is asked for."""
        own: dict[str, Value] = {"backend": self.name, "accelerator": self.device, "precision": self.precision, "threads": 1}
        return own | more

    def as_taken(self, settings: Mapping[str, Value]) -> dict[str, Value]:
        """Settings of a fit as the backend takes them: one without a joint fit, which refuses iterations, gets more epochs."""
        found = dict(settings)
        if "iterations" in found and not self.once("takes iterations", self._takes_iterations):
            found["epochs"] = int(found.get("epochs") or 0) + int(found.pop("iterations") or 0)
        return found

    def _takes_iterations(self) -> bool:
        try:
            self.call("plan_of", "reconstruct", self.settings(iterations=1))
        except CapabilityError:
            return False
        return True

    def scan(self, **how: Any) -> Path:  # noqa: ANN401 - as `inputs.known_scan` takes it
        """The file of a known scan."""
        from ptycho_core.conformance.suite.inputs import known_scan

        key = ("scan", *sorted(how.items()))
        path: Path = self.once(key, lambda: known_scan(self.folder / f"scan-{len(self._known)}.npz", **how))
        return path

    def model(
        self, *, modes: int = 1, masked: bool = False, architecture: Architecture | None = None, **settings: Value
    ) -> BatchRecipe:
        """A training, without groups yet, whose model file has weights that are nowhere zero."""
        from ptycho_core.conformance.suite.inputs import perturbed_model

        scan, key = self.scan(modes=modes, masked=masked), ("model", modes, masked, architecture, *sorted(settings.items()))
        path = self.folder / f"model-{len(self._known)}.ptycho"
        recipe: BatchRecipe = self.once(key, lambda: perturbed_model(path, scan, architecture, modes=modes, **settings))
        return recipe

    def light(self, scan: Path) -> NDArray[Any]:
        """The probe (mode, N, N) of a known scan, in counts."""
        import numpy as np

        with np.load(scan, allow_pickle=False) as file:
            probe: NDArray[Any] = file["probe_guess"]
        return probe

    def evaluated(self, what: str, job: EvaluateJob | BatchRecipe, precision: str) -> dict[str, Any]:
        """The answer to a batch, asked for once; ``what`` names the batch."""
        settings = self.settings(precision=precision)
        answer: dict[str, Any] = self.once(("evaluated", what, precision), lambda: self.call("evaluate", job, settings))
        return answer
