"""The reference as a backend: hidden, loaded without NumPy, every option answered, and both of its verbs."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import ptycho_core
from ptycho_core.backends import choose, load
from ptycho_core.contract import EvaluateJob, ExecutionRequest
from ptycho_core.errors import CapabilityError, DataError
from ptycho_core.model import load_model, save_model
from ptycho_core.physics import evaluate as forward_model
from ptycho_core.settings.execution import ExecutionSettings


@pytest.fixture(scope="module")
def backend():
    return load(choose("reference"))


def test_the_backend_is_there_but_never_the_only_one(backend):
    assert backend.spec.only_by_name
    assert backend.spec.precisions == ("float64",)
    assert not {row.name for row in ptycho_core.backends.find_backends() if not row.only_by_name} & {"reference"}


def test_its_hooks_load_without_numpy():
    code = (
        "import sys\n"
        "from ptycho_core.backends import choose, load\n"
        "assert load(choose('reference')).spec.framework is None\n"
        "assert not {'numpy', 'torch', 'tensorflow'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("asked", "kind", "effective", "why"),
    [
        ({"threads": 2}, "adjusted", None, "OPENBLAS_NUM_THREADS"),
        ({"deterministic": "off"}, "adjusted", "on", "differs from run to run"),
        ({"deterministic": "strict"}, "applied", "strict", ""),
        ({"accelerator": "auto"}, "adjusted", "cpu", "auto means cpu here"),
        ({"accelerator": "cpu"}, "applied", "cpu", ""),
        ({"accelerator": "cuda"}, "unsupported", None, "'cuda' is not available: NumPy finds no such device"),
        ({"precision": "float32"}, "unsupported", None, "offers float64"),
        ({"precision": "float64"}, "applied", "float64", ""),
        ({"seed": 3}, "applied", 3, ""),
        ({"backend": "reference"}, "applied", "reference", ""),
    ],
)
def test_every_option_is_answered_truly(backend, asked, kind, effective, why):
    execution = vars(ExecutionSettings()) | {"precision": "float64"} | asked
    request = ExecutionRequest("evaluate", execution, {}, {}, frozenset(asked))
    plan = backend.plan(request, backend.probe())
    answer = plan.dispositions[next(iter(asked))]
    assert (answer.kind, answer.value) == (kind, effective)
    assert why in answer.why
    assert plan.execution.keys() == execution.keys()
    if kind != "unsupported":
        assert plan.execution[next(iter(asked))] == effective


def test_the_forward_model_alone_is_that_of_the_core():
    random = np.random.default_rng(5)
    job = EvaluateJob(
        object=1 + 0.1 * random.standard_normal((40, 40)),
        probe=random.standard_normal((2, 16, 16)) + 0j,
        positions=random.uniform(2, 20, (5, 2)),
        counts=random.poisson(30.0, (5, 16, 16)).astype(float),
    )
    found, wanted = ptycho_core.evaluate(job, backend="reference"), forward_model(job)
    assert np.array_equal(found.intensities, wanted.intensities)
    assert found.losses == wanted.losses
    with pytest.raises(CapabilityError, match="precision"):
        ptycho_core.evaluate(job, backend="reference", precision="float32")


def test_a_batch_of_a_training_is_evaluated_without_gradients_if_none_are_wanted(training_job):
    job = replace(training_job(gridsize=2, train_probe=True), groups=np.array([[3, 1, 2, 9], [0, 4, 7, 8]]))
    full = ptycho_core.evaluate(job, backend="reference")
    bare = ptycho_core.evaluate(replace(job, gradients=False), backend="reference")
    assert bare.gradients == {}
    assert np.array_equal(full.patches, bare.patches)
    assert full.losses == bare.losses
    assert full.intensities.shape == full.patches.shape == (8, 32, 32)
    assert (full.intensities.dtype, full.patches.dtype) == (np.float64, np.complex128)
    assert "physics.probe" in full.gradients
    assert "physics.log_scale" not in full.gradients


def test_patterns_are_centred_as_they_are_in_a_scan(training_job):
    job = replace(training_job(), groups=np.arange(12)[:, None])
    modelled = ptycho_core.evaluate(job, backend="reference").intensities
    counts = ptycho_core.open_scan(job.scans[0]).patterns.read(np.arange(12))
    assert np.corrcoef(modelled.ravel(), counts.ravel())[0, 1] > 0.5


def test_groups_that_do_not_fit_and_a_dark_probe_are_refused(training_job):
    job = replace(training_job(gridsize=2), groups=np.array([[0, 1, 2, 40]]))
    with pytest.raises(DataError, match="40"):
        ptycho_core.evaluate(job, backend="reference")
    model = load_model(job.model_path)
    save_model(job.model_path, replace(model, physics=model.physics | {"probe": 0 * model.physics["probe"]}))
    with pytest.raises(DataError, match="dark"):
        ptycho_core.evaluate(replace(job, groups=np.array([[0, 1, 2, 3]])), backend="reference")


@pytest.mark.parametrize("gridsize", [1, 2, 3])
def test_inference_gives_the_first_patch_of_each_group_whatever_the_batch(gridsize, training_job, tmp_path):
    job = training_job(gridsize=gridsize, merge="none", masked=True, modes=2, neighbor_count=gridsize**2 + 3 * (gridsize > 1))
    scan, model = job.scans[0], job.model_path
    whole = ptycho_core.infer(scan, model, backend="reference", inference_batch_size=20, progress=False)
    parts = ptycho_core.infer(scan, model, backend="reference", inference_batch_size=7, progress=False)
    assert np.isfinite(whole.object).all()
    # A product of larger matrices may sum in another order.
    np.testing.assert_allclose(parts.object, whole.object, rtol=0, atol=1e-12)
