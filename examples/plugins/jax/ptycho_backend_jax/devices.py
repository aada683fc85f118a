"""The devices of JAX, and how the process is set up for a job."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from ptycho_backend_jax.arrays import jax_arrays
from ptycho_core.contract import Device, ExecutionPlan, ProbeReport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ptycho_core.engine import ArrayOps

_DTYPES = {"float32": jnp.float32, "float64": jnp.float64}


def probe() -> ProbeReport:
    """Report version and devices of the installed JAX."""
    return ProbeReport(jax.__version__, (Device("cpu", "cpu", f"CPU, {jax.devices('cpu')[0].device_kind}"),), tuple(_DTYPES))


@contextmanager
def operations(plan: ExecutionPlan) -> Iterator[ArrayOps]:
    """The array operations of the plan's precision on its device.

    Sums want double precision in any case, which is a switch of the whole process in JAX. In here it holds for this thread alone,
    and while a job computes: the user's own code keeps what it has, also between two batches of an inference.
    """
    with jax.enable_x64(True), jax.default_device(jax.devices(plan.device)[0]):
        yield jax_arrays(str(plan.execution["precision"]))
