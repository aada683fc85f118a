"""What pty-chi changes in its process, set as planned and put back: PyTorch's defaults, random states, logging, warnings."""

from __future__ import annotations

import logging
import random
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from ptycho_backend_ptychi.library import library
from ptycho_core.errors import CapabilityError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ptycho_core.contract import ExecutionPlan

__all__ = ["surroundings"]

_DETERMINISM = {"off": "default", "on": "warn", "strict": "error"}


class _Warnings(logging.Handler):
    """Keeps what pty-chi warns of, each text once.

    It hangs on the root logger, to which pty-chi logs in places: without a handler there, Python would add one for good.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        text = " ".join(record.getMessage().split())
        if "ptychi" in record.pathname and text not in self.texts:
            self.texts.append(text)


@contextmanager
def surroundings(plan: ExecutionPlan) -> Iterator[list[str]]:
    """Threads and determinism as planned; on leaving, everything is as it was.

    Yields:
        A list that grows by what pty-chi warns of.

    Raises:
        CapabilityError: what is done inside has no deterministic form, and the plan is strict.
    """
    library()
    heard = _Warnings()
    with _torch_as_planned(plan), _ptychi_flags(), _random_states(plan), _quiet(heard), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Converting a tensor with requires_grad", UserWarning)  # pty-chi does, at each start
        yield heard.texts


@contextmanager
def _torch_as_planned(plan: ExecutionPlan) -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    device, dtype = torch.get_default_device(), torch.get_default_dtype()
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        torch.set_num_threads(int(plan.execution["threads"] or threads))
        torch.set_deterministic_debug_mode(_DETERMINISM[str(plan.execution["deterministic"])])
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        yield
    except RuntimeError as error:
        if plan.execution["deterministic"] == "strict" and "deterministic" in str(error):
            message, remedy = str(error).partition(". ")[0], "With --deterministic it is run all the same, with a warning."
            raise CapabilityError(f"deterministic strict: {message}.", remedy=remedy, backend="ptychi") from error
        raise
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(deterministic)
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
        torch.set_default_dtype(dtype)
        torch.set_default_device(None if device.type == "cpu" else device)


@contextmanager
def _ptychi_flags() -> Iterator[None]:
    from ptychi import maths, utils

    dtype = utils.get_default_complex_dtype()
    double, free = maths.get_use_double_precision_for_fft(), maths.get_allow_nondeterministic_algorithms()
    try:
        yield
    finally:
        utils.set_default_complex_dtype(dtype)
        maths.set_use_double_precision_for_fft(double)
        maths.set_allow_nondeterministic_algorithms(free)


@contextmanager
def _random_states(plan: ExecutionPlan) -> Iterator[None]:
    """pty-chi seeds the global generators of Python, NumPy and PyTorch."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the one that pty-chi seeds
    devices = [torch.cuda.current_device()] if plan.device != "cpu" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def _quiet(handler: logging.Handler) -> Iterator[None]:
    """No bar of pty-chi's own, which it shows where INFO is heard, no thread to watch it; warnings go to the handler."""
    from tqdm import tqdm

    interval = tqdm.monitor_interval
    root, own = logging.getLogger(), logging.getLogger("ptychi")
    level = own.level
    root.addHandler(handler)
    own.setLevel(logging.WARNING)
    tqdm.monitor_interval = 0
    try:
        yield
    finally:
        tqdm.monitor_interval = interval
        own.setLevel(level)
        root.removeHandler(handler)
