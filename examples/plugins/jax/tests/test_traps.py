"""What JAX does to a process that does not take care: its precision, its memory, arrays that are shared."""

CODE = """
import os, sys
import numpy as np
import jax.numpy as jnp
import ptycho_core as ptycho
from ptycho_core.backends import choose, load
from ptycho_core.contract import ExecutionPlan

load(choose("jax"))
assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
before = jnp.zeros(1).dtype
ptycho.reconstruct(sys.argv[1], backend="jax", epochs=1, iterations=1, precision="float64", progress=False)
assert jnp.zeros(1).dtype == before == np.float32, "the switch of the process is as it was"

from ptycho_backend_jax.devices import operations
with operations(ExecutionPlan("cpu", {"precision": "float32", "threads": 1}, {}, {})) as xp:
    mine = np.ones(4, np.float32)
    held = xp.from_numpy(mine)
    mine[:] = 7
    xp.to_numpy(held)[:] = 3
    assert xp.to_numpy(held).tolist() == [1, 1, 1, 1], "no memory is shared"
    assert (held.dtype, xp.sum64(held).dtype) == (np.float32, np.float64), "sums are double"
"""

INFERRED = """
import sys
import jax.numpy as jnp
import ptycho_core as ptycho

seen = []
look = lambda event: seen.append((event.kind, jnp.zeros(1).dtype.name))
ptycho.infer(sys.argv[1], model=sys.argv[2], backend="jax", inference_batch_size=9, progress=False, observers=[look])
assert [kind for kind, _ in seen].count("step") > 1, seen
assert {name for _, name in seen} == {"float32"}, seen
"""

GRADIENTS = """
import numpy as np
from ptycho_core.contract import ExecutionPlan
from ptycho_backend_jax.devices import operations

with operations(ExecutionPlan("cpu", {"precision": "float64", "threads": 1}, {}, {})) as xp:
    scale, at = 1 + 2j, np.array([1.0, 2.0, 3.0, 4.0])
    there = lambda z: (xp.real(z * scale), z)  # its derivative d/d Re + i d/d Im is conj(scale)
    own = xp.with_adjoint(there, lambda kept, upstream: (xp.times_real(xp.zeros_like(kept) + (1 - 2j), upstream),))
    gradients = []
    for function in (own, lambda z: there(z)[0]):
        loss = lambda xp, vector: (xp.sum64(function(xp.as_complex(vector, (2,))) * xp.from_numpy(at[:2])), None)
        gradients.append(xp.to_numpy(xp.value_and_grad(loss, xp.from_numpy(at))[1]))
    assert gradients[0].tolist() == gradients[1].tolist() == [1, -2, 2, -4], gradients
"""


def test_the_precision_of_the_users_own_code_stays_and_no_memory_is_shared(python, scan) -> None:
    python("-c", CODE, scan)


def test_between_two_batches_of_an_inference_the_switch_is_the_users(python, scan, trained) -> None:
    python("-c", INFERRED, scan, trained("torch", "float32"))


def test_a_derivative_written_by_hand_is_that_which_jax_derives(python) -> None:
    python("-c", GRADIENTS)
