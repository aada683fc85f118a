"""What a plan makes of a request: the device that ``auto`` means, and an answer to each option that was asked for."""

import re

import pytest

from ptycho_core.backends.plans import make_plan, without
from ptycho_core.contract import Device, ExecutionRequest, ProbeReport
from ptycho_core.settings.execution import ExecutionSettings
from ptycho_core.settings.reconstruction import ReconstructionSettings

CPU, CUDA, MPS, TPU = Device("cpu", "cpu"), Device("cuda", "cuda:0"), Device("mps", "mps"), Device("tpu", "tpu:0")


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
        ((TPU,), "tpu:0", "accelerator auto: tpu"),
        ((TPU, CPU), "cpu", "accelerator auto: cpu (no GPU was found)"),
    ],
)
def test_auto_takes_a_gpu_and_says_so_where_there_is_none(devices, taken, said):
    plan = planned(*devices)
    assert (plan.device, plan.notes[0]) == (taken, said)


def test_auto_says_no_reason_where_there_is_none():
    request = ExecutionRequest("train", vars(ExecutionSettings()), {}, {}, frozenset())
    assert make_plan(request, ProbeReport("1.0", (CPU,), ("float32",)), "Acme").notes[0] == "accelerator auto: cpu"


@pytest.mark.parametrize(
    ("processors", "variables", "note"),
    [
        (64, {}, "threads 8 (more do not help)"),
        (3, {}, "threads 3 (processors of this process)"),
        (64, {"SLURM_CPUS_PER_TASK": "4"}, "threads 4 (SLURM_CPUS_PER_TASK)"),
        (64, {"SLURM_CPUS_PER_TASK": "4", "OMP_NUM_THREADS": "2"}, "threads 2 (OMP_NUM_THREADS)"),
        (64, {"SLURM_CPUS_PER_TASK": "4", "OMP_NUM_THREADS": "6,2"}, "threads 4 (SLURM_CPUS_PER_TASK)"),
        (3, {"SLURM_CPUS_PER_TASK": "4"}, "threads 3 (processors of this process)"),
        (64, {"SLURM_CPUS_PER_TASK": "40"}, "threads 8 (more do not help)"),
        (64, {"OMP_NUM_THREADS": "many", "SLURM_CPUS_PER_TASK": "0"}, "threads 8 (more do not help)"),
    ],
)
def test_threads_follow_what_this_process_was_given_and_the_plan_says_what_limits_them(monkeypatch, processors, variables, note):
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(processors)), raising=False)
    plan = planned()
    assert plan.notes[1:] == (note,)
    assert plan.execution["threads"] == int(note.split()[1])


def test_nothing_is_noted_of_threads_that_are_asked_for_or_cannot_be_changed():
    assert planned(threads=3).notes == ("accelerator auto: cpu (no GPU was found)",)
    request = ExecutionRequest("train", vars(ExecutionSettings()), {}, {}, frozenset())
    fixed = make_plan(request, ProbeReport("1.0", (CPU,), ("float32",)), "Acme", {"threads": (1, "set already")})
    assert (fixed.execution["threads"], len(fixed.notes)) == (1, 1)


def test_what_is_not_there_is_refused_on_a_machine_without_a_processor_device_too():
    plan = planned(TPU, accelerator="cuda")
    assert (plan.device, plan.execution["accelerator"]) == ("tpu:0", "tpu")
    assert plan.dispositions["accelerator"].kind == "unsupported"
    with pytest.raises(ValueError, match="probe of Acme reports no device"):
        make_plan(ExecutionRequest("train", vars(ExecutionSettings()), {}, {}, frozenset()), ProbeReport("1", (), ()), "Acme")


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


ALL = {"num_workers": 2, "prefetch": 3, "pin_memory": True, "deterministic": "strict"}
OFF = {"num_workers": 0, "prefetch": None, "pin_memory": False, "deterministic": "on"}


