"""The forward model, loss terms and gradients of one batch, against NumPy in double precision.

What a forward model usually gets wrong is looked at first, one thing a test, so that the name of the failure says what it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ptycho_core.conformance.limits import LIMITS
from ptycho_core.conformance.parity import relative_distance as distance
from ptycho_core.conformance.suite.inputs import random_batch
from ptycho_core.conformance.suite.marks import kit
from ptycho_core.physics import evaluate as reference

if TYPE_CHECKING:
    from ptycho_core.conformance.suite.bench import Bench
    from ptycho_core.contract import EvaluateJob, EvaluateResult

NUMPY = ("test_evaluate_gives_numpy_arrays",)
ROUGH = 1e-3
"""What is wrong in kind is wrong by more than this, and no precision rounds so much."""


def asked(bench: Bench, what: str, job: EvaluateJob, precision: str | None = None) -> EvaluateResult:
    """The answer to a batch, in the sharpest precision unless one is named."""
    answer: EvaluateResult = bench.evaluated(what, job, precision or bench.precision)["answer"]
    return answer


def plain(job: EvaluateJob, **changes: Any) -> EvaluateJob:  # noqa: ANN401 - fields of any type
    """A batch without mask, background and gradients."""
    return replace(job, mask=None, background=None, gradients=False, **changes)


@kit("evaluate", needs=("test_the_plan_answers_exactly_what_was_asked_for",))
def test_evaluate_answers(bench: Bench) -> None:
    assert bench.evaluated("batch", random_batch(), bench.precision)["kinds"]


@kit("evaluate", needs=("test_evaluate_answers",))
def test_evaluate_gives_numpy_arrays(bench: Bench) -> None:
    kinds = bench.evaluated("batch", random_batch(), bench.precision)["kinds"]
    assert {name: kind for name, kind in kinds.items() if kind != "numpy.ndarray"} == {}


@kit("evaluate", needs=NUMPY)
def test_evaluate_gives_shapes_and_types_of_the_contract(bench: Bench) -> None:
    job, found = random_batch(), asked(bench, "batch", random_batch())
    assert found.intensities.shape == job.counts.shape
    assert found.intensities.dtype == np.float64
    assert set(found.losses) == {"nll", "amplitude", "mae", "tv"}
    assert all(type(one) is float for one in found.losses.values())
    shapes = {"object": job.object.shape, "probe": job.probe.shape, "positions": job.positions.shape}
    assert job.background is not None
    shapes["background"] = job.background.shape
    assert {name: one.shape for name, one in found.gradients.items()} == shapes
    assert all(np.iscomplexobj(found.gradients[name]) for name in ("object", "probe"))
    if bench.precision == "float64":
        digits = {name: one.dtype for name, one in found.gradients.items() if one.dtype not in (np.float64, np.complex128)}
        assert digits == {}, "float64 was asked for, and less comes back"


@kit("evaluate", needs=("test_evaluate_gives_shapes_and_types_of_the_contract",))
def test_intensities_grow_with_the_square_of_the_probe(bench: Bench) -> None:
    job = plain(random_batch())
    once = asked(bench, "plain", job).intensities.sum()
    twice = asked(bench, "double probe", replace(job, probe=2 * job.probe)).intensities.sum()
    assert twice / once == pytest.approx(4, rel=ROUGH), "counts are |wave|²: not amplitudes, nor anything else"


@kit("evaluate", needs=("test_intensities_grow_with_the_square_of_the_probe",))
def test_no_counts_are_lost(bench: Bench) -> None:
    job = plain(random_batch(), object=np.ones((30, 34), dtype=complex))
    found = asked(bench, "empty object", job).intensities.sum(axis=(1, 2))
    wanted = (np.abs(job.probe) ** 2).sum()
    assert found / wanted == pytest.approx(1, rel=ROUGH), "the transform is unitary: a pattern holds Σ|P|² counts"


@kit("evaluate", needs=("test_no_counts_are_lost",))
def test_zero_frequency_is_in_the_middle(bench: Bench) -> None:
    flat = np.ones((1, 16, 16), dtype=complex)
    job = plain(random_batch(), object=np.ones((30, 34), dtype=complex), probe=flat, positions=np.zeros((7, 2)))
    found = asked(bench, "plane wave", job).intensities[0]
    place = tuple(int(one) for one in np.unravel_index(int(np.argmax(found)), found.shape))
    assert place == (8, 8), "a plane wave ends at [N // 2, N // 2]"


@kit("evaluate", needs=("test_zero_frequency_is_in_the_middle",))
def test_positions_are_row_and_column(bench: Bench) -> None:
    job = plain(random_batch())
    job = replace(job, positions=np.floor(job.positions))
    found = asked(bench, "whole positions", job).intensities
    right, turned = (reference(replace(job, positions=one)).intensities for one in (job.positions, job.positions[:, ::-1]))
    far = {"as given": distance(found, right), "transposed": distance(found, turned)}
    assert min(far, key=lambda name: far[name]) == "as given", f"windows lie at (row, column): {far}"


@kit("evaluate", needs=("test_positions_are_row_and_column",))
def test_forward_model(bench: Bench, precision: str) -> None:
    found = asked(bench, "batch", random_batch(), precision).intensities
    far = distance(found, reference(random_batch()).intensities)
    assert far <= LIMITS[precision].forward


@kit("evaluate", needs=("test_forward_model",))
def test_loss_terms(bench: Bench, precision: str) -> None:
    found, wanted = asked(bench, "batch", random_batch(), precision).losses, reference(random_batch()).losses
    far = {name: distance(found[name], value) for name, value in wanted.items()}
    assert {name: value for name, value in far.items() if not value <= LIMITS[precision].loss} == {}


@kit("evaluate", needs=("test_loss_terms",))
def test_gradients(bench: Bench, precision: str) -> None:
    found, wanted = asked(bench, "batch", random_batch(), precision).gradients, reference(random_batch()).gradients
    far = {name: distance(found[name], value) for name, value in wanted.items()}
    assert {name: value for name, value in far.items() if not value <= LIMITS[precision].gradient} == {}


@kit("evaluate", "flux", needs=("test_gradients",))
def test_the_flux_is_a_factor_on_the_light_of_a_frame(bench: Bench, precision: str) -> None:
    job = random_batch()
    job = replace(job, flux=np.linspace(0.5, 2, len(job.positions)))
    found, wanted, limits = asked(bench, "flux", job, precision), reference(job), LIMITS[precision]
    assert distance(found.intensities, wanted.intensities) <= limits.forward, "the background has no part in it"
    far = {name: distance(found.gradients[name], value) for name, value in wanted.gradients.items()}
    assert {name: value for name, value in far.items() if not value <= limits.gradient} == {}


@kit("evaluate", "saturation", needs=("test_gradients",))
def test_saturated_counts_are_lower_bounds(bench: Bench, precision: str) -> None:
    job = random_batch()
    job = replace(job, counts=np.minimum(job.counts, 9.0), saturation=9.0)
    found, wanted, limits = asked(bench, "saturation", job, precision), reference(job), LIMITS[precision]
    far = {name: (distance(found.losses[name], value), limits.loss) for name, value in wanted.losses.items()}
    far |= {f"d/d {name}": (distance(found.gradients[name], value), limits.gradient) for name, value in wanted.gradients.items()}
    assert {name: both for name, both in far.items() if not both[0] <= both[1]} == {}


@kit("evaluate", "near-field", needs=("test_gradients",))
def test_the_near_field_is_that_of_its_propagator(bench: Bench, precision: str) -> None:
    limits = LIMITS[precision]
    beyond: dict[str, tuple[float, float]] = {}
    for size, propagation in ((16, ("angular-spectrum", 9.0, 0.3)), (5, ("fresnel", 3.0, 1e-4))):
        job = replace(random_batch(size=size), propagation=propagation)
        found, wanted = asked(bench, f"near field of {size}", job, precision), reference(job)
        far = {"intensities": (distance(found.intensities, wanted.intensities), limits.forward)}
        far |= {name: (distance(found.losses[name], value), limits.loss) for name, value in wanted.losses.items()}
        slopes = wanted.gradients.items()
        far |= {f"d/d {name}": (distance(found.gradients[name], value), limits.gradient) for name, value in slopes}
        beyond |= {f"{name}, N = {size}": both for name, both in far.items() if not both[0] <= both[1]}
    assert beyond == {}, "(distance, limit): beam and detector stand still, so that an exit wave is moved back by the remainder"


@kit("evaluate", needs=NUMPY)
def test_gradients_are_given_only_where_they_are_wanted(bench: Bench) -> None:
    assert asked(bench, "plain", plain(random_batch())).gradients == {}


@kit("evaluate", needs=("test_gradients",))
def test_odd_sizes_are_centred_too(bench: Bench, precision: str) -> None:
    found, wanted = asked(bench, "odd batch", random_batch(size=5), precision), reference(random_batch(size=5))
    limits = LIMITS[precision]
    far = {"intensities": (distance(found.intensities, wanted.intensities), limits.forward)}
    far |= {name: (distance(found.losses[name], value), limits.loss) for name, value in wanted.losses.items()}
    far |= {f"d/d {name}": (distance(found.gradients[name], value), limits.gradient) for name, value in wanted.gradients.items()}
    beyond = {name: both for name, both in far.items() if not both[0] <= both[1]}
    assert beyond == {}, "N = 5, (distance, limit): patterns and mask have zero frequency at [N // 2, N // 2], the FFT at [0, 0]"
