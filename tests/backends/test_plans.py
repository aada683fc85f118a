"""What a plan makes of a request: the device that ``auto`` means, and an answer to each option that was asked for."""

import pytest

from ptycho_core.backends.plans import make_plan, without
from ptycho_core.contract import Device, ExecutionRequest, ProbeReport
from ptycho_core.settings.execution import ExecutionSettings
from ptycho_core.settings.reconstruction import ReconstructionSettings

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


def test_workers_read_two_batches_ahead_each_unless_said():
    assert planned().execution["prefetch"] is None
    assert planned(num_workers=3).execution["prefetch"] == 6
    assert planned(num_workers=3, prefetch=2).execution["prefetch"] == 2


def test_memory_is_pinned_for_a_gpu_alone():
    plan = planned(pin_memory=True)
    answer = plan.dispositions["pin_memory"]
    assert (answer.kind, answer.why) == ("unsupported", "pinned memory serves copies to a GPU, and the device is the CPU")
    assert plan.execution["pin_memory"] is False
    plan = planned(CPU, CUDA, pin_memory=True)
    assert (plan.dispositions["pin_memory"].kind, plan.execution["pin_memory"]) == ("applied", True)
    assert planned(pin_memory=False).dispositions["pin_memory"].kind == "applied"


def test_what_a_framework_lacks_is_unsupported_and_then_off():
    values = {**vars(ExecutionSettings()), "pin_memory": True}
    probe = ProbeReport("1.0", (CPU, CUDA), ("float32",))
    asked = ExecutionRequest("train", values, {}, {"compile": True}, frozenset({"pin_memory", "acme.compile"}))
    plan = without(make_plan(asked, probe, "Acme"), "pin_memory", "it has none")
    plan = without(plan, "acme.compile", "no compiler")
    assert {name: one.why for name, one in plan.dispositions.items()} == {
        "pin_memory": "it has none",
        "acme.compile": "no compiler",
    }
    assert (plan.execution["pin_memory"], plan.options["compile"]) == (False, False)


def honouring(asked, **given):
    """The answers of a backend to settings of a fit; some are asked for, all others are as declared."""
    values = {**vars(ReconstructionSettings()), **asked, "added_later": 1}
    settings = {"reconstruction": values, "data": {"size": 32}}
    requested = frozenset({*asked, "size", "seed", "added_later"})
    request = ExecutionRequest("reconstruct", vars(ExecutionSettings()), settings, {}, requested)
    plan = make_plan(request, ProbeReport("1.0", (CPU,), ("float32",)), "Acme", **given)
    return {name: (one.kind, one.value, one.why) for name, one in plan.dispositions.items()}


def test_what_a_backend_does_not_name_is_unsupported():
    anyway = {"modes": (1, "it fits one mode"), "coarse_start": (False, "it starts with the whole detector")}
    asked = {"epochs": 3, "modes": 2, "coarse_start": False, "tolerance": 0.1}
    assert honouring(asked, honours=["epochs"], anyway=anyway) == {
        "epochs": ("applied", 3, ""),
        "modes": ("unsupported", None, "it fits one mode"),
        "coarse_start": ("applied", False, ""),
        "tolerance": ("unsupported", None, "Acme does not look at it"),
        "added_later": ("unsupported", None, "Acme does not look at it"),
        "size": ("applied", 32, ""),
        "seed": ("applied", 0, ""),
    }
    assert {kind for kind, _, _ in honouring(asked).values()} == {"applied"}


def test_what_cannot_be_changed_is_no_setting_of_a_verb_that_does_not_have_it():
    values = {name: value for name, value in vars(ExecutionSettings()).items() if name != "num_workers"}
    request = ExecutionRequest("evaluate", values, {}, {}, frozenset())
    plan = make_plan(request, ProbeReport("1.0", (CPU,), ("float32",)), "Acme", {"num_workers": (0, "no"), "threads": (1, "one")})
    assert plan.execution == {**values, "accelerator": "cpu", "threads": 1}


def test_what_is_not_there_is_unsupported_and_says_why():
    answer = planned(accelerator="cuda").dispositions["accelerator"]
    assert (answer.kind, answer.why) == ("unsupported", "'cuda' is not available: no GPU was found")
