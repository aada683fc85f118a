"""The gradients of the reference, written by hand, against central differences of its own loss with the constants held."""

from dataclasses import replace

import numpy as np
import pytest

from ptycho_core.conformance.reference import evaluation, passes
from ptycho_core.evaluation import opened
from ptycho_core.settings.components import loss_weights

LIMIT = 2e-7
"""Of a slope along a random direction, over the norms of gradient and direction; measured at most 5e-8."""

LEARNS = {"train_probe": True, "train_scale": True}
CASES = {
    "one frame": {"gridsize": 1, "merge": "batch", "modes": 2},
    "one frame alone": {"gridsize": 1, "merge": "group", "masked": True, "output_form": "amplitude-phase"},
    "four frames": {"gridsize": 2, "merge": "group", "masked": True, "modes": 3},
    "four frames, batch": {"gridsize": 2, "merge": "batch", "output_form": "amplitude-phase", "modes": 2},
    "sigmoid": {"gridsize": 2, "merge": "none", "output_form": "amplitude-phase", "amplitude_activation": "sigmoid"},
    "no activation": {"gridsize": 2, "merge": "batch", "output_form": "amplitude-phase", "amplitude_activation": "none"},
    "nine frames": {"gridsize": 3, "merge": "batch", "modes": 1, "masked": True},
}
ALONE = {
    term: {"gridsize": 2, "merge": "batch"} | {f"{other}_weight": float(other == term) for other in passes.TERMS}
    for term in passes.TERMS
}


def groups_of(gridsize):
    random = np.random.default_rng(8)
    return np.stack([random.permutation(20)[: gridsize**2] for _ in range(3)])


@pytest.mark.parametrize(("name", "settings"), [*CASES.items(), *ALONE.items()], ids=[*CASES, *(f"{one} alone" for one in ALONE)])
def test_gradients_are_differences_of_the_loss(name, settings, training_job):
    job = opened(replace(training_job(**settings, **LEARNS), groups=groups_of(settings["gridsize"])))
    found = evaluation.evaluate_batch(job)
    model = job.model
    probe = model.physics["probe"][0] * np.exp(float(model.physics["log_scale"][0]) / 2)
    weights = {name: value.astype(np.float64) for name, value in model.weights.items()}
    one = job.data.scans[0]
    batch = evaluation.batch_of(model, weights, probe.astype(complex), one.scan, one.positions, job.groups, one.labels)
    held = passes.hold(batch)
    asked = {term: weight for term, weight in loss_weights(job.settings["training"], "").items() if weight}
    assert found.losses == passes.losses(batch, held, tuple(asked))
    random, measured = np.random.default_rng(9), {}
    assert found.gradients.keys() == {*(f"network.{one}" for one in model.weights), "physics.probe", "physics.log_scale"}
    for key, gradient in found.gradients.items():
        direction = random.standard_normal(gradient.shape)
        if np.iscomplexobj(gradient):
            direction = direction + 1j * random.standard_normal(gradient.shape)
        slope = float((gradient.conj() * direction).real.sum())
        size = np.linalg.norm(gradient) * np.linalg.norm(direction)
        difference = _difference(model, batch, held, asked, key, direction)
        if size == 0:  # what compares objects tells nothing of the probe
            assert (name in ("tv", "realspace"), key.startswith("physics.")) == (True, True)
            assert abs(difference) < 1e-9
            continue
        measured[key] = abs(slope - difference) / size
    worst = max(measured, key=measured.get)
    print(f"{name}: worst {worst} {measured[worst]:.2g} of {len(measured)}, limit {LIMIT:g}")
    assert measured[worst] < LIMIT


def _difference(model, batch, held, asked, key, direction, step=1e-6):
    """The slope of the loss along a direction of what learns; over longer steps moduli that change their sign would count."""

    def loss(far):
        log_scale = float(model.physics["log_scale"][0])
        if key == "physics.log_scale":
            changed = replace(batch, probe=batch.probe * np.exp(far * direction[0] / 2))
        elif key == "physics.probe":
            start = model.physics["probe"][0].astype(complex)
            unit = np.sqrt((np.abs(start) ** 2).sum(axis=0).mean())
            changed = replace(batch, probe=(start / unit + far * direction[0]) * unit * np.exp(log_scale / 2))
        else:
            own = key.removeprefix("network.")
            changed = replace(batch, weights=batch.weights | {own: batch.weights[own] + far * direction})
        return sum(asked[term] * value for term, value in passes.losses(changed, held, tuple(asked)).items())

    return (loss(step) - loss(-step)) / (2 * step)
