"""A batch as a training sees it: patches of the network, modelled patterns, loss terms and gradients, against NumPy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ptycho_core.conformance.limits import LIMITS
from ptycho_core.conformance.parity import differences
from ptycho_core.conformance.reference.evaluation import evaluate_batch
from ptycho_core.conformance.rounding import limits_of, nudged
from ptycho_core.conformance.suite.every_operation import EveryOperation
from ptycho_core.conformance.suite.inputs import FRAMES
from ptycho_core.conformance.suite.marks import kit
from ptycho_core.evaluation import opened

if TYPE_CHECKING:
    from ptycho_core.conformance.limits import Limits
    from ptycho_core.conformance.suite.bench import Bench
    from ptycho_core.contract import BatchRecipe, EvaluateResult, Value

WEIGHTS: dict[str, Value] = {
    "nll_weight": 0.3, "amplitude_weight": 1.0, "mae_weight": 0.5, "tv_weight": 20.0, "realspace_weight": 7.0,
}  # fmt: skip
NETWORKS: dict[str, dict[str, Value]] = {
    "one frame": {"gridsize": 1, "merge": "batch", "modes": 2, "train_probe": True, "train_scale": True},
    "four frames": {"gridsize": 2, "merge": "group", "output_form": "amplitude-phase"},
    "every operation": {"gridsize": 1, "merge": "batch"},
    "canvas": {"gridsize": 1, "network": "canvas", "modes": 2},
}


def batch_job(bench: Bench, network: str) -> BatchRecipe:
    """Three groups of a masked scan."""
    architecture = EveryOperation() if network == "every operation" else None
    job = bench.model(masked=True, architecture=architecture, **NETWORKS[network], **WEIGHTS)  # type: ignore[arg-type]
    members, random = int(NETWORKS[network]["gridsize"] or 1) ** 2, np.random.default_rng(8)
    return replace(job, groups=np.stack([random.permutation(FRAMES)[:members] for _ in range(3)]))


def truth(bench: Bench, network: str) -> tuple[EvaluateResult, dict[str, Limits]]:
    """The reference's answer, and how far another may be from it by precision, raised where rounding leads farther."""
    job = opened(batch_job(bench, network))
    answer = evaluate_batch(job)
    moved = [evaluate_batch(replace(job, model=nudged(job.model, 0)))]
    return answer, {one: limits_of(limits, one, answer, moved) for one, limits in LIMITS.items()}


@kit("train", "evaluate", needs=("test_gradients",))
@pytest.mark.parametrize("network", NETWORKS)
def test_a_batch_of_a_training(bench: Bench, network: str, precision: str) -> None:
    found = bench.evaluated(network, batch_job(bench, network), precision)
    assert {name: kind for name, kind in found["kinds"].items() if kind != "numpy.ndarray"} == {}
    wanted, limits = bench.once(("truth", network), lambda: truth(bench, network))
    rows = differences(found["answer"], wanted, limits[precision])
    assert [f"{one.quantity} {one.name}: {one.value:.2g} > {one.limit:.2g}" for one in rows if not one.within] == []
