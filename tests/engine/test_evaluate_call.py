"""``ptycho_core.evaluate``: the verb without a command, through the whole chain of settings, backend and plan."""

import numpy as np
import pytest

import ptycho_core
from ptycho_core.contract import EvaluateJob
from ptycho_core.errors import CapabilityError, SettingsError
from ptycho_core.physics.evaluation import evaluate as reference


@pytest.fixture
def job() -> EvaluateJob:
    random = np.random.default_rng(5)
    complex_noise = random.standard_normal((2, 40, 40)) @ np.ones((40, 40)) * 0.01
    return EvaluateJob(
        object=1 + complex_noise[0] + 1j * complex_noise[1],
        probe=(random.standard_normal((2, 16, 16)) + 1j * random.standard_normal((2, 16, 16))) * 3,
        positions=random.uniform(2, 20, (5, 2)),
        counts=random.poisson(30.0, (5, 16, 16)).astype(float),
        weights={"amplitude": 1.0, "nll": 0.5, "tv": 0.1},
    )


def test_a_call_in_double_precision_equals_the_reference(job: EvaluateJob, backend: str) -> None:
    ours, theirs = ptycho_core.evaluate(job, backend=backend, precision="float64"), reference(job)
    assert np.linalg.norm(ours.intensities - theirs.intensities) < 1e-12 * np.linalg.norm(theirs.intensities)
    for name, value in theirs.losses.items():
        assert ours.losses[name] == pytest.approx(value, rel=1e-12)
    for name, value in theirs.gradients.items():
        assert np.linalg.norm(ours.gradients[name] - value) < 1e-10 * np.linalg.norm(value)


def test_settings_of_the_call_are_checked(job: EvaluateJob, backend: str) -> None:
    with pytest.raises(SettingsError, match="precision"):
        ptycho_core.evaluate(job, backend=backend, precision="float16")
    with pytest.raises(CapabilityError, match="tpu"):
        ptycho_core.evaluate(job, backend=backend, accelerator="tpu")
