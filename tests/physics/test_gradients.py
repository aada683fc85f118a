"""The hand-written gradients against finite differences of the loss, one term at a time and together."""

from dataclasses import replace

import numpy as np
import pytest

from ptycho_core.contract import EvaluateJob
from ptycho_core.errors import DataError, SettingsError
from ptycho_core.physics import evaluate

STEP = 1e-5
CHECKED = 12


def small_job(seed=0, size=5, frames=4):
    random = np.random.default_rng(seed)

    def field(*shape):
        return random.normal(size=shape) + 1j * random.normal(size=shape)

    counts = random.poisson(6.0, (frames, size, size)).astype(float)
    counts[0, :2] = 0
    mask = random.random((size, size)) > 0.2
    return EvaluateJob(
        object=field(9, 10),
        probe=field(2, size, size) * 2,
        # Away from whole pixels: a difference quotient must not step over a jump of the window.
        positions=random.integers(0, 4, (frames, 2)) + random.uniform(0.1, 0.9, (frames, 2)),
        counts=counts,
        mask=mask,
        background=random.uniform(0.5, 1.0, (size, size)),
        flux=random.uniform(0.5, 2.0, frames),
        saturation=11.0,
    )


def total(job):
    losses = evaluate(replace(job, gradients=False)).losses
    return sum(weight * losses[name] for name, weight in job.weights.items())


def slope(job, name, index, direction):
    def moved(step):
        values = np.array(getattr(job, name))
        values[index] += step * direction
        return total(replace(job, **{name: values}))

    return (moved(STEP) - moved(-STEP)) / (2 * STEP)


@pytest.mark.parametrize(
    "weights",
    [
        {"nll": 1.0},
        {"amplitude": 1.0},
        {"mae": 1.0},
        {"tv": 1.0},
        {"nll": 0.5, "amplitude": -2.0, "mae": 0.3, "tv": 4.0},
    ],
    ids=lambda weights: "+".join(weights),
)
@pytest.mark.parametrize("size", [4, 5])
@pytest.mark.parametrize("way", [None, ("fresnel", 3.0, 1e-3), ("angular-spectrum", 3.0, 1.6)], ids=["far", "near", "wide"])
def test_every_gradient_is_the_slope_of_the_loss(weights, size, way, record_property):
    job = replace(small_job(size=size), weights=weights, propagation=way)
    gradients = evaluate(job).gradients
    random = np.random.default_rng(1)
    for name in ("object", "probe", "positions", "background", "flux"):
        gradient = gradients[name]
        assert gradient.shape == getattr(job, name).shape
        directions = (1, 1j) if np.iscomplexobj(gradient) else (1,)
        worst = 0.0
        for flat in random.choice(gradient.size, min(CHECKED, gradient.size), replace=False):
            index = np.unravel_index(flat, gradient.shape)
            for direction in directions:
                found = (np.conj(direction) * gradient[index]).real
                worst = max(worst, abs(found - slope(job, name, index, direction)))
        limit = 1e-6 * max(abs(gradient).max(), 1e-3)
        record_property(f"{name}: worst difference", worst)
        print(f"{name}: {worst:.1e}, limit {limit:.1e}")
        assert worst <= limit, name


def test_a_bad_pixel_counts_in_nothing_whatever_it_holds():
    job = replace(small_job(), weights={"nll": 1.0, "amplitude": 1.0, "mae": 1.0})
    counts = job.counts.copy()
    counts[:, ~job.mask] = np.nan
    spoilt = evaluate(replace(job, counts=counts))
    clean = evaluate(job)
    assert spoilt.losses == clean.losses
    for name, gradient in clean.gradients.items():
        np.testing.assert_array_equal(spoilt.gradients[name], gradient)
    assert not clean.gradients["background"][~job.mask].any()
    assert clean.gradients["background"][job.mask].all()


def test_a_perfect_fit_has_no_slope_and_zero_intensity_is_finite():
    dark = EvaluateJob(
        object=np.ones((6, 6), complex),
        probe=np.zeros((1, 4, 4), complex),
        positions=np.array([[0.5, 1.0]]),
        counts=np.array([np.arange(16.0).reshape(4, 4)]),
        weights={"nll": 1.0, "amplitude": 1.0, "mae": 1.0, "tv": 1.0},
    )
    result = evaluate(dark)
    assert all(np.isfinite(value) for value in result.losses.values())
    assert result.losses["tv"] == 0
    for gradient in result.gradients.values():
        assert not gradient.any()
    empty = evaluate(replace(dark, counts=np.zeros((1, 4, 4)))).losses
    assert empty == pytest.approx({"nll": 1e-6, "amplitude": 1e-6, "mae": 1e-3, "tv": 0}, rel=1e-12)


def test_gradients_come_only_if_wanted_and_those_of_background_and_flux_only_if_there_are_any():
    job = small_job()
    assert evaluate(replace(job, gradients=False)).gradients == {}
    assert set(evaluate(replace(job, background=None, flux=None)).gradients) == {"object", "probe", "positions"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": np.ones((3, 5, 5))}, r"\(4, 5, 5\).*\(3, 5, 5\)"),
        ({"counts": np.full((4, 5, 5), -1.0)}, "not negative"),
        ({"counts": np.full((4, 5, 5), np.nan)}, "finite"),
        ({"mask": np.ones((4, 4), bool)}, r"mask .*\(4, 4\)"),
        ({"mask": np.ones((5, 5))}, "boolean"),
        ({"mask": np.zeros((5, 5), bool)}, "no good pixel"),
        ({"propagation": ("fraunhofer", 1.0, 1.0)}, "fraunhofer.*angular-spectrum or fresnel"),
        ({"propagation": ("fresnel", -1.0, 1.0)}, "above 0"),
        ({"positions": np.empty((0, 2)), "counts": np.empty((0, 5, 5)), "flux": None}, "no pattern"),
    ],
)
def test_counts_and_masks_that_do_not_fit_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        evaluate(replace(small_job(), **change))


def test_an_unknown_loss_term_is_refused_with_the_nearest_one():
    with pytest.raises(SettingsError, match=r"amplitudes.*known are.*Did you mean 'amplitude'"):
        evaluate(replace(small_job(), weights={"amplitudes": 1.0}))
    with pytest.raises(SettingsError, match="finite"):
        evaluate(replace(small_job(), weights={"nll": float("nan")}))
