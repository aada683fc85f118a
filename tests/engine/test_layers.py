"""A network that has every operation on a framework's arrays: free sides and numbers of pictures, and bfloat16, against NumPy."""

import numpy as np
import pytest

from ptycho_core.conformance.reference.network import channels
from ptycho_core.conformance.suite.every_operation import EveryOperation
from ptycho_core.engine.network import Network
from ptycho_core.networks import describe, initial_weights, tensor_shapes

ASKED = {"gridsize": 1, "update_steps": None, "output_form": "real-imaginary", "amplitude_activation": "none"}
DESCRIPTION = describe(32, ASKED, architecture=EveryOperation())


@pytest.fixture(scope="module")
def weights():
    random = np.random.default_rng(2)
    made = initial_weights(DESCRIPTION, 1).items()
    return {name: (one + random.normal(0, 0.1, one.shape)).astype(np.float32) for name, one in made}


def run(xp, weights, pictures, *, mixed=False):
    """What the network gives in a compiled function, as one serves pictures of any number."""
    layout = xp.layout(DESCRIPTION)
    native = {name: layout.native(name, weights[name]) for name in tensor_shapes(DESCRIPTION)}
    assert all(np.array_equal(layout.canonical(name, one), weights[name]) for name, one in native.items())
    network = Network(xp, DESCRIPTION, layout, mixed=mixed)
    held = [xp.from_numpy(one) for one in native.values()]
    compiled = xp.compiled(lambda _, given: network(held, given))
    return [xp.to_numpy(compiled(xp.from_numpy(one))) for one in pictures]


def test_pictures_of_any_number_and_size_go_through(operations, weights):
    random = np.random.default_rng(3)
    pictures = [random.standard_normal((number, 5, *sides)) for number, sides in ((2, (32, 32)), (3, (32, 32)), (1, (48, 64)))]
    double = {name: one.astype(float) for name, one in weights.items()}
    for given, found in zip(pictures, run(operations("float64"), weights, pictures), strict=True):
        np.testing.assert_allclose(found, channels(DESCRIPTION, double, given), rtol=0, atol=1e-12)


@pytest.mark.long
def test_in_bfloat16_every_result_is_that_of_the_reference_rounded(operations, weights):
    given = np.random.default_rng(3).standard_normal((2, 5, 32, 32))
    (found,) = run(operations("float32"), weights, [given], mixed=True)
    wanted = channels(DESCRIPTION, {name: one.astype(float) for name, one in weights.items()}, given, rounded)
    # A sum that lies between two numbers of bfloat16 may fall to either.
    assert np.mean(found != wanted) < 0.02
    assert np.linalg.norm(found - wanted) < 1e-3 * np.linalg.norm(wanted)


def rounded(values):
    """To the nearest number of bfloat16, of two the even one."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    return (((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) << 16).view(np.float32).astype(float)
