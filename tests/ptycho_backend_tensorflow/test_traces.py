"""One graph serves all numbers of frames and all sizes of the object: making one takes as long as an epoch of a small scan."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from engine_fit import fit

from ptycho_backend_tensorflow.arrays import tensorflow_arrays
from ptycho_backend_tensorflow.compiled import Compiled
from ptycho_backend_tensorflow.devices import configured
from ptycho_backend_tensorflow.plugin import ptycho_evaluate
from ptycho_core.contract import EvaluateJob, ExecutionPlan
from ptycho_core.engine import evaluate, joint, pie
from ptycho_core.settings.reconstruction import ReconstructionSettings

PLAN = ExecutionPlan("cpu", {"threads": 1, "precision": "float32", "deterministic": "on"}, {}, {})
ARRAYS = tensorflow_arrays(tf.float32)
REQUIRED = [*map(ARRAYS.compiled, (pie._update, joint._with_portion, joint._score, evaluate._part))]


class Patterns:
    def __init__(self, frames: int, size: int) -> None:
        self.shape = (frames, size, size)
        self.counts = np.random.default_rng(frames).poisson(20.0, self.shape).astype(np.float32)

    def __len__(self) -> int:
        return len(self.counts)

    def read(self, frames):
        return self.counts[frames]


def reconstruct(frames: int, size: int, rows: int) -> None:
    random = np.random.default_rng(0)
    probe = np.full((1, size, size), 3 + 1j)
    positions = random.uniform(0, rows - size, (frames, 2))
    settings = ReconstructionSettings(epochs=2, iterations=2, held_out=0.1, likelihood="amplitude", total_variation=1.0)
    fit(ARRAYS, Patterns(frames, size), positions, probe, np.ones((rows, rows + 3), complex), options=settings)


def evaluate_batch(frames: int, size: int, rows: int) -> None:
    random = np.random.default_rng(0)
    counts, positions = random.poisson(9.0, (frames, size, size)).astype(float), random.uniform(0, rows - size, (frames, 2))
    ptycho_evaluate(EvaluateJob(np.ones((rows, rows), complex), np.ones((1, size, size), complex), positions, counts), PLAN)


def traces() -> list[int]:
    return [piece.traces for piece in REQUIRED]


def test_other_numbers_of_frames_and_other_objects_cost_no_new_graph() -> None:
    with configured(PLAN):
        before = traces()
        reconstruct(37, 16, 40)  # a last batch of another length
        evaluate_batch(37, 16, 40)
        first = traces()
        assert all(now - was <= 1 for now, was in zip(first, before, strict=True))
        reconstruct(70, 16, 51)
        reconstruct(20, 24, 33)
        evaluate_batch(5, 12, 20)
    assert traces() == first


def test_a_graph_is_made_for_each_kind_of_arguments_and_no_more() -> None:
    def multiplied(values: tf.Tensor, offset: tf.Tensor | None, *, factor: int) -> tf.Tensor:
        return values * factor if offset is None else values * factor + offset

    scaled = Compiled(multiplied)

    def call(values, offset=None, *, factor=2):
        found = scaled(tf.constant(values), offset, factor=factor).numpy()
        return found, scaled.traces

    assert call([1.0, 2.0])[1] == 1
    assert call([1.0, 2.0, 3.0])[1] == 1
    assert call([[1.0]])[1] == 2
    assert call([1])[1] == 3
    values, made = call([1.0, 2.0], tf.constant(1.0), factor=3)
    assert (values.tolist(), made) == ([4.0, 7.0], 4)
    assert call([5.0], tf.constant(1.0), factor=3)[1] == 4


@pytest.mark.parametrize("gradients", [True, False])
def test_what_is_compiled_says_the_same_without_gradients(gradients: bool) -> None:
    random = np.random.default_rng(1)
    job = EvaluateJob(np.ones((20, 20), complex), np.ones((1, 8, 8), complex), np.ones((3, 2)), random.poisson(2.0, (3, 8, 8)))
    found = ptycho_evaluate(replace(job, gradients=gradients), PLAN)
    assert set(found.gradients) == ({"object", "probe", "positions"} if gradients else set())
    assert found.losses["amplitude"] > 0
