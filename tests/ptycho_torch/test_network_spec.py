"""Estimate, network, patches, merging and losses of PyTorch beside NumPy in double precision, written from ``specs/network.md``."""

import numpy as np
import pytest
import torch

from ptycho_core.model import Model
from ptycho_core.networks import describe, initial_weights
from ptycho_core.physics.forward import intensities
from ptycho_core.training.data import TrainingScan
from ptycho_torch.estimate import Illumination, estimate_object
from ptycho_torch.learner import Learner, Sample
from ptycho_torch.networks import build_network
from ptycho_torch.optimiser import Optimiser
from ptycho_torch.patches import predict

N = 32
LIMITS = {torch.float64: 1e-11, torch.float32: 2e-4}
"""Relative l2 of patches and what makes them; measured at most 3e-12 and 7e-5."""

LOSS_LIMITS = {torch.float64: 1e-12, torch.float32: 1e-5}
"""Relative; measured at most 2e-13 and 5e-6."""


class Memory:
    """Patterns in memory."""

    def __init__(self, counts):
        self.counts, self.shape, self.dtype = counts, counts.shape, counts.dtype

    def __len__(self):
        return len(self.counts)

    def read(self, frames):
        return self.counts[frames].astype(np.float32)


class Scan:
    """What a sample asks of a scan."""

    def __init__(self, counts, mask):
        self.patterns, self.mask, self.source = Memory(counts), mask, "memory"


def case(gridsize=2, modes=2, masked=True, form="real-imaginary", activation="softplus", merge="batch", **facts):
    """Groups of a small random scan, a probe, and a model whose weights are nowhere zero."""
    random = np.random.default_rng(5)
    frames = 12
    rows, columns = np.indices((N, N)) - N / 2
    disc = np.exp(-(rows**2 + columns**2) / 60) * np.exp(0.02j * (rows**2 + columns**2))
    probe = np.stack([disc * (rows + 3) ** mode / 4**mode for mode in range(modes)]) * 30
    positions = random.uniform(0, 9, (frames, 2))
    mask = np.ones((N, N), bool)
    if masked:
        mask[3:5] = False
    smooth = np.cumsum(np.cumsum(random.standard_normal((N + 10, N + 10)), 0), 1) / 40
    labels = (0.8 + 0.2 * np.cos(smooth)) * np.exp(1j * np.sin(smooth))
    counts = random.poisson(intensities(labels, probe, positions)).astype(np.float64) * mask
    groups = np.stack([random.permutation(frames)[: gridsize**2] for _ in range(3)])
    settings = {
        "gridsize": gridsize, "network_width": 4, "update_steps": 3, "output_form": form, "amplitude_activation": activation,
    }  # fmt: skip
    network = describe(N, settings)
    weights = {
        name: value + 0.05 * random.standard_normal(value.shape).astype(np.float32)
        for name, value in initial_weights(network, 1).items()
    }
    model = Model(
        network=network, weights=weights,
        physics={"probe": probe[None].astype(np.complex64), "log_scale": np.full(1, 0.25, np.float32)},
        facts={"size": N, "modes": modes, "merge": merge, "train_probe": False, "train_scale": False} | settings | facts,
    )  # fmt: skip
    sample = TrainingScan(
        Scan(counts, mask), positions, labels.shape, np.arange(frames), np.arange(0), labels.astype(np.complex64)
    )
    return model, sample, groups


# --- the specification in NumPy -------------------------------------------------------------------------------------------------


def fourier(field):
    return np.fft.fft2(field, norm="ortho")


