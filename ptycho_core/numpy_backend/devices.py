"""The one device of NumPy, the processor, and how the process is set up for a job."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import ThreadpoolController

from ptycho_core.contract import Device, ExecutionPlan, ProbeReport
from ptycho_core.numpy_backend.arrays import NumpyArrays

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ptycho_core.engine import ArrayOps

_PRECISIONS = ("float32", "float64")


def probe() -> ProbeReport:
    """Report NumPy's version; there is one device."""
    return ProbeReport(np.__version__, (Device("cpu", "cpu", "CPU, NumPy"),), _PRECISIONS)


@contextmanager
def operations(plan: ExecutionPlan) -> Iterator[ArrayOps]:
    """The array operations of the plan's precision, in as many threads as planned; what the process had before is put back.

    Overflow and division by zero give infinity without a warning, as in the frameworks: the engine looks at what comes out.
    """
    threads = int(str(plan.execution["threads"]))
    with _libraries().limit(limits=threads), np.errstate(all="ignore"):
        yield NumpyArrays(np.dtype(str(plan.execution["precision"])), threads)


@cache
def _libraries() -> ThreadpoolController:
    """What has threads: the library of NumPy's matrix products. It is looked for once, since that takes milliseconds."""
    return ThreadpoolController()
