"""The devices that PyTorch sees, and how the process is set up for one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from ptycho_backend_torch.arrays import TorchArrays
from ptycho_core.contract import Device, ExecutionPlan, ProbeReport
from ptycho_core.engine import MIXED
from ptycho_core.errors import CapabilityError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ptycho_core.engine import ArrayOps

_DETERMINISM = {"off": "default", "on": "warn", "strict": "error"}
"""PyTorch's words: an operation that has a deterministic form uses it under ``warn`` and ``error``; one that has none warns or
is refused."""

_DTYPES = {"float32": torch.float32, "float64": torch.float64, MIXED: torch.float32}
"""The real data type of each precision; of a mixed one, that of everything but the network."""


def probe() -> ProbeReport:
    """Report version, devices and precisions of the installed PyTorch; takes no memory on any device."""
    devices = [Device("cpu", "cpu", f"CPU, {torch.get_num_threads()} threads")]
    problems = []
    if torch.cuda.is_available():
        devices += [Device("cuda", f"cuda:{k}", torch.cuda.get_device_name(k)) for k in range(torch.cuda.device_count())]
    elif torch.version.cuda is None:
        problems.append("this build of PyTorch has no CUDA")
    else:
        problems.append("PyTorch was built for CUDA but finds no usable GPU")
    return ProbeReport(torch.__version__, tuple(devices), tuple(_DTYPES), tuple(problems))


@contextmanager
def configured(plan: ExecutionPlan) -> Iterator[torch.device]:
    """Set threads, TF32 and determinism as planned, and put back what was there before.

    Yields:
        The planned device.

    Raises:
        CapabilityError: what is done inside has no deterministic form, and the plan is strict.
    """
    threads = torch.get_num_threads()
    deterministic = torch.get_deterministic_debug_mode()
    memory: Any = torch.utils.deterministic  # types do not know its property
    filled = memory.fill_uninitialized_memory
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        torch.set_num_threads(int(plan.execution["threads"] or threads))
        # Not use_deterministic_algorithms: it imports a compiler, which takes more than a second.
        torch.set_deterministic_debug_mode(_DETERMINISM[str(plan.execution["deterministic"])])
        # Deterministic, PyTorch fills each new array, in case it is read before it is written: 5 % of a reconstruction.
        memory.fill_uninitialized_memory = False
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        yield torch.device(plan.device)
    except RuntimeError as error:
        if plan.execution["deterministic"] == "strict" and "deterministic" in str(error):
            raise _not_deterministic(str(error)) from error
        raise
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(deterministic)
        memory.fill_uninitialized_memory = filled
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32


@contextmanager
def operations(plan: ExecutionPlan) -> Iterator[ArrayOps]:
    """The array operations of the plan's precision on its device, with the process set up as `configured` does."""
    with configured(plan) as device:
        translated = bool(plan.options.get("compile"))
        yield TorchArrays(device, _DTYPES[str(plan.execution["precision"])], translated=translated)


def _not_deterministic(said: str) -> CapabilityError:
    """What PyTorch said, in its first sentence, and what to do."""
    message = f"deterministic strict: {said.partition('. ')[0]}."
    return CapabilityError(message, remedy="With --deterministic it is run all the same, with a warning.", backend="torch")
