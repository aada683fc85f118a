"""A backend's answer to ``evaluate`` against the NumPy reference, within the limits of specs/forward-model.md."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from ptycho_core.contract import EvaluateJob, ExecutionPlan
from ptycho_core.physics import evaluate as reference
from ptycho_core.physics import intensities

LIMITS = {"float64": (1e-12, 1e-12, 1e-10), "float32": (1e-5, 1e-6, 2e-4)}
TERMS = ("nll", "amplitude", "mae", "tv")
ALL = {"nll": 0.3, "amplitude": 1.0, "mae": 0.5, "tv": 2.0}


@pytest.fixture(scope="module")
def evaluate(backend):
    """The backend's function behind the hook."""
    return import_module(f"ptycho_backend_{backend}.plugin").ptycho_evaluate


def plan(precision="float64", device="cpu"):
    return ExecutionPlan(device, {"precision": precision, "threads": 1, "deterministic": "on"}, {}, {})


def scan_job(
    *,
    size=16,
    modes=2,
    frames=37,
    whole=False,
    background=True,
    mask=True,
    flux=True,
    level=None,
    photons=2e4,
    weights=ALL,
    seed=0,
):
    """A batch whose counts come from another object than the one evaluated: a fit under way."""
    random = np.random.default_rng(seed)
    row, column = np.mgrid[:size, :size] - size / 2
    probe = random.normal(size=(modes, size, size)) + 1j * random.normal(size=(modes, size, size))
    probe = probe * np.exp(-(row**2 + column**2) / size)
    probe *= np.sqrt(photons / np.sum(abs(probe) ** 2))
    transmission = random.uniform(0.6, 1, (40, 44)) * np.exp(1j * random.uniform(0, 1, (40, 44)))
    positions = random.uniform(0, 1, (frames, 2)) * [40 - size, 44 - size]
    positions = np.floor(positions) if whole else positions
    stray = random.uniform(0, 1, (size, size)) if background else None
    dose = random.uniform(0.5, 2, frames) if flux else None
    truth = transmission * np.exp(0.3j * random.normal(size=transmission.shape))
    return EvaluateJob(
        object=transmission,
        probe=probe,
        positions=positions,
        counts=np.minimum(random.poisson(intensities(truth, probe, positions, stray, flux=dose)).astype(float), level or np.inf),
        mask=random.random((size, size)) > 0.1 if mask else None,
        background=stray,
        weights=weights,
        flux=dose,
        saturation=level,
    )


CASES = {
    "all at once": {},
    "one mode": {"modes": 1},
    "four modes": {"modes": 4},
    "whole pixels": {"whole": True},
    "no mask": {"mask": False},
    "no background": {"background": False},
    "the same dose in every frame": {"flux": False},
    "saturated pixels": {"level": 60.0},
    "one frame": {"frames": 1},
    "65 frames": {"frames": 65},
    "odd size": {"size": 15},
    "few photons, mostly zero counts": {"photons": 50.0, "background": False},
    **{f"{term} alone": {"weights": {term: 1.0}} for term in TERMS},
}


def distance(value, expected):
    """Relative L2 difference; absolute where zero is expected."""
    norm = np.linalg.norm(expected)
    return float(np.linalg.norm(np.asarray(value) - expected) / (norm if norm > 0 else 1.0))


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("case", CASES)
def test_a_backend_evaluates_what_the_reference_does(evaluate, case, precision, record_property):
    job = scan_job(**CASES[case])
    expected, found = reference(job), evaluate(job, plan(precision))
    assert set(found.losses) == set(TERMS)
    assert set(found.gradients) == set(expected.gradients)
    forward, loss, gradient = LIMITS[precision]
    measured = [("intensities", distance(found.intensities, expected.intensities), forward)]
    measured += [(name, abs(found.losses[name] / value - 1), loss) for name, value in expected.losses.items()]
    measured += [(f"d/d {name}", distance(found.gradients[name], value), gradient) for name, value in expected.gradients.items()]
    for name, value, limit in measured:
        record_property(name, f"{value:.1e} (limit {limit:.0e})")
        print(f"{case}, {precision}: {name} {value:.1e}, limit {limit:.0e}")
    assert [name for name, value, limit in measured if not value <= limit] == []


