"""The backend itself: it can be used, loads lightly, says what its manifest says, and answers every option."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ptycho_core.conformance.suite.marks import kit
from ptycho_core.conformance.suite.refusals import refused_with
from ptycho_core.contract import BackendSpec, ExecutionRequest, ProbeReport
from ptycho_core.errors import CapabilityError, SettingsError

if TYPE_CHECKING:
    from ptycho_core.conformance.suite.bench import Bench
    from ptycho_core.contract import OptionSpec, Value

LOADS = ("test_the_hooks_fit_the_contract",)


@kit()
def test_it_can_be_used(bench: Bench) -> None:
    row = bench.row
    assert row.state == "ok", f"{row.state}: {row.reason}"


@kit(needs=("test_it_can_be_used",))
def test_the_plugin_can_be_imported(bench: Bench) -> None:
    bench.call("imported", bench.name)


@kit(needs=("test_the_plugin_can_be_imported",))
def test_it_says_what_its_manifest_says(bench: Bench) -> None:
    said = bench.call("said", bench.name)
    assert isinstance(said, BackendSpec), f"ptycho_backend_spec returned {said!r}"
    differing = {one.name: (getattr(said, one.name), getattr(bench.spec, one.name)) for one in fields(BackendSpec)}
    assert not {name: both for name, both in differing.items() if both[0] != both[1]}, "(said, manifest)"


@kit(needs=("test_it_says_what_its_manifest_says",))
def test_the_hooks_fit_the_contract(bench: Bench) -> None:
    assert bench.call("loaded", bench.name) == list(bench.spec.capabilities)


@kit(needs=LOADS)
def test_loading_imports_nothing_heavy(bench: Bench) -> None:
    tried = bench.call("ptycho_core.conformance.suite.laziness:heavy_imports", bench.name, which="lazy")
    bench.end("lazy")
    assert not tried, "imported when the plugin is loaded; import it inside the hooks"


@kit(needs=LOADS)
def test_the_probe_says_what_there_is(bench: Bench) -> None:
    first, second = bench.once("probe", lambda: bench.call("probe", bench.name))
    assert isinstance(first, ProbeReport)
    assert first == second, "two probes differ"
    found = {device.accelerator for device in first.devices}
    assert first.framework_version
    assert found <= set(bench.spec.accelerators), "it finds devices that the manifest does not claim"
    assert bench.device in found, f"no device '{bench.device}' here: {'; '.join(first.problems)}"
    assert set(first.precisions) <= set(bench.spec.precisions), "it offers precisions that the manifest does not claim"
    assert first.precisions
    assert all(device.name for device in first.devices)


def planned(bench: Bench, verb: str, **asked: Value) -> tuple[ExecutionRequest, Any, Any]:
    """A request in which some settings were asked for, and what two plans make of it."""
    from ptycho_core.settings.execution import ExecutionSettings
    from ptycho_core.settings.groups import GROUPS
    from ptycho_core.settings.resolution import resolve

    # Execution settings only, and every group of what is computed as the core resolves it.
    overrides = bench.settings() | asked
    groups = resolve(verb, overrides=overrides, spec=bench.spec).groups()
    assert ExecutionSettings in GROUPS
    options = {one.name: asked.get(f"{bench.row.name}.{one.name}", one.default) for one in bench.spec.options}
    request = ExecutionRequest(verb, groups.pop("execution"), groups, options, frozenset(overrides))
    first, second, untouched = bench.call("plans", bench.name, request)
    assert untouched, "ptycho_plan changed the request"
    return request, first, second


@kit(needs=("test_the_probe_says_what_there_is",))
def test_the_plan_answers_exactly_what_was_asked_for(bench: Bench, verb: str) -> None:
    request, plan, again = planned(bench, verb, seed=7)
    assert plan == again, "two plans of the same request differ"
    assert set(plan.dispositions) == request.requested
    assert plan.execution.keys() == request.execution.keys(), "effective values must be given of every execution setting"
    assert plan.options.keys() == request.options.keys()
    assert plan.device in {device.name for device in bench.call("probe", bench.name)[0].devices}
    for name, answer in plan.dispositions.items():
        assert answer.kind in ("applied", "adjusted", "unsupported"), name
        assert answer.kind == "applied" or answer.why, f"{name} is {answer.kind} without a reason"
        if answer.kind == "applied" and name in plan.execution:
            assert plan.execution[name] == request.execution[name], f"{name} is applied, but another value is effective"
        if answer.kind == "adjusted" and name in plan.execution:
            assert plan.execution[name] == answer.value, f"{name} is adjusted to one value, and another is effective"
    assert plan.dispositions["precision"].kind == "applied"
    assert plan.dispositions["seed"].kind == "applied"


def values_of(option: OptionSpec) -> list[Value]:
    """Values of an option: its default, and both ends of its range or every choice."""
    if option.type == "bool":
        return [option.default, not option.default]
    if option.type == "str":
        return list(dict.fromkeys([option.default, *(option.choices or ("another",))]))
    low, high = option.minimum, option.maximum
    ends = [one for one in (low, high) if one is not None] or [0, 1]
    if len(ends) == 1:  # open to one side
        ends += [ends[0] + 1 if high is None else ends[0] - 1]
    kept = [int(one) if option.type == "int" else float(one) for one in ends]
    return list(dict.fromkeys([option.default, *kept]))


def option_named(bench: Bench, name: str) -> OptionSpec:
    """An option of the manifest."""
    return next(one for one in bench.spec.options if one.name == name)


@kit(needs=("test_the_plan_answers_exactly_what_was_asked_for",))
def test_an_option_of_its_own_is_answered(bench: Bench, own_option: str) -> None:
    verb = next(word for word in bench.spec.capabilities if word in ("train", "infer", "reconstruct", "evaluate"))
    key, value = f"{bench.row.name}.{own_option}", values_of(option_named(bench, own_option))[-1]
    _, plan, _ = planned(bench, verb, **{key: value})
    answer = plan.dispositions[key]
    assert answer.kind in ("applied", "adjusted", "unsupported")
    if answer.kind == "applied":
        assert plan.options[own_option] == value


@kit(needs=LOADS)
def test_an_option_of_its_own_refuses_what_it_cannot_be(bench: Bench, own_option: str) -> None:
    verb = next(word for word in bench.spec.capabilities if word in ("train", "infer", "reconstruct", "evaluate"))
    option, key = option_named(bench, own_option), f"{bench.row.name}.{own_option}"
    bad: Value = 0.5 if option.type in ("bool", "int", "str") else "no number"
    with refused_with(SettingsError, own_option, f"{key} = {bad!r}"):
        bench.call("plan_of", verb, bench.settings(**{key: bad}))


@kit(needs=LOADS)
def test_a_verb_that_is_not_claimed_is_refused(bench: Bench, unclaimed_verb: str) -> None:
    with refused_with(CapabilityError, unclaimed_verb, f"'{unclaimed_verb}', which is not claimed,"):
        bench.call("plan_of", unclaimed_verb, bench.settings())


@kit(needs=LOADS)
def test_a_precision_that_is_not_claimed_is_refused(bench: Bench, unclaimed_precision: str) -> None:
    with refused_with(CapabilityError, unclaimed_precision, f"'{unclaimed_precision}', which is not claimed,"):
        bench.call("plan_of", _verb(bench), bench.settings(precision=unclaimed_precision))


@kit(needs=LOADS)
def test_an_accelerator_that_is_not_claimed_is_refused(bench: Bench, unclaimed_accelerator: str) -> None:
    with refused_with(CapabilityError, unclaimed_accelerator, f"'{unclaimed_accelerator}', which is not claimed,"):
        bench.call("plan_of", _verb(bench), bench.settings(accelerator=unclaimed_accelerator))


@kit(needs=LOADS)
def test_what_reconstruct_does_not_claim_is_refused(bench: Bench, unclaimed_extra: str) -> None:
    every: dict[str, tuple[str, Value]] = {
        "positions": ("refine_positions", "on"),
        "position-search": ("refine_positions", "search"),
        "background": ("background", "pixel"),
        "flux": ("refine_flux", True),
        "saturation": ("saturation", 100.0),
        "near-field": ("regime", "near"),
    }
    name, value = every[unclaimed_extra]
    with refused_with(CapabilityError, unclaimed_extra, f"'{unclaimed_extra}', which is not claimed,"):
        bench.call("plan_of", "reconstruct", bench.settings(**{name: value}))


def _verb(bench: Bench) -> str:
    """A claimed verb."""
    return next(word for word in ("reconstruct", "train", "infer", "evaluate") if word in bench.spec.capabilities)
