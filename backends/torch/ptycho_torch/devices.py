"""The devices that PyTorch sees, and how the process is set up for one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from ptycho_core.contract import Device, ExecutionPlan, ProbeReport

if TYPE_CHECKING:
    from collections.abc import Iterator

MIXED = "bf16-mixed"
_DTYPES = {"float32": torch.float32, "float64": torch.float64, MIXED: torch.float32}


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


def real_dtype(plan: ExecutionPlan) -> torch.dtype:
    """The real data type of the plan's precision; of a mixed one, that of everything but the network."""
    return _DTYPES[str(plan.execution["precision"])]


def is_mixed(plan: ExecutionPlan) -> bool:
    """Whether the network computes in bfloat16 where that is safe."""
    return plan.execution["precision"] == MIXED


@contextmanager
def configured(plan: ExecutionPlan) -> Iterator[torch.device]:
    """Set threads, TF32 and determinism as planned, and put back what was there before.

    Yields:
        The planned device.
    """
    threads = torch.get_num_threads()
    deterministic = torch.get_deterministic_debug_mode()
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        torch.set_num_threads(int(plan.execution["threads"] or threads))
        # Not use_deterministic_algorithms: it imports a compiler, which takes more than a second.
        torch.set_deterministic_debug_mode("error" if plan.execution["deterministic"] else "default")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        yield torch.device(plan.device)
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(deterministic)
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