def test_the_batches_hold_the_zero_counts_and_gradients_that_make_parity_mean_something():
    dim = scan_job(**CASES["few photons, mostly zero counts"])
    assert np.mean(dim.counts == 0) > 0.5
    for name, gradient in reference(scan_job()).gradients.items():
        assert np.count_nonzero(gradient) > gradient.size / 2, name


@pytest.mark.parametrize("precision", LIMITS)
def test_an_answer_is_numpy_in_the_planned_precision_and_the_same_again(evaluate, precision):
    job = scan_job()
    first, second = evaluate(job, plan(precision)), evaluate(job, plan(precision))
    assert first.intensities.dtype == np.float64
    assert first.gradients["object"].dtype == ("complex128" if precision == "float64" else "complex64")
    assert all(type(gradient) is np.ndarray for gradient in first.gradients.values())
    assert first.losses == second.losses
    assert all(type(value) is float for value in first.losses.values())
    np.testing.assert_array_equal(first.intensities, second.intensities)
    for name, gradient in first.gradients.items():
        np.testing.assert_array_equal(gradient, second.gradients[name])


def test_single_precision_computes_in_single_precision(evaluate):
    job = scan_job()
    assert distance(evaluate(job, plan("float32")).intensities, reference(job).intensities) > 1e-10


def test_evaluating_leaves_the_job_alone(evaluate):
    job = scan_job()
    before = {
        name: np.copy(getattr(job, name)) for name in ("object", "probe", "positions", "counts", "mask", "background", "flux")
    }
    evaluate(job, plan())
    for name, values in before.items():
        np.testing.assert_array_equal(getattr(job, name), values)


def test_without_gradients_the_rest_is_the_same(evaluate):
    job = scan_job()
    bare = evaluate(replace(job, gradients=False), plan())
    assert bare.gradients == {}
    assert bare.losses == evaluate(job, plan()).losses


def test_a_bad_pixel_may_hold_anything(evaluate):
    job = scan_job()
    counts = job.counts.copy()
    counts[:, ~job.mask] = np.nan
    clean, spoilt = evaluate(job, plan()), evaluate(replace(job, counts=counts), plan())
    assert spoilt.losses == clean.losses
    for name, gradient in clean.gradients.items():
        np.testing.assert_array_equal(spoilt.gradients[name], gradient)


def test_dark_patterns_and_a_flat_object_give_finite_values_and_no_slope(evaluate):
    job = replace(scan_job(background=False), object=np.ones((40, 44), complex), probe=np.zeros((2, 16, 16), complex))
    found, expected = evaluate(job, plan()), reference(job)
    assert found.losses == pytest.approx(expected.losses, rel=1e-12, abs=1e-15)
    for gradient in found.gradients.values():
        assert not gradient.any()


@pytest.fixture(scope="module")
def gpu(backend):
    """The backend's name of the GPU."""
    found = [
        device.name
        for device in import_module(f"ptycho_backend_{backend}.devices").probe().devices
        if device.accelerator == "cuda"
    ]
    if not found:
        pytest.skip(f"{backend} finds no CUDA device here")
    return found[0]


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("case", CASES)
def test_cuda_evaluates_what_the_reference_does(evaluate, gpu, case, precision):
    job = scan_job(**CASES[case])
    expected, found = reference(job), evaluate(job, plan(precision, gpu))
    forward, loss, gradient = LIMITS[precision]
    assert distance(found.intensities, expected.intensities) <= forward
    for name, value in expected.losses.items():
        assert abs(found.losses[name] / value - 1) <= loss, name
    for name, value in expected.gradients.items():
        assert distance(found.gradients[name], value) <= gradient, name