class Reference:
    """All of it, for one batch."""

    def __init__(self, model, sample, groups):
        self.model, self.groups, self.network = model, groups, model.network
        self.corners = np.floor(sample.positions).astype(int)
        rest = sample.positions - self.corners
        probe = model.physics["probe"][0].astype(complex) * np.exp(float(model.physics["log_scale"][0]) / 2)
        frequency = np.fft.fftfreq(N)
        self.probes = []
        for row, column in rest:
            ramp = np.exp(-2j * np.pi * (row * frequency[:, None] + column * frequency))
            self.probes.append(np.fft.ifft2(np.fft.fft2(probe) * ramp))
        self.good = np.fft.ifftshift(sample.scan.mask)
        self.roots = np.sqrt(np.fft.ifftshift(sample.scan.patterns.counts, axes=(1, 2)))
        self.light = (np.abs(probe) ** 2).sum(0)
        self.light = self.light / self.light.max()
        self.power = (np.abs(fourier(probe)) ** 2).sum(0)[self.good].sum()
        self.labels = sample.labels

    def estimate(self, group):
        """(patches, step) of a group, turned."""
        asked = self.network["estimate"]
        places = self.corners[group] - self.corners[group].min(0)
        canvas = tuple(places.max(0) + N)
        windows = [(slice(r, r + N), slice(c, c + N)) for r, c in places]
        thing = np.full(canvas, np.sqrt((self.roots[group] ** 2).sum() / len(group) / self.power), complex)
        lit = np.zeros(canvas)
        for frame, window in zip(group, windows, strict=True):
            lit[window] += (np.abs(self.probes[frame]) ** 2).sum(0)

        def step():
            total = np.zeros(canvas, complex)
            for frame, window in zip(group, windows, strict=True):
                waves = fourier(self.probes[frame] * thing[window])
                modelled = (np.abs(waves) ** 2).sum(0) + 0.1
                back = np.fft.ifft2(self.good * (self.roots[frame] / np.sqrt(modelled) - 1) * waves, norm="ortho")
                total[window] += (np.conj(self.probes[frame]) * back).sum(0)
            return total / (lit + asked["alpha"] * lit.max())

        change = np.zeros(canvas, complex)
        for _ in range(asked["steps"]):
            change = step() + asked["momentum"] * change
            thing = thing + change
        following = step()
        patches, steps = (np.stack([one[window] for window in windows]) for one in (thing, following))
        turn = np.exp(-1j * np.angle((self.light * patches).sum()))
        return patches * turn, steps * turn

    def channels(self, features):
        values = {"input": features}
        for layer in self.network["layers"]:
            given = [values[name] for name in layer["from"]]
            values[layer["name"]] = getattr(self, layer["op"])(layer, *given)
        return values[self.network["layers"][-1]["name"]]

    def add(self, _, first, second):
        return first + second

    def silu(self, _, given):
        return given / (1 + np.exp(-given))

    def fold(self, _, given):
        return np.concatenate([[one[a::2, b::2] for a in (0, 1) for b in (0, 1)] for one in given])

    def unfold(self, _, given):
        found = np.empty((len(given) // 4, 2 * given.shape[1], 2 * given.shape[2]))
        for index, one in enumerate(given):
            found[index // 4, index % 4 // 2 :: 2, index % 2 :: 2] = one
        return found

    def convolution(self, layer, given):
        weight = self.model.weights[f"{layer['name']}.weight"].astype(float)
        bias = self.model.weights[f"{layer['name']}.bias"].astype(float)
        side, stride = layer["kernel"], layer["stride"]
        padded = np.pad(given, ((0, 0), (1, 1), (1, 1))) if side == 3 else given
        views = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))[:, ::stride, ::stride]
        return np.einsum("oikl,ixykl->oxy", weight, views) + bias[:, None, None]

    def patches(self, group):
        estimate, step = self.estimate(group)
        features = [
            estimate.real - 1,
            estimate.imag,
            4 * step.real,
            4 * step.imag,
            np.sqrt(self.light) + np.zeros(estimate.shape),
        ]
        first, second = np.split(self.channels(np.concatenate(features)), 2)
        output = self.network["output"]
        if output["form"] == "real-imaginary":
            return estimate + first + 1j * second
        modulus = np.abs(estimate)
        unit = estimate / np.maximum(modulus, 1e-3) * np.exp(1j * second)
        if output["activation"] == "softplus":
            return np.log1p(np.exp(np.log(np.expm1(np.maximum(modulus, 1e-3))) + first)) * unit
        if output["activation"] == "sigmoid":
            clipped = np.clip(modulus, 1e-3, 1 - 1e-3)
            return unit / (1 + np.exp(-(np.log(clipped / (1 - clipped)) + first)))
        return (modulus + first) * unit

    def merged(self):
        """Patches of the batch, merged as the model's facts say: (frame, N, N)."""
        of_groups = [self.patches(group) for group in self.groups]
        how = self.model.facts["merge"]
        if how == "batch":
            return self.together(np.concatenate(of_groups), self.groups.reshape(-1))
        if how == "group" and self.groups.shape[1] > 1:
            return np.concatenate([self.together(one, group) for one, group in zip(of_groups, self.groups, strict=True)])
        return np.concatenate(of_groups)

    def together(self, patches, frames):
        places = self.corners[frames] - self.corners[frames].min(0)
        weight = self.light + 1e-3
        windows = [(slice(r, r + N), slice(c, c + N)) for r, c in places]
        canvas = tuple(places.max(0) + N)
        total = np.zeros(canvas)
        for window in windows:
            total[window] += weight
        turns = np.ones(len(frames), complex)
        for _ in range(5):
            merged = np.zeros(canvas, complex)
            for patch, window, turn in zip(patches, windows, turns, strict=True):
                merged[window] += weight * turn * patch
            merged /= np.maximum(total, 1e-3)
            before = turns
            found = [(merged[window] * np.conj(patch) * weight).sum() for patch, window in zip(patches, windows, strict=True)]
            turns = np.exp(1j * np.angle(found))
        assert before is not turns
        return np.stack([merged[window] for window in windows])

    def losses(self):
        patches, frames = self.merged(), self.groups.reshape(-1)
        modelled = np.stack([(np.abs(fourier(self.probes[k] * one)) ** 2).sum(0) for k, one in zip(frames, patches, strict=True)])
        from ptycho_core.physics import INTENSITY_FLOOR, VARIATION_ROUNDING

        modelled = modelled[:, self.good] + INTENSITY_FLOOR
        roots = self.roots[frames][:, self.good]
        down, right = np.zeros(patches.shape, complex), np.zeros(patches.shape, complex)
        down[:, :-1], right[:, :, :-1] = np.diff(patches, axis=1), np.diff(patches, axis=2)
        squares = np.abs(down) ** 2 + np.abs(right) ** 2
        labels = np.stack([self.labels[r : r + N, c : c + N] for r, c in self.corners[frames]])
        turn = np.exp(1j * np.angle((self.light * labels * patches.conj()).sum((1, 2))))
        distance = np.sqrt(np.abs(patches * turn[:, None, None] - labels) ** 2 + 1e-12) - 1e-6
        return {
            "nll": (modelled - roots**2 * np.log(modelled)).mean(),
            "amplitude": ((np.sqrt(modelled) - roots) ** 2).mean(),
            "mae": np.abs(np.sqrt(modelled) - roots).mean(),
            "tv": (np.sqrt(squares + VARIATION_ROUNDING**2) - VARIATION_ROUNDING).mean(),
            "realspace": (distance * self.light).sum() / self.light.sum() / len(frames),
        }


# --- the comparison -------------------------------------------------------------------------------------------------------------

DEVICE = torch.device("cpu")


def distance(found, wanted):
    return float(np.linalg.norm(np.asarray(found) - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {"gridsize": 1, "modes": 1, "masked": False},
        {"gridsize": 1, "modes": 3},
        {"gridsize": 2, "form": "amplitude-phase"},
        {"gridsize": 2, "form": "amplitude-phase", "activation": "sigmoid"},
        {"gridsize": 3, "modes": 1, "form": "amplitude-phase", "activation": "none"},
        {"gridsize": 3},
    ],
    ids=str,
)
def test_patches_are_those_of_the_specification(options, dtype):
    model, scan, groups = case(**options)
    reference = Reference(model, scan, groups)
    sample = Sample(scan, DEVICE, dtype)
    probe = torch.as_tensor(model.physics["probe"][0]).to(dtype.to_complex()) * np.exp(0.25 / 2)
    frames = groups.reshape(-1)
    mask = sample.frames.mask
    light = Illumination.at(probe, sample.positions[frames] - sample.corners[frames], mask)
    estimate = estimate_object(sample.frames.amplitudes(frames), sample.corners[groups], light, mask, model.network)
    network = build_network(model.network, model.weights, DEVICE, dtype)
    with torch.no_grad():
        patches = predict(network, estimate, model.network, mixed=False).numpy()
    wanted = [reference.estimate(group) for group in groups]
    measured = {
        "estimate": distance(estimate.patches, np.stack([one[0] for one in wanted])),
        "step": distance(estimate.step, np.stack([one[1] for one in wanted])),
        "patches": distance(patches, np.stack([reference.patches(group) for group in groups])),
    }
    print(measured, "limit", LIMITS[dtype])
    assert max(measured.values()) < LIMITS[dtype]


@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize("gridsize", [1, 2])
@pytest.mark.parametrize("merge", ["none", "group", "batch"])
@pytest.mark.parametrize("term", ["nll", "amplitude", "mae", "tv", "realspace"])
def test_loss_terms_are_those_of_the_specification(term, merge, gridsize, dtype):
    model, scan, groups = case(gridsize=gridsize, merge=merge)
    learner = Learner(model, {term: 1.0}, DEVICE, dtype, mixed=False)
    found = float(learner.outcome(Sample(scan, DEVICE, dtype), 0, groups).loss.detach())
    wanted = Reference(model, scan, groups).losses()[term]
    print(term, merge, abs(found / wanted - 1), "limit", LOSS_LIMITS[dtype])
    assert found == pytest.approx(wanted, rel=LOSS_LIMITS[dtype])


@pytest.mark.parametrize("merge", ["none", "group", "batch"])
@pytest.mark.parametrize("leaf", ["network.enter.weight", "network.exit.bias", "physics.probe", "physics.log_scale"])
def test_gradients_are_those_of_finite_differences(leaf, merge):
    # The estimate and the turns are constants of the gradient: with no step and unit estimates, differences see the same.
    model, scan, groups = case(gridsize=2, merge=merge, train_probe=True, train_scale=True)
    network = dict(model.network) | {"estimate": {"steps": 0, "alpha": 1.0, "momentum": 0.0}}
    model = Model(network, model.weights, model.physics, model.facts)
    learner = Learner(model, {"amplitude": 1.0, "tv": 0.1}, DEVICE, torch.float64, mixed=False)
    sample, value = Sample(scan, DEVICE, torch.float64), learner.leaves()[leaf]
    frozen = _frozen(learner, sample, groups)
    frozen().backward()
    random = np.random.default_rng(2)
    direction = torch.as_tensor(random.standard_normal(value.shape)) if value.ndim else torch.ones(())
    slope = float((value.grad * direction).sum())
    small = 1e-5
    with torch.no_grad():
        value += small * direction
        ahead = float(frozen())
        value -= 2 * small * direction
        behind = float(frozen())
    print(leaf, merge, slope, (ahead - behind) / 2 / small)
    assert slope == pytest.approx((ahead - behind) / 2 / small, rel=2e-5, abs=1e-9)


def _frozen(learner, sample, groups):
    """The loss of a batch with estimate, illumination and turns, which are constants of the gradient, as they are now."""
    from ptycho_torch import learner as room
    from ptycho_torch import merging

    constants = [(room, "estimate_object"), (merging, "_aligned"), (room.Illumination, "at")]
    whole = {name: getattr(place, name) for place, name in constants}
    known = {}

    def remembered(name):
        def call(*arguments):
            if name not in known:
                known[name] = whole[name](*arguments)
            return known[name]

        return call

    def loss():
        for place, name in constants:
            setattr(place, name, remembered(name))
        try:
            with torch.enable_grad():
                return learner.outcome(sample, 0, groups).loss
        finally:
            for place, name in constants:
                setattr(place, name, whole[name])

    return loss


SGD = {"optimizer": "sgd", "momentum": 0.8}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("settings", [{"optimizer": "adam"}, {"optimizer": "adamw", "weight_decay": 0.1}, SGD], ids=str)
def test_steps_are_those_of_the_specification(settings, dtype):
    random = np.random.default_rng(3)
    start, gradients = random.standard_normal((4, 3, 3, 3)), random.standard_normal((3, 4, 3, 3, 3))
    asked = {"learning_rate": 1e-2, "weight_decay": 0.0, "momentum": 0.0, "gradient_clip_val": None} | settings
    leaf = torch.tensor(start, dtype=dtype, requires_grad=True)
    optimiser = Optimiser({"network.some.weight": leaf}, asked)
    value, m, v = start.copy(), 0.0, 0.0
    for step, gradient in enumerate(gradients, 1):
        leaf.grad = torch.tensor(gradient, dtype=dtype)
        optimiser.step(1e-2, 1)
        if asked["optimizer"] == "sgd":
            m = asked["momentum"] * m + gradient
            value = value - 1e-2 * m
            continue
        if asked["optimizer"] == "adamw":
            value = value * (1 - 1e-2 * asked["weight_decay"])
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        value = value - 1e-2 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    assert distance(leaf.detach(), value) < {torch.float64: 1e-14, torch.float32: 1e-6}[dtype]


@pytest.mark.parametrize(("how", "bound"), [("norm", 0.5), ("value", 0.1), ("norm", 1e6)])
def test_gradients_are_averaged_then_clipped(how, bound):
    gradient = np.random.default_rng(4).standard_normal((2, 2))
    leaf = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    asked = {
        "optimizer": "sgd", "learning_rate": 1.0, "weight_decay": 0.0, "momentum": 0.0, "gradient_clip_val": bound,
        "gradient_clip_algorithm": how,
    }  # fmt: skip
    leaf.grad = torch.tensor(3 * gradient)
    Optimiser({"network.some.weight": leaf}, asked).step(1.0, 3)
    norm = np.linalg.norm(gradient)
    wanted = np.clip(gradient, -bound, bound) if how == "value" else gradient * min(1, bound / norm)
    assert distance(-leaf.detach(), wanted) < 1e-14
