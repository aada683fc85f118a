"""The devices that TensorFlow sees, and how the process is set up for one."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import tensorflow as tf

from ptycho_backend_tensorflow.arrays import tensorflow_arrays
from ptycho_backend_tensorflow.compiled import compiling_for
from ptycho_core.contract import Device, ExecutionPlan, ProbeReport
from ptycho_core.engine import MIXED
from ptycho_core.errors import CapabilityError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ptycho_core.engine import ArrayOps

_DTYPES = {"float32": tf.float32, "float64": tf.float64, MIXED: tf.float32}
"""The real data type of each precision; of a mixed one, that of everything but the network."""


def probe() -> ProbeReport:
    """Report version, devices and precisions of the installed TensorFlow; takes no memory on any device and starts no thread."""
    devices = [Device("cpu", "cpu", f"CPU, {_processors()} processors")]
    problems = []
    found = tf.config.list_physical_devices("GPU")
    for number, device in enumerate(found):
        details = tf.config.experimental.get_device_details(device)
        devices.append(Device("cuda", f"gpu:{number}", str(details.get("device_name", device.name))))
    if not tf.test.is_built_with_cuda():
        problems.append("this build of TensorFlow has no CUDA")
    elif not found:
        problems.append("TensorFlow was built for CUDA but finds no usable GPU")
    return ProbeReport(tf.__version__, tuple(devices), tuple(_DTYPES), tuple(problems))


def threads_in_use() -> int | None:
    """The number of threads that TensorFlow runs with in this process; None while it may still be chosen."""
    threads = int(tf.config.threading.get_intra_op_parallelism_threads())
    try:
        # The only public way to learn it: another number is refused once the threads run.
        tf.config.threading.set_intra_op_parallelism_threads(threads + 1)
    except RuntimeError:
        return threads or _processors()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    return None


_process = {"strict": False}
"""Whether `configured` has turned determinism on; TensorFlow has no public way to ask, and none to turn it off."""


def is_strict() -> bool:
    """Whether an earlier job of this process wanted what cannot be deterministic to be refused."""
    return _process["strict"]


@contextmanager
def configured(plan: ExecutionPlan) -> Iterator[str]:
    """Set threads, TF32 and determinism as planned; threads and determinism cannot be put back, TF32 is.

    Yields:
        The planned device, under the name that `tf.device` takes; it is the default inside.

    Raises:
        CapabilityError: what is done inside has no deterministic form, and the plan is strict.
    """
    _choose_threads(int(plan.execution.get("threads") or 0))
    tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    if plan.execution.get("deterministic") == "strict":
        tf.config.experimental.enable_op_determinism()
        _process["strict"] = True
    if plan.device != "cpu":
        _set_up_gpus()
    try:
        tf.config.experimental.enable_tensor_float_32_execution(False)
        with tf.device(plan.device), compiling_for(plan.device, jit=bool(plan.options.get("jit"))):
            yield plan.device
    except tf.errors.UnimplementedError as error:
        if plan.execution.get("deterministic") == "strict" and "eterminis" in error.message:
            raise _not_deterministic(error.message) from error
        raise
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(tf32)


@contextmanager
def operations(plan: ExecutionPlan) -> Iterator[ArrayOps]:
    """The array operations of the plan's precision on its device, with the process set up as `configured` does."""
    with configured(plan):
        yield tensorflow_arrays(_DTYPES[str(plan.execution["precision"])])


def _choose_threads(threads: int) -> None:
    """Set the threads if they can still be set; the plan says what they are if not."""
    if threads and threads_in_use() is None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)


def _set_up_gpus() -> None:
    """Memory as it is needed."""
    with suppress(RuntimeError):  # the GPUs are in use: it is as the first job, or the manifest's environment, had it
        for device in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _not_deterministic(said: str) -> CapabilityError:
    """What TensorFlow said, in its first line, and what to do."""
    message = f"deterministic strict: {said.splitlines()[0].removesuffix('.')}."
    return CapabilityError(message, remedy="--no-deterministic runs it all the same, in a new process.", backend="tensorflow")
