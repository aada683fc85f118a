"""Steps of each optimizer with the same gradients: the formulas of ``specs/network.md``, whatever the library's own would do."""

from pathlib import Path

import numpy as np
import pytest

from ptycho_core.conformance.parity import relative_distance as distance

STEPS = Path(__file__).with_name("steps.py")
SECONDS = 300
BACKENDS = ("torch", "tensorflow")
LIMITS = {"float64": 1e-10, "float32": 1e-6}

KINDS = {
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.2},
    "adam of other decays": {"optimizer": "adam", "adam_beta1": 0.5, "adam_beta2": 0.9, "adam_epsilon": 1e-9},
    "sgd": {"optimizer": "sgd", "momentum": 0.7},
    "sgd without momentum": {"optimizer": "sgd"},
}
CLIPS = {"free": {}, "norm": {"gradient_clip_val": 0.5}, "value": {"gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"}}
PLAIN = {"weight_decay": 0.0, "momentum": 0.0, "gradient_clip_val": None, "gradient_clip_algorithm": "norm"}
PLAIN |= {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}
RATES = [0.02, 0.01, 0.03]


def given():
    """Tensors and, for each step, the gradients of two batches; some of them are tiny, so that an epsilon shows."""
    random = np.random.default_rng(4)
    shapes = {
        "network.a.weight": (3, 2, 2, 2),
        "network.a.bias": (3,),
        "physics.probe": (1, 2, 4, 4, 2),
        "physics.log_scale": (1,),
    }
    values = {name: random.standard_normal(shape) for name, shape in shapes.items()}
    gradients = {name: random.standard_normal((len(RATES), 2, *shape)) for name, shape in shapes.items()}
    gradients["network.a.bias"] *= 1e-8
    return values, gradients


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 3])
def test_the_same_gradients_move_the_tensors_alike(kind, clip, steps, worker, measured):
    values, gradients = given()
    settings = PLAIN | KINDS[kind] | CLIPS[clip]
    gradients = {name: value[:steps] for name, value in gradients.items()}
    moved = {
        (one, dtype): worker(one).call(
            f"{STEPS}:steps", one, values, gradients, RATES[:steps], settings, dtype, timeout=SECONDS
        )
        for one in BACKENDS
        for dtype in LIMITS
    }  # fmt: skip
    what = f"{kind}, {clip}, {steps} steps"
    for dtype, limit in LIMITS.items():
        first, second = (moved[one, dtype] for one in BACKENDS)
        differences = {name: distance(first[name], value) for name, value in second.items()}
        measured("tensors after steps", dtype, limit, differences, what)
    seen = [name for name in values if kind.startswith("adam") or name != "network.a.bias"]
    assert all(distance(moved["torch", "float64"][name], values[name]) > 1e-4 for name in seen)
