"""A chosen backend is loaded guarded, held to the contract, and its faults are reported with its name."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import numpy as np
import pytest

from ptycho_core import contract, hookimpl
from ptycho_core.backends import choose, load, register, unregister
from ptycho_core.conformance.suite.inputs import known_scan, perturbed_model
from ptycho_core.errors import BackendError, BackendUnusableError, CapabilityError, DataError, HookError, UsageError
from ptycho_core.evaluation import opened
from ptycho_core.inference.run import infer_job
from ptycho_core.settings.resolution import resolve

SPEC = contract.BackendSpec("demo", "Demo", (2, 0), None, ("infer", "evaluate"), issues_url="https://example.org/issues")
REPORT = contract.ProbeReport("1", (contract.Device("cpu", "cpu"),), ("float32",))
REQUEST = contract.ExecutionRequest("evaluate", {"precision": "float32"}, {}, {}, frozenset({"precision"}))
PLAN = contract.ExecutionPlan("cpu", {"precision": "float32"}, {}, {"precision": contract.Disposition("applied")})
JOB = contract.EvaluateJob(np.ones((4, 4), complex), np.ones((1, 2, 2), complex), np.zeros((1, 2)), np.ones((1, 2, 2)))
REPORT_IT = "This is a bug in the backend; please report it: https://example.org/issues"


class Demo:
    """A backend that keeps the contract; each test breaks one thing."""

    @hookimpl
    def ptycho_backend_spec(self):
        return SPEC

    @hookimpl
    def ptycho_probe(self):
        return REPORT

    @hookimpl
    def ptycho_plan(self):  # a hook may take fewer arguments than are specified
        return PLAN

    @hookimpl
    def ptycho_infer(self):
        return iter([contract.InferBatch(np.arange(1), np.ones((1, 2, 2), complex))])

    @hookimpl
    def ptycho_evaluate(self, job):
        return contract.EvaluateResult(job.counts, {}, {})


@pytest.fixture(scope="module")
def inference(tmp_path_factory):
    """A job for an inference."""
    folder = tmp_path_factory.mktemp("inference")
    job = opened(replace(perturbed_model(folder / "model.ptycho", known_scan(folder / "scan.npz")), groups=np.array([[0]])))
    one = job.data.scans[0]
    return infer_job(one.scan, job.model, one.scan.probe, one.positions, resolve("infer").groups())


@pytest.fixture
def loaded():
    """Registers a plugin, loads it, and forgets it afterwards."""

    def run(plugin, spec=SPEC, **options):
        register("demo", plugin, spec)
        return load(choose("demo"), **options)

    yield run
    unregister("demo")


def refusal(loaded, plugin, error=HookError, **options):
    with pytest.raises(error) as caught:
        loaded(plugin, **options)
    return str(caught.value)


def test_a_sound_backend_does_its_verbs(loaded, inference):
    backend = loaded(Demo())
    assert backend.probe() is REPORT
    assert backend.plan(REQUEST, REPORT) is PLAN
    assert backend.evaluate(JOB, PLAN).intensities is JOB.counts
    assert [batch.frames.tolist() for batch in backend.infer(inference, PLAN, None)] == [[0]]


def test_a_verb_that_is_not_claimed_is_refused(loaded):
    with pytest.raises(CapabilityError, match="backend 'demo' does not provide 'train', only infer, evaluate"):
        loaded(Demo()).train(None, PLAN, None)


@pytest.mark.parametrize(
    ("word", "so", "what"),
    [
        ("near-field", "is in the near field", {"propagation": ("fresnel", 1.0, 0.1)}),
        ("saturation", "has saturated pixels", {"saturation": 9.0}),
    ],
)
@pytest.mark.parametrize("claims", [False, True])
def test_what_a_backend_does_not_claim_is_refused_by_name_before_its_hook(loaded, word, so, what, claims):
    job, spec, asked = replace(JOB, **what), replace(SPEC, capabilities=("evaluate", *([word] if claims else []))), []

    class Watched:
        ptycho_probe, ptycho_plan = Demo.ptycho_probe, Demo.ptycho_plan

        @hookimpl
        def ptycho_backend_spec(self):
            return spec

        @hookimpl
        def ptycho_evaluate(self, job):
            asked.append(job)
            return contract.EvaluateResult(job.counts, {}, {})

    backend = loaded(Watched(), spec)
    if claims:
        backend.evaluate(job, PLAN)
        assert asked == [job]
        return
    with pytest.raises(CapabilityError, match=f"backend 'demo' does not provide '{word}', and the batch {so}"):
        backend.evaluate(job, PLAN)
    assert asked == []


def test_a_misspelt_hook_is_an_error_with_the_nearest_name(loaded):
    class Misspelt(Demo):
        @hookimpl
        def ptycho_evalute(self):
            return None

    assert refusal(loaded, Misspelt()) == (
        "backend 'demo' (registered in this process) has a hook 'ptycho_evalute' that the contract does not know. "
        f"Did you mean 'ptycho_evaluate'? {REPORT_IT}"
    )


def test_a_hook_that_asks_for_an_unknown_argument_is_told(loaded):
    class Curious(Demo):
        @hookimpl
        def ptycho_evaluate(self, job, colour):
            return (job, colour)

    text = refusal(loaded, Curious())
    assert "does not fit the contract" in text
    assert "colour" in text


@pytest.mark.parametrize("hook", ["ptycho_backend_spec", "ptycho_probe", "ptycho_plan"])
def test_a_required_hook_must_be_there(loaded, hook):
    assert f"lacks the required hook {hook}" in refusal(loaded, type("Lacking", (Demo,), {hook: None})())


def test_a_claimed_verb_must_have_its_hook(loaded):
    assert "claims 'evaluate' but lacks the hook ptycho_evaluate" in refusal(
        loaded, type("Lacking", (Demo,), {"ptycho_evaluate": None})()
    )


def test_the_specification_must_equal_the_manifest(loaded):
    class Other(Demo):
        @hookimpl
        def ptycho_backend_spec(self):
            return contract.BackendSpec("demo", "Demonstration", (2, 0), None, ("infer", "evaluate"), issues_url=SPEC.issues_url)

    text = refusal(loaded, Other())
    assert "ptycho_backend_spec of backend 'demo'" in text
    assert "says title = 'Demonstration', but its manifest says 'Demo'" in text


@pytest.mark.parametrize(("answer", "given"), [(None, "None"), ({"device": "cpu"}, "dict")])
def test_no_answer_or_one_of_a_wrong_type_is_told_by_plugin_and_hook(loaded, answer, given):
    class Wrong(Demo):
        @hookimpl
        def ptycho_plan(self):
            return answer

    with pytest.raises(HookError) as caught:
        loaded(Wrong()).plan(REQUEST, REPORT)
    assert str(caught.value) == (
        f"ptycho_plan of backend 'demo' (registered in this process) returned {given}; "
        f"the contract requires an ExecutionPlan. {REPORT_IT}"
    )
    assert (caught.value.code, caught.value.exit_status) == ("backend.hook", 3)


@pytest.mark.parametrize(
    ("dispositions", "what"),
    [
        ({}, "leaves without a disposition: precision"),
        ({"precision": contract.Disposition("applied"), "seed": contract.Disposition("applied")}, "answers unasked: seed"),
        ({"precision": "applied"}, "gives 'precision' no disposition but 'applied'"),
    ],
)
def test_each_requested_option_is_answered_and_no_other(loaded, dispositions, what):
    class Careless(Demo):
        @hookimpl
        def ptycho_plan(self):
            return contract.ExecutionPlan("cpu", {}, {}, dispositions)

    with pytest.raises(HookError, match=what):
        loaded(Careless()).plan(REQUEST, REPORT)


@pytest.mark.parametrize("error", [ValueError("no luck"), SystemExit(3)])
def test_an_exception_of_the_plugin_is_told_with_type_reason_and_line(loaded, error):
    class Failing(Demo):
        @hookimpl
        def ptycho_evaluate(self):
            raise error

    line = Failing.ptycho_evaluate.__code__.co_firstlineno + 2
    with pytest.raises(BackendError) as caught:
        loaded(Failing()).evaluate(JOB, PLAN)
    assert caught.value.message == (
        f"backend 'demo' (registered in this process) failed in ptycho_evaluate: "
        f"{type(error).__name__}: {error} (backends/test_loading.py:{line})."
    )
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [DataError("bad file"), KeyboardInterrupt(), MemoryError()])
def test_errors_that_have_a_meaning_pass_unchanged(loaded, error):
    class Failing(Demo):
        @hookimpl
        def ptycho_evaluate(self):
            raise error

    backend = loaded(Failing())
    with pytest.raises(type(error)) as caught:
        backend.evaluate(JOB, PLAN)
    assert caught.value is error


def test_an_error_between_two_batches_is_told_like_any_other(loaded, inference):
    class Failing(Demo):
        @hookimpl
        def ptycho_infer(self):
            yield contract.InferBatch(np.arange(1), np.ones((1, 2, 2), complex))
            raise RuntimeError("tired")

    batches = loaded(Failing()).infer(inference, PLAN, None)
    next(batches)
    with pytest.raises(BackendError, match="failed in ptycho_infer: RuntimeError: tired"):
        next(batches)


def test_another_framework_in_the_process_is_refused_unless_allowed(loaded, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", types.ModuleType("tensorflow"))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert loaded(Demo()).name == "demo"  # it has no framework, and disturbs none
    unregister("demo")
    spec = replace(SPEC, framework=contract.Framework("packaging", ("packaging",)))

    class WithFramework(Demo):
        @hookimpl
        def ptycho_backend_spec(self):
            return spec

    text = refusal(loaded, WithFramework(), BackendError, spec=spec)
    assert text == (
        "TensorFlow (module 'tensorflow') is already imported in this process, and backend 'demo' uses another one. "
        "Start it in a separate process, or set allow_mixed_frameworks."
    )
    assert load(choose("demo"), allow_mixed_frameworks=True).name == "demo"


def test_what_a_framework_imports_itself_is_no_mixture(loaded, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    spec = replace(SPEC, framework=contract.Framework("pluggy", ("pluggy",)))

    class Importing(Demo):
        @hookimpl
        def ptycho_backend_spec(self):
            return spec

        @hookimpl
        def ptycho_probe(self):
            monkeypatch.setitem(sys.modules, "tensorflow", types.ModuleType("tensorflow"))
            return super().ptycho_probe()

    loaded(Importing(), spec=spec).probe()
    assert load(choose("demo")).name == "demo", "its second job is as good as its first"
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    with pytest.raises(BackendError, match=r"PyTorch \(module 'torch'\) is already imported"):
        load(choose("demo"))


def test_what_builds_on_a_framework_shares_a_process_with_it(loaded, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", types.ModuleType("tensorflow"))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    spec = replace(SPEC, framework=contract.Framework("packaging", ("packaging",), builds_on="tensorflow"))

    class OnTop(Demo):
        @hookimpl
        def ptycho_backend_spec(self):
            return spec

    assert loaded(OnTop(), spec=spec).name == "demo"
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    with pytest.raises(BackendError, match=r"PyTorch \(module 'torch'\) is already imported"):
        load(choose("demo"))


def test_direct_registration_passes_the_same_checks():
    with pytest.raises(UsageError, match="reserved word"):
        register("auto", Demo(), SPEC)
    with pytest.raises(UsageError, match="another spelling of 'torch'"):
        register("pytorch", Demo(), SPEC)
    with pytest.raises(BackendUnusableError, match="the manifest says 'demo', not 'other'"):
        register("other", Demo())
    with pytest.raises(BackendUnusableError, match="returns no BackendSpec"):
        register("demo", object())
    newer = contract.BackendSpec("demo", "Demo", (2, 999), None, ("evaluate",))
    with pytest.raises(BackendUnusableError, match=r"implements contract 2\.999") as caught:
        register("demo", Demo(), newer)
    assert caught.value.state == "incompatible"
    register("demo", Demo())
    with pytest.raises(UsageError, match="already there"):
        register("demo", Demo())
    unregister("demo")
    with pytest.raises(UsageError, match="was registered"):
        unregister("demo")


def test_a_failing_import_keeps_its_reason_and_the_line_of_the_plugin(site):
    site.framework()
    for number, (body, what) in enumerate(
        [
            ("import os\nfrom json import nothing\n", "ImportError: cannot import name 'nothing' from 'json'"),
            ("raise SystemExit(7)\n", "SystemExit: 7 (ptycho_b1/plugin.py:1)"),
            ("def f(:\n", "SyntaxError: invalid syntax (plugin.py:1)"),
        ]
    ):
        site.backend(f"b{number}", plugin=body)
        done = site.choose(f"b{number}", "load(row)")
        assert done.returncode == 3, done.stderr
        assert f"backend 'b{number}' (ptycho-b{number} 1.0) cannot be loaded: {what}" in done.stderr
        assert "Run 'ptycho backends doctor" in done.stderr
    assert "(ptycho_b0/plugin.py:2)" in site.choose("b0", "load(row)").stderr


def test_a_hook_module_that_imports_its_framework_is_refused(site):
    site.backend(plugin="import fakeflow\n" + site.sound_plugin.format(name="acme"))
    site.framework()
    done = site.choose("acme", "load(row)")
    assert done.returncode == 3
    assert "imports 'fakeflow' when it is loaded; only ptycho_probe and the verbs may" in done.stderr


def test_the_environment_of_the_manifest_is_set_before_the_import_unless_set_already(site):
    site.backend(manifest=site.manifest + '\n[environment]\nFAKE_A = "yes"\nFAKE_B = "no"\n')
    site.framework(body="import os\nprint('seen', os.environ['FAKE_A'], os.environ['FAKE_B'])\n")
    done = site.choose("acme", "backend = load(row); backend.probe(); print(backend.environment)", FAKE_B="mine")
    assert done.stdout.splitlines() == ["seen yes mine", "{'FAKE_A': 'yes'}"]
