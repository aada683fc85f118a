"""PyTorch's estimates, patches, merging, losses, gradients and steps beside the reference in NumPy, within stated limits."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ptycho_backend_torch.arrays import Corners
from ptycho_backend_torch.estimate import Illumination, estimate_object, group_windows
from ptycho_backend_torch.learner import Learner
from ptycho_backend_torch.merging import merge_patches
from ptycho_backend_torch.networks import build_network
from ptycho_backend_torch.optimiser import Optimiser
from ptycho_backend_torch.patches import object_patches, predict
from ptycho_backend_torch.sample import Sample
from ptycho_core.conformance.reference import merging, passes
from ptycho_core.conformance.reference.batch import Batch
from ptycho_core.conformance.reference.estimate import features
from ptycho_core.conformance.reference.network import channels
from ptycho_core.conformance.reference.output import output
from ptycho_core.model import Model
from ptycho_core.networks import describe, initial_weights
from ptycho_core.physics import intensities
from ptycho_core.training.data import TrainingScan

N, FRAMES, SCALE = 32, 14, 0.3
CPU = torch.device("cpu")
WEIGHTS = {"nll": 0.3, "amplitude": 1.0, "mae": 0.5, "tv": 20.0, "realspace": 7.0}
LIMITS = {torch.float64: 1e-12, torch.float32: 2e-5}
LOSS_LIMITS = {torch.float64: 1e-12, torch.float32: 5e-6}
GRADIENT_LIMITS = {"differences": 1e-6, "float32": 2e-4}
"""Relative l2; relative; slopes over the norm, and relative l2. Measured at most 4e-14, 2e-6; 1e-14, 4e-7; 9e-8, 1e-6."""


def distance(found, wanted):
    return float(np.linalg.norm(np.asarray(found) - wanted) / np.linalg.norm(wanted))


class Patterns:
    """Counts in memory."""

    def __init__(self, counts):
        self.counts, self.shape = counts, counts.shape

    def __len__(self):
        return len(self.counts)

    def read(self, frames):
        return self.counts[frames].astype(np.float32)


def case(*, gridsize=2, modes=3, masked=True, form="amplitude-phase", activation="softplus", merge="batch", steps=3, **facts):
    """A model whose weights are nowhere zero, a scan for the backend, and the same as the reference's batch.

    Positions lie between the pixels but for two; one frame is in two groups.
    """
    random = np.random.default_rng(11)
    row, column = np.mgrid[:N, :N] - N / 2 + 0.3
    disc = 40 / (1 + np.exp(2 * (np.hypot(row, column) - 8))) * np.exp(0.015j * (row**2 + 2 * column**2))
    probe = np.stack([disc * (column / 6) ** mode / (1 + mode) for mode in range(modes)]).astype(np.complex64)
    positions = random.uniform(0, 11, (FRAMES, 2))
    positions[:2] = np.floor(positions[:2])
    mask = random.random((N, N)) > (0.05 if masked else -1)
    r, c = np.mgrid[: N + 12, : N + 12]
    truth = (0.75 + 0.2 * np.sin(r / 2.5) * np.cos(c / 3)) * np.exp(0.8j * np.sin(r / 4 + c / 3))
    truth = truth.astype(np.complex64)
    counts = random.poisson(intensities(truth, probe, positions)) * mask
    groups = np.stack([random.permutation(FRAMES)[: gridsize**2] for _ in range(3)])
    settings = {
        "network": "compact", "network_depth": 2,
        "gridsize": gridsize, "network_width": 4, "update_steps": steps, "output_form": form, "amplitude_activation": activation,
    }  # fmt: skip
    network = describe(N, settings)
    weights = {name: value + random.normal(0, 0.04, value.shape) for name, value in initial_weights(network, 2).items()}
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    facts = {"size": N, "modes": modes, "merge": merge, "train_probe": False, "train_scale": False} | settings | facts
    physics = {"probe": probe[None], "log_scale": np.full(1, SCALE, np.float32)}
    scan = TrainingScan(
        SimpleNamespace(patterns=Patterns(counts), mask=mask, source="memory"),
        positions, truth.shape, np.arange(FRAMES), np.arange(0), truth,
    )  # fmt: skip
    batch = Batch(
        network, {name: value.astype(float) for name, value in weights.items()},
        probe.astype(complex) * np.exp(float(np.float32(SCALE)) / 2), positions, groups,
        np.sqrt(np.fft.ifftshift(counts, axes=(1, 2))), np.fft.ifftshift(mask), truth.astype(complex), merge,
    )  # fmt: skip
    return Model(network, weights, physics, facts), scan, batch


def illuminated(batch, scan, dtype):
    sample = Sample(scan, CPU, dtype)
    probe = torch.as_tensor(batch.probe).to(dtype.to_complex())
    return sample, Illumination.at(probe, (batch.positions - batch.corners)[batch.frames], sample.frames.mask)


CASES = {
    "one frame, one mode, no mask": {"gridsize": 1, "modes": 1, "masked": False, "form": "real-imaginary"},
    "one frame, three modes": {"gridsize": 1, "merge": "group"},
    "four frames": {"gridsize": 2, "modes": 1, "activation": "none", "merge": "group"},
    "four frames, three modes": {"gridsize": 2, "activation": "sigmoid", "merge": "none"},
    "no step": {"gridsize": 2, "steps": 0, "form": "real-imaginary"},
    "nine frames": {"gridsize": 3, "modes": 1, "form": "real-imaginary", "merge": "group", "masked": False},
    "nine frames, three modes": {"gridsize": 3},
}


@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_all_from_the_estimate_to_the_loss_is_that_of_the_reference(name, dtype):
    model, scan, batch = case(**CASES[name])
    held = passes.hold(batch)
    sample, light = illuminated(batch, scan, dtype)
    amplitudes = sample.frames.amplitudes(batch.frames)
    found = estimate_object(amplitudes, batch.corners[batch.groups], light, sample.frames.mask, batch.network)
    with torch.no_grad():
        network = build_network(batch.network, model.weights, CPU, dtype)
        patches = predict(network, found, batch.network, mixed=False)
        terms = {
            term: float(Learner(model, {term: 1.0}, CPU, dtype, mixed=False).outcome(sample, 0, batch.groups).loss)
            for term in WEIGHTS
        }
    given = features(held.estimate, held.step, held.illumination)
    measured = {
        "estimate": distance(found.patches, held.estimate),
        "step": distance(found.step, held.step),
        "features": distance(found.features(), given),
        "channels": distance(network(found.features()).detach(), channels(batch.network, batch.weights, given)),
        "patches": distance(patches.flatten(0, 1), passes.before_merging(batch, held)),
    }
    losses = {term: abs(terms[term] / value - 1) for term, value in passes.losses(batch, held).items()}
    print(f"{name}, {dtype}: {measured}, limit {LIMITS[dtype]}; {losses}, limit {LOSS_LIMITS[dtype]}")
    assert found.patches.dtype == patches.dtype == dtype.to_complex()
    assert max(measured.values()) < LIMITS[dtype]
    assert max(losses.values()) < LOSS_LIMITS[dtype]


@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize("merge", ["group", "batch"])
@pytest.mark.parametrize("gridsize", [1, 2, 3])
def test_merged_patches_are_those_of_the_reference_however_they_were_turned(gridsize, merge, dtype):
    _, _, batch = case(gridsize=gridsize, merge=merge)
    random = np.random.default_rng(6)
    patches = batch.true_patches() * np.exp(2j * np.pi * random.random((len(batch.frames), 1, 1)))
    patches += 0.1 * random.standard_normal(patches.shape)
    light = batch.illumination
    wanted = merging.merge(batch, patches, light, merging.turns(batch, patches, light))
    given, corners = torch.as_tensor(patches).to(dtype.to_complex()), batch.corners[batch.groups]
    if merge == "group":
        if gridsize == 1:
            assert np.array_equal(wanted, patches)
            return
        windows, shape = group_windows(corners, given, N)
    else:
        places = corners.reshape(-1, 2) - corners.reshape(-1, 2).min(axis=0)
        windows, shape = Corners(places, given, N), tuple(int(side) + N for side in places.max(axis=0))
    found = merge_patches(given, torch.as_tensor(light).to(dtype), windows, shape)
    measured = distance(found, wanted)
    print(f"{gridsize} {merge} {dtype}: {measured}, limit {LIMITS[dtype]}")
    assert distance(wanted, patches) > 0.1
    assert measured < LIMITS[dtype]


@pytest.mark.parametrize("activation", ["softplus", "sigmoid", "none"])
def test_patches_of_dark_and_bright_estimates_are_those_of_the_reference(activation):
    random = np.random.default_rng(8)
    moduli = np.array([1e-9, 1e-4, 1e-3, 0.5, 0.9995, 1.0, 1.7, 30.0]).reshape(1, 2, 2, 2)
    estimated = moduli * np.exp(1j * random.uniform(-3, 3, moduli.shape))
    given = random.normal(0, 2, (1, 4, 2, 2))
    asked = {"form": "amplitude-phase", "activation": activation}
    found = object_patches(torch.as_tensor(given), torch.as_tensor(estimated), asked).numpy()
    wanted = output(given, estimated, asked)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-15)


# --- gradients ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("merge", ["none", "group", "batch"])
@pytest.mark.parametrize("form", ["real-imaginary", "amplitude-phase"])
def test_gradients_are_differences_of_the_reference_whose_constants_are_held(form, merge):
    model, scan, batch = case(form=form, merge=merge, modes=2, train_probe=True, train_scale=True)
    held = passes.hold(batch)
    learner = Learner(model, WEIGHTS, CPU, torch.float64, mixed=False)
    learner.outcome(Sample(scan, CPU, torch.float64), 0, batch.groups).loss.backward()
    random, measured = np.random.default_rng(9), {}
    assert {name for name, leaf in learner.leaves().items() if leaf.grad is None} == set()
    for name, leaf in learner.leaves().items():
        direction = random.standard_normal(leaf.shape)
        slope = float((leaf.grad.numpy() * direction).sum())
        size = float(leaf.grad.norm()) * np.linalg.norm(direction)
        measured[name] = abs(slope - _difference(batch, held, name, direction)) / size
    worst = max(measured, key=measured.get)
    print(f"{form}, {merge}: worst {worst} {measured[worst]} of {len(measured)}, limit {GRADIENT_LIMITS['differences']}")
    assert {"physics.probe", "physics.log_scale", "network.enter.weight", "network.exit.bias"} < measured.keys()
    assert measured[worst] < GRADIENT_LIMITS["differences"]


@pytest.mark.parametrize("merge", ["none", "group", "batch"])
def test_gradients_in_single_precision_are_near_those_in_double(merge):
    model, scan, batch = case(merge=merge, train_probe=True, train_scale=True)
    found = {}
    for dtype in LIMITS:
        learner = Learner(model, WEIGHTS, CPU, dtype, mixed=False)
        learner.outcome(Sample(scan, CPU, dtype), 0, batch.groups).loss.backward()
        found[dtype] = {name: leaf.grad.numpy() for name, leaf in learner.leaves().items()}
    measured = {name: distance(found[torch.float32][name], value) for name, value in found[torch.float64].items()}
    worst = max(measured, key=measured.get)
    print(f"{merge}: worst {worst} {measured[worst]}, limit {GRADIENT_LIMITS['float32']}")
    assert measured[worst] < GRADIENT_LIMITS["float32"]


def _difference(batch, held, name, direction, step=1e-6):
    """The slope of the reference's loss along a direction of what learns, by central differences.

    Over longer steps, the moduli in ``mae`` that change their sign would count.
    """

    def loss(far):
        if name == "physics.log_scale":
            changed = replace(batch, probe=batch.probe * np.exp(far * float(direction[0]) / 2))
        elif name == "physics.probe":
            start = batch.probe * np.exp(-float(np.float32(SCALE)) / 2)
            unit = np.sqrt((np.abs(start) ** 2).sum(axis=0).mean()) * np.exp(float(np.float32(SCALE)) / 2)
            changed = replace(batch, probe=batch.probe + far * unit * (direction[0, ..., 0] + 1j * direction[0, ..., 1]))
        else:
            own = name.removeprefix("network.")
            changed = replace(batch, weights=batch.weights | {own: batch.weights[own] + far * direction})
        return sum(WEIGHTS[term] * value for term, value in passes.losses(changed, held).items())

    return (loss(step) - loss(-step)) / (2 * step)


def test_patterns_without_a_count_leave_loss_and_gradients_finite():
    model, scan, batch = case(train_probe=True, train_scale=True, merge="batch")
    scan.scan.patterns.counts[:] = 0
    learner = Learner(model, WEIGHTS, CPU, torch.float32, mixed=False)
    outcome = learner.outcome(Sample(scan, CPU, torch.float32), 0, batch.groups)
    outcome.loss.backward()
    assert np.isfinite(outcome.loss.item())
    assert all(bool(torch.isfinite(leaf.grad).all()) for leaf in learner.leaves().values())


# --- steps of the optimiser -----------------------------------------------------------------------------------------------------


ADAM = {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}
OTHER_ADAM = {"adam_beta1": 0.5, "adam_beta2": 0.9, "adam_epsilon": 0.1}
KINDS = {
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.2},
    "adamw of other decays": {"optimizer": "adamw", "weight_decay": 0.1} | OTHER_ADAM,
    "sgd": {"optimizer": "sgd", "momentum": 0.7},
    "sgd without momentum": {"optimizer": "sgd"},
}
CLIPS = {"free": {}, "norm": {"gradient_clip_val": 0.5}, "value": {"gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"}}


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("kind", KINDS)
def test_several_tensors_step_together_and_only_the_network_decays(kind, clip):
    random, batches = np.random.default_rng(4), 2
    asked = {
        "learning_rate": 1.0,
        "weight_decay": 0.0,
        "momentum": 0.0,
        "gradient_clip_val": None,
        "gradient_clip_algorithm": "norm",
    }
    asked |= ADAM | KINDS[kind] | CLIPS[clip]
    values = {"network.a.weight": random.standard_normal((2, 3, 1, 1)), "network.a.bias": random.standard_normal(2)}
    values |= {"physics.probe": random.standard_normal((1, 2, 4, 4, 2)), "physics.log_scale": random.standard_normal(1)}
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in values.items()}
    optimiser = Optimiser(leaves, asked)
    first, second = ({name: np.zeros_like(value) for name, value in values.items()} for _ in range(2))
    for t, rate in enumerate([0.02, 0.01, 0.03], start=1):
        gradients = {name: random.standard_normal((batches, *value.shape)) for name, value in values.items()}
        for number in range(batches):
            sum((leaf * torch.as_tensor(gradients[name][number])).sum() for name, leaf in leaves.items()).backward()
        optimiser.step(rate, batches)
        means = _clipped({name: value.mean(axis=0) for name, value in gradients.items()}, clip)
        for name, g in means.items():
            if asked["optimizer"] == "sgd":
                first[name] = asked["momentum"] * first[name] + g
                values[name] = values[name] - rate * first[name]
                continue
            if name.startswith("network."):
                values[name] = values[name] * (1 - rate * asked["weight_decay"])
            a, b, epsilon = asked["adam_beta1"], asked["adam_beta2"], asked["adam_epsilon"]
            first[name], second[name] = a * first[name] + (1 - a) * g, b * second[name] + (1 - b) * g**2
            root = np.sqrt(second[name] / (1 - b**t))
            values[name] = values[name] - rate * first[name] / (1 - a**t) / (root + epsilon)
    measured = max(distance(leaf.detach(), values[name]) for name, leaf in leaves.items())
    print(f"{kind}, {clip}: {measured}, limit 1e-13")
    assert measured < 1e-13


def _clipped(gradients, clip):
    if clip == "value":
        return {name: np.clip(value, -0.1, 0.1) for name, value in gradients.items()}
    norm = np.sqrt(sum((value**2).sum() for value in gradients.values()))
    factor = min(1.0, 0.5 / norm) if clip == "norm" else 1.0
    return {name: value * factor for name, value in gradients.items()}


def test_a_gradient_within_the_bounds_is_not_changed():
    start, gradient = np.ones(3), np.array([0.3, -0.2, 0.1])
    for how in ("norm", "value"):
        leaf = torch.tensor(start, requires_grad=True)
        asked = ADAM | {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "learning_rate": 1.0}
        leaf.grad = torch.tensor(gradient)
        Optimiser({"network.a.bias": leaf}, asked | {"gradient_clip_val": 0.5, "gradient_clip_algorithm": how}).step(1.0, 1)
        assert np.array_equal(leaf.detach(), start - gradient)


# --- mixed precision ------------------------------------------------------------------------------------------------------------


def bfloat16(value):
    return torch.as_tensor(value).to(torch.bfloat16).to(torch.float64).numpy()


def test_mixed_precision_rounds_the_layers_of_the_network_and_nothing_else():
    model, scan, batch = case(form="real-imaginary")
    sample, light = illuminated(batch, scan, torch.float32)
    amplitudes = sample.frames.amplitudes(batch.frames)
    found = estimate_object(amplitudes, batch.corners[batch.groups], light, sample.frames.mask, batch.network)
    exact, mixed = (_correction(model, found, batch, mixed=mixed) for mixed in (False, True))
    given = found.features().to(torch.float64).numpy()
    rounded = channels(batch.network, batch.weights, given, rounded=bfloat16)
    rounded = rounded[:, :4] + 1j * rounded[:, 4:]
    away, left = distance(exact, rounded), distance(mixed, rounded)
    print(f"bf16: {left} from the rounded reference, which is {away} from float32")
    assert 1e-3 < away < 5e-2
    assert left < away / 3
    assert found.patches.dtype == torch.complex64
    silent = dict(model.weights) | {f"exit.{part}": np.zeros_like(model.weights[f"exit.{part}"]) for part in ("weight", "bias")}
    assert not _correction(replace(model, weights=silent), found, batch, mixed=True).any()


def _correction(model, found, batch, *, mixed):
    """What the network adds to the estimate."""
    network = build_network(batch.network, model.weights, CPU, torch.float32)
    with torch.no_grad():
        patches = predict(network, found, batch.network, mixed=mixed)
    assert patches.dtype == torch.complex64
    return (patches.to(torch.complex128) - found.patches.to(torch.complex128)).numpy()
