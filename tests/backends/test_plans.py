"""What a plan makes of a request: the device that ``auto`` means, and an answer to each option that was asked for."""

import pytest

from ptycho_core.backends.plans import make_plan
from ptycho_core.contract import Device, ExecutionRequest, ProbeReport
from ptycho_core.settings.execution import ExecutionSettings

CPU, CUDA, MPS = Device("cpu", "cpu"), Device("cuda", "cuda:0"), Device("mps", "mps")


def planned(*devices, verb="train", **asked):
    """The plan of a machine with these devices."""
    values = {**vars(ExecutionSettings()), **asked}
    probe = ProbeReport("1.0", devices or (CPU,), ("float32", "float64"), ("no GPU was found",))
    return make_plan(ExecutionRequest(verb, values, {}, {}, frozenset(asked)), probe, "Acme")


@pytest.mark.parametrize(
    ("devices", "taken", "said"),
    [
        ((CPU, MPS, CUDA), "cuda:0", "accelerator auto: cuda"),
        ((CPU, MPS), "mps", "accelerator auto: mps"),
        ((CPU,), "cpu", "accelerator auto: cpu (no GPU was found)"),
    ],
)
def test_auto_takes_a_gpu_and_says_so_where_there_is_none(devices, taken, said):
    plan = planned(*devices)
    assert (plan.device, plan.notes) == (taken, (said,))


def test_what_is_not_there_is_unsupported_and_says_why():
    answer = planned(accelerator="cuda").dispositions["accelerator"]
    assert (answer.kind, answer.why) == ("unsupported", "'cuda' is not available: no GPU was found")
