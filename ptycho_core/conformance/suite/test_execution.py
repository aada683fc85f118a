"""How a job is run: what only the backend can act on acts or is refused in each verb, and so does each of its own options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.conformance.suite.marks import kit
from ptycho_core.conformance.suite.test_backend import option_named, planned, values_of
from ptycho_core.conformance.suite.test_infer import MODEL
from ptycho_core.conformance.suite.test_isolation import ANSWERS, answer, arrays
from ptycho_core.conformance.suite.test_reconstruct import FULL
from ptycho_core.errors import CapabilityError, DataError, SettingsError

if TYPE_CHECKING:
    from ptycho_core.conformance.suite.bench import Bench
    from ptycho_core.contract import Value

OF_THE_BACKEND: dict[str, Value] = {"num_workers": 2, "prefetch": 3, "pin_memory": True, "deterministic": "strict"}
TRIED: tuple[tuple[str, dict[str, Value]], ...] = (
    ("evaluate", {}), ("reconstruct", {}), ("reconstruct", FULL), ("infer", {}), ("train", {}),
)  # fmt: skip
"""Jobs in which an option may act, the short ones first: some acts only after several epochs."""

PAUSE = 0.3
"""Seconds in which what reads ahead gets as far ahead as it may."""


@kit(needs=("test_the_plan_answers_exactly_what_was_asked_for",))
def test_what_only_the_backend_can_act_on_is_answered_truly(bench: Bench, reading_verb: str) -> None:
    _, plan, _ = planned(bench, reading_verb, **OF_THE_BACKEND)
    for name, value in OF_THE_BACKEND.items():
        applied = plan.dispositions[name].kind == "applied"
        assert applied == (plan.execution[name] == value), f"{name}: {plan.dispositions[name]}, effective {plan.execution[name]}"
    assert plan.execution["num_workers"] or not plan.execution["prefetch"], "prefetch is to act, and there are no workers"
    assert bench.device != "cpu" or not plan.execution["pin_memory"], "nothing is copied to a CPU through pinned memory"


@kit(needs=("test_what_only_the_backend_can_act_on_is_answered_truly", *ANSWERS))
def test_num_workers_read_or_are_refused(bench: Bench, reading_verb: str) -> None:
    if not planned(bench, reading_verb, num_workers=1)[1].execution["num_workers"]:
        return  # it says that none reads
    found, one = answer(bench, reading_verb, num_workers=1), answer(bench, reading_verb)
    mine, others = arrays(reading_verb, one), arrays(reading_verb, found)
    assert [name for name in mine if not np.array_equal(mine[name], others[name])] == [], "who reads must not matter"
    assert one["reads_here"], "without num_workers patterns are read where they are wanted"
    assert found["reads_here"] < one["reads_here"], "num_workers is accepted, and no other thread reads"


@kit("infer", needs=("test_num_workers_read_or_are_refused",))
def test_prefetch_bounds_what_is_read_ahead_or_is_refused(bench: Bench) -> None:
    if not planned(bench, "infer", num_workers=1, prefetch=6)[1].execution["prefetch"]:
        return  # it says that nothing is read ahead
    model, ahead = bench.model(**MODEL), {}  # type: ignore[arg-type]
    scan = model.scans[0]
    for prefetch in (1, 6):
        settings = bench.settings(inference_batch_size=2, num_workers=1, prefetch=prefetch)
        found = bench.call("infer", scan, model.model_path, bench.light(scan), settings, pause=PAUSE)
        ahead[prefetch] = found["ahead"]
    assert ahead[1] <= 1, f"readings that were ahead, by prefetch: {ahead}"
    assert ahead[1] < ahead[6] <= 6, f"readings that were ahead, by prefetch: {ahead}"


@kit(needs=("test_an_option_of_its_own_is_answered", *ANSWERS))
def test_an_option_of_its_own_acts_or_is_refused(bench: Bench, own_option: str) -> None:
    key = f"{bench.row.name}.{own_option}"
    values = values_of(option_named(bench, own_option))
    for verb, beside in ((verb, beside) for verb, beside in TRIED if verb in bench.spec.capabilities):
        outcomes = [_outcome(bench, verb, **beside, **{key: value}) for value in values]
        first = outcomes[0]
        for one in outcomes:
            if isinstance(one, str) or isinstance(first, str) or any(not np.array_equal(one[name], first[name]) for name in one):
                return
    raise AssertionError(f"{key}: {', '.join(map(repr, values))} are accepted in every verb, and change nothing")


def _outcome(bench: Bench, verb: str, **settings: Value) -> dict[str, Any] | str:
    """What a job computes with an option, or why it is refused."""
    try:
        found: dict[str, Any] = arrays(verb, answer(bench, verb, **settings))
    except (CapabilityError, DataError, SettingsError) as error:
        return str(error)
    return found
