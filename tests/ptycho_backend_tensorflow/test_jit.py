"""``--opt tensorflow.jit=true``: XLA compiles what is compiled, and the results are the same up to rounding."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from ptycho_backend_tensorflow.arrays import tensorflow_arrays
from ptycho_backend_tensorflow.plugin import ptycho_evaluate
from ptycho_core.cli.main import main
from ptycho_core.contract import EvaluateJob, ExecutionPlan
from ptycho_core.engine import joint, pie
from ptycho_core.formats.product import load_reconstruction
from ptycho_core.physics import evaluate as reference


def with_xla(piece) -> int:
    """How many graphs of a compiled piece were made for XLA."""
    return sum(jit for _, _, (_, jit) in piece._graphs)


@pytest.mark.parametrize(("precision", "limit"), [("float64", 1e-10), ("float32", 2e-4)])
def test_evaluate_compiled_by_xla_is_within_the_limits(precision: str, limit: float) -> None:
    random = np.random.default_rng(3)
    job = EvaluateJob(
        object=random.uniform(0.5, 1, (30, 33)) * np.exp(1j * random.uniform(0, 1, (30, 33))),
        probe=random.normal(size=(2, 12, 12)) + 1j * random.normal(size=(2, 12, 12)),
        positions=random.uniform(0, 18, (7, 2)),
        counts=random.poisson(3.0, (7, 12, 12)).astype(float),
        mask=random.random((12, 12)) > 0.1,
        background=random.uniform(0, 1, (12, 12)),
        weights={"nll": 1.0, "amplitude": 0.5, "mae": 0.2, "tv": 1.0},
    )
    plan = ExecutionPlan("cpu", {"precision": precision, "threads": 1, "deterministic": "on"}, {"jit": True}, {})
    expected, found = reference(job), ptycho_evaluate(job, plan)
    for name, value in expected.gradients.items():
        assert np.linalg.norm(found.gradients[name] - value) <= limit * np.linalg.norm(value), name


def test_the_option_acts_through_the_real_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTYCHO_BACKENDS_ALLOW", "tensorflow")
    scan = tmp_path / "scan.npz"
    assert main(["simulate", str(scan), "--size", "32", "--frames", "36", "--photons", "1e5"]) == 0
    quick = ["--epochs", "5", "--iterations", "2", "--refine-positions", "--background", "constant", "--total-variation", "1"]
    pieces = [tensorflow_arrays(tf.float32).compiled(one) for one in (pie._update, joint._with_portion)]
    before = [with_xla(piece) for piece in pieces]
    assert main(["reconstruct", str(scan), "-o", str(tmp_path / "without"), *quick, "--quiet"]) == 0
    assert [with_xla(piece) for piece in pieces] == before
    jit = ["--opt", "tensorflow.jit=true", "--quiet"]
    assert main(["reconstruct", str(scan), "-o", str(tmp_path / "with"), *quick, *jit]) == 0
    assert all(with_xla(piece) > was for piece, was in zip(pieces, before, strict=True))
    plain, compiled = (load_reconstruction(tmp_path / name).object for name in ("without", "with"))
    assert np.linalg.norm(plain - compiled) < 1e-3 * np.linalg.norm(plain)
