"""A network on the canvas: the same training as with PyTorch, bit for bit after a pause, and a model that others infer with.

The frames are one batch, as each canvas of another shape is compiled anew.
"""

import numpy as np
import pytest

from ptycho_core.formats.product import load_reconstruction
from ptycho_core.model import load_model

SMALL = [
    "--network", "canvas", "--network-width", "4", "--batch-size", "36", "--scheduler", "constant", "--seed", "3", "--quiet",
    "--threads", "1", "--precision", "float64",
]  # fmt: skip
ALIKE = 1e-12
"""Relative difference of the losses of three epochs in double precision."""


def losses(folder):
    return [row["loss"] for row in load_model(folder / "last.ptycho").history]


@pytest.mark.parametrize("compared", ["patterns", "labels"])
def test_it_learns_as_with_torch_and_goes_on_bit_for_bit(compared, scan, ptycho, tmp_path) -> None:
    asked = [*SMALL, *(["--model-type", "supervised"] if compared == "labels" else [])]
    for name, backend, epochs in (("torch", "torch", "3"), ("whole", "jax", "3"), ("parts", "jax", "2")):
        ptycho("train", scan, "-o", tmp_path / name, "--backend", backend, "--epochs", epochs, *asked)
    assert losses(tmp_path / "whole") == pytest.approx(losses(tmp_path / "torch"), rel=ALIKE)
    ptycho("train", scan, "-o", tmp_path / "parts", "--backend", "jax", "--resume", "--epochs", "3", "--quiet")
    whole, parts = (load_model(tmp_path / name / "last.ptycho", training=True) for name in ("whole", "parts"))
    assert np.any(whole.weights["exit.weight"]), "it learned"
    assert all(np.array_equal(value, parts.weights[name]) for name, value in whole.weights.items())
    assert whole.training.arrays.keys() == parts.training.arrays.keys()
    assert all(np.array_equal(value, parts.training.arrays[name]) for name, value in whole.training.arrays.items())


def test_it_learns_from_what_jax_reconstructs_and_torch_infers_alike(scan, ptycho, tmp_path) -> None:
    words = ["--labels", "reconstruct", "--validation-split", "0.4", "--epochs", "1", *SMALL]
    ptycho("train", scan, "-o", tmp_path / "run", "--backend", "jax", *words)
    untrained = load_model(tmp_path / "run").untrained
    assert untrained["compared_with"] == "reconstruction"
    assert untrained["steps"] < 25, "what is compiled at a first pass is no cost of each: 25 is the most that is tried"
    objects = []
    for backend in ("jax", "torch"):
        words = ["--model", tmp_path / "run", "--backend", backend, "--precision", "float64", "--quiet"]
        ptycho("infer", scan, "-o", tmp_path / backend, *words)
        objects.append(load_reconstruction(tmp_path / backend).object)
    assert np.linalg.norm(objects[0] - objects[1]) <= 1e-6 * np.linalg.norm(objects[1])
