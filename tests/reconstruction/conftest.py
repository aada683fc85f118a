"""A small simulated scan with known truth, the command line in a separate process, and the engine of the backend under test."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engine_fit import Fitted, fit

from ptycho_core.cli.main import main
from ptycho_core.contract import ExecutionPlan
from ptycho_core.engine.arrays import ArrayOps
from ptycho_core.engine.patterns import DevicePatterns
from ptycho_core.engine.state import State


class Engine:
    """The engine on the array operations of a backend."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.framework = import_module(backend)

    def module(self, name: str) -> ModuleType:
        return import_module(f"ptycho_backend_{self.backend}.{name}")

    def operations(self, precision: str) -> ArrayOps:
        dtype, arrays = getattr(self.framework, precision), self.module("arrays")
        return arrays.TorchArrays("cpu", dtype) if self.backend == "torch" else arrays.tensorflow_arrays(dtype)

    def tensor(self, values: Any) -> Any:
        return (self.framework.as_tensor if self.backend == "torch" else self.framework.constant)(values)

    def reconstruct(self, *arguments: Any, precision: str = "float32", **more: Any) -> Fitted:
        return fit(self.operations(precision), *arguments, **more)

    def state(self, thing: Any, probe: Any, positions: Any, background: Any = None) -> State:
        """In double precision."""
        level = None if background is None else self.tensor(background)
        return State(self.operations("float64"), self.tensor(thing), self.tensor(probe), positions, level)

    def frames(self, patterns: Any, mask: np.ndarray | None, precision: str, memory: float = 1e9) -> DevicePatterns:
        return DevicePatterns(self.operations(precision), patterns, mask, memory)


@pytest.fixture(autouse=True, scope="module")
def _only_the_backend_under_test(backend: str) -> Iterator[None]:
    """It need not be named, here or in the processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PTYCHO_BACKENDS_ALLOW", f"{backend},reference")
        yield


@pytest.fixture(scope="module")
def engine(backend: str) -> Iterator[Engine]:
    """The backend's engine on one thread."""
    found = Engine(backend)
    execution = {"threads": 1, "precision": "float32", "deterministic": "on"}
    with found.module("devices").configured(ExecutionPlan("cpu", execution, {}, {})):
        yield found


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 frames of 32 x 32 pixels with a probe guess of 90 % of the defocus."""
    path = tmp_path_factory.mktemp("scan") / "scan.npz"
    assert main(["simulate", str(path), "--size", "32", "--frames", "100", "--photons", "1e5", "--seed", "3"]) == 0
    return path


@pytest.fixture
def answered(capsys: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    """As `ptycho`, in this process."""

    def run(*arguments: object) -> SimpleNamespace:
        capsys.readouterr()
        status = main([*map(str, arguments)])
        return SimpleNamespace(returncode=status, stderr=capsys.readouterr().err)

    return run


@pytest.fixture
def ptycho() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command as a user does."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ptycho_core", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=dict(os.environ) | environment)

    return run