def executed(asked, *, verb="reconstruct", **given):
    """What becomes of execution settings on a GPU, and what is effective of all four that are for the backend to act on."""
    values = {**vars(ExecutionSettings()), **asked}
    request = ExecutionRequest(verb, values, {}, {}, frozenset(asked))
    plan = make_plan(request, ProbeReport("1.0", (CUDA, CPU), ("float32",)), "Acme", **given)
    answers = {name: (one.kind, one.value, one.why) for name, one in plan.dispositions.items()}
    return answers, {name: plan.execution[name] for name in ALL}


@pytest.mark.parametrize("verb", ["train", "infer", "reconstruct"])
def test_what_only_the_backend_can_act_on_is_unsupported_unless_it_is_named(verb):
    answers, effective = executed(ALL, verb=verb, honours=["epochs"])
    assert answers == dict.fromkeys(ALL, ("unsupported", None, "Acme does not look at it"))
    assert effective == OFF
    answers, effective = executed(ALL, verb=verb, honours=[*ALL])
    assert ({kind for kind, _, _ in answers.values()}, effective) == ({"applied"}, ALL)
    answers, effective = executed(OFF, verb=verb, honours=[])
    assert ({kind for kind, _, _ in answers.values()}, effective) == ({"applied"}, OFF)


@pytest.mark.parametrize("name", ALL)
def test_one_that_is_named_promises_nothing_of_the_others(name):
    answers, effective = executed(ALL, honours=[one for one in ALL if one != name])
    assert answers[name] == ("unsupported", None, "Acme does not look at it")
    assert effective[name] == OFF[name]
    others = {one for one in ALL if one != name and (name, one) != ("num_workers", "prefetch")}
    assert {answers[one][0] for one in others} == {"applied"}


def test_reading_ahead_goes_where_the_workers_go():
    asked = {"num_workers": 2, "prefetch": 3}
    answers, effective = executed(asked, fixed={"num_workers": (0, "all is in memory")})
    assert answers == {
        "num_workers": ("adjusted", 0, "all is in memory"),
        "prefetch": ("adjusted", None, "all is in memory"),
    }
    assert (effective["num_workers"], effective["prefetch"]) == (0, None)
    answers, _ = executed(asked, honours=["prefetch"])
    assert answers == dict.fromkeys(asked, ("unsupported", None, "Acme does not look at it"))
    assert executed({"num_workers": 2}, fixed={"num_workers": (1, "one file")})[1]["prefetch"] == 2
    assert executed({"prefetch": 3})[0]["prefetch"] == ("adjusted", None, "nothing reads ahead without workers")


def test_what_is_done_all_the_same_gives_the_reason_of_an_execution_setting_too():
    anyway = {"deterministic": ("off", "it adds in any order")}
    answers, effective = executed({"deterministic": "strict"}, honours=[], anyway=anyway)
    assert (answers["deterministic"], effective["deterministic"]) == (
        ("unsupported", None, "it adds in any order"),
        "off",
    )
    assert executed({"deterministic": "off"}, honours=[], anyway=anyway)[0]["deterministic"] == ("applied", "off", "")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"fixed": {"num_wrkers": (0, "no")}},
         "fixed of make_plan names 'num_wrkers', which is no execution setting. Did you mean 'num_workers'?"),
        ({"fixed": {"epochs": (1, "no")}}, "fixed of make_plan names 'epochs', which is no execution setting."),
        ({"honours": ["epochs", "objct_alpha"]},
         "honours of make_plan names 'objct_alpha', which is no setting of ptycho. Did you mean 'object_alpha'?"),
        ({"honours": [], "anyway": {"mode": (1, "one")}},
         "anyway of make_plan names 'mode', which is no setting of ptycho. Did you mean 'modes'?"),
    ],
)  # fmt: skip
def test_a_name_that_is_no_setting_is_refused(given, told):
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        executed({}, **given)


def test_one_list_may_serve_several_verbs():
    assert executed({}, honours=["epochs", "gridsize", "inference_batch_size", "num_workers"])[0] == {}


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
