"""The engine on the array operations of the backend under test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from engine_fit import Fitted, fit

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
def _alone_and_undrawn(only_the_backend_under_test: None, undrawn: None) -> None:
    """Pictures are tried in ``tests/imaging``."""


@pytest.fixture(scope="module")
def engine(backend: str) -> Iterator[Engine]:
    """The backend's engine on one thread."""
    found = Engine(backend)
    execution = {"threads": 1, "precision": "float32", "deterministic": "on"}
    with found.module("devices").configured(ExecutionPlan("cpu", execution, {}, {})):
        yield found


@pytest.fixture
def operations(backend: str) -> Iterator[Callable[[str], ArrayOps]]:
    """The array operations of the backend under test, by precision."""
    devices = import_module(f"ptycho_backend_{backend}.devices")
    with ExitStack() as stack:

        def made(precision: str) -> ArrayOps:
            execution = {"precision": precision, "threads": 1, "deterministic": "on"}
            return stack.enter_context(devices.operations(ExecutionPlan("cpu", execution, {}, {})))

        yield made
