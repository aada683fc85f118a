"""pty-chi's forward model on converted arrays equals ours, and what is converted comes back."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ptycho_core.contract import ExecutionPlan
from ptycho_core.physics.forward import intensities
from ptycho_core.settings.reconstruction import ReconstructionSettings

OPTIONS = {"engine": "lsqml", "batching": "random", "momentum": 0.0, "step": 1.0, "position_start": 5, "position_step": 1.0}
PLACES = {
    "whole": lambda rng: rng.integers(0, 20, (12, 2)).astype(float),
    "halves": lambda rng: rng.integers(0, 20, (12, 2)) + 0.5,
    "fractions": lambda rng: rng.uniform(0, 20, (12, 2)),
    "far away": lambda rng: 1000 + rng.uniform(0, 20, (12, 2)),
}


def plan_of(precision: str) -> ExecutionPlan:
    execution = {"threads": 1, "precision": precision, "deterministic": "on", "seed": 0}
    return ExecutionPlan("cpu", execution, OPTIONS, {})


def modelled(model: Any, precision: str, counts: np.ndarray | None = None, mask: np.ndarray | None = None) -> SimpleNamespace:
    """What pty-chi makes of our model: its patterns, in our order, and the model as it gives it back."""
    import torch

    from ptycho_backend_ptychi.conventions import Convention
    from ptycho_backend_ptychi.engines import Choices
    from ptycho_backend_ptychi.fit import Fit
    from ptycho_backend_ptychi.surroundings import surroundings

    size, frames = model.probe.shape[-1], np.arange(len(model.positions))
    counts = np.ones((len(frames), size, size)) if counts is None else counts
    patterns = SimpleNamespace(read=lambda numbers: counts[numbers])
    scan = SimpleNamespace(patterns=patterns, mask=np.ones((size, size), bool) if mask is None else mask)
    plan = plan_of(precision)
    with surroundings(plan):
        convention = Convention.of(model)
        choices = Choices(ReconstructionSettings(), dict(OPTIONS), "amplitude", 1, len(frames), convention.origin)
        fit = Fit(scan, model, frames, choices, convention, plan)
        task = fit._task
        with torch.no_grad():
            found = task.reconstructor.forward_model(torch.as_tensor(frames)).numpy()
        return SimpleNamespace(
            intensities=np.fft.fftshift(found, axes=(-2, -1)),
            model=fit.model(),
            patterns=task.dataset.patterns.numpy(),
            mask=task.dataset.valid_pixel_mask.numpy(),
        )


def model_of(rng: np.random.Generator, size: int, modes: int, places: str) -> Any:
    from ptycho_backend_ptychi.conventions import Model

    positions = PLACES[places](rng)
    shape = tuple((np.ceil(positions.max(0)) + size + 3).astype(int))
    image = rng.uniform(0.5, 1, shape) * np.exp(1j * rng.normal(size=shape))
    probe = 30 * (rng.normal(size=(modes, size, size)) + 1j * rng.normal(size=(modes, size, size)))
    return Model(image, probe, positions)


def relative(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


@pytest.mark.parametrize("size", [16, 15])
@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize(("precision", "limit"), [("float64", 1e-12), ("float32", 1e-5)])
def test_modelled_patterns_are_ours_whatever_the_probe_holds_at_its_border(size, places, precision, limit, rng) -> None:
    model = model_of(rng, size, 1, places)
    found = modelled(model, precision)
    assert relative(found.intensities, intensities(model.object, model.probe, model.positions)) < limit


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_model_comes_back_as_it_went(precision, rng) -> None:
    model = model_of(rng, 16, 3, "fractions")
    found = modelled(model, precision).model
    limit = 1e-12 if precision == "float64" else 1e-6
    assert relative(found.object, model.object) < limit
    assert relative(found.probe, model.probe) < limit
    assert np.abs(found.positions - model.positions).max() < 10 * limit


def test_of_several_modes_only_the_first_is_shifted_by_the_fraction(rng) -> None:
    from ptycho_backend_ptychi.conventions import HALF, Model

    model = model_of(rng, 16, 2, "fractions")
    ours = intensities(model.object, model.probe[:1], model.positions)
    halfway = intensities(model.object, model.probe[1:], np.floor(model.positions) + HALF)
    assert relative(modelled(model, "float64").intensities, ours + halfway) < 1e-12
    middle = Model(model.object, model.probe, np.floor(model.positions) + HALF)
    assert relative(modelled(middle, "float64").intensities, intensities(middle.object, middle.probe, middle.positions)) < 1e-12


@pytest.mark.parametrize("size", [16, 15])
def test_patterns_and_mask_have_their_zero_frequency_in_the_corner(size, rng) -> None:
    model = model_of(rng, size, 1, "whole")
    counts = rng.poisson(5, (12, size, size)).astype(float)
    mask = rng.random((size, size)) > 0.2
    found = modelled(model, "float64", counts, mask)
    assert np.array_equal(found.patterns[:, 0, 0], counts[:, size // 2, size // 2])
    assert np.array_equal(np.fft.fftshift(found.patterns, axes=(-2, -1)), counts)
    assert np.array_equal(np.fft.fftshift(found.mask), mask)


def test_the_power_of_the_probe_is_pty_chis_times_the_number_of_pixels(rng) -> None:
    from ptycho_backend_ptychi.conventions import Convention

    model = model_of(rng, 16, 2, "whole")
    theirs = Convention.of(model).theirs(model)
    assert (np.abs(theirs.probe) ** 2).sum() * 16**2 == pytest.approx((np.abs(model.probe) ** 2).sum())
    assert theirs.object.shape[0] == theirs.probe.shape[0] == 1
    assert np.abs(theirs.rows).max() <= 11
