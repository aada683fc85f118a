"""What the core finds wrong with a job before a backend gets it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ptycho_core
from ptycho_core.checks import check_job
from ptycho_core.conformance.suite.inputs import known_scan, perturbed_model, random_batch
from ptycho_core.contract import EvaluateBatchJob, InferJob, ReconstructJob, TrainJob
from ptycho_core.errors import DataError, PtychoError, SettingsError
from ptycho_core.evaluation import opened
from ptycho_core.inference.run import infer_job
from ptycho_core.physics import evaluate
from ptycho_core.settings.resolution import resolve


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> EvaluateBatchJob:
    folder = tmp_path_factory.mktemp("checks")
    recipe = perturbed_model(folder / "model.ptycho", known_scan(folder / "scan.npz"), gridsize=2)
    return opened(replace(recipe, groups=np.array([[0, 1, 5, 6]])))


@pytest.fixture(scope="module")
def fit(batch: EvaluateBatchJob) -> ReconstructJob:
    scan = batch.data.scans[0].scan
    groups = resolve("reconstruct").groups()
    shape = tuple(np.ceil(scan.positions.max(axis=0)).astype(int) + scan.size + 1)
    return ReconstructJob(scan, np.ones(shape, np.complex64), scan.probe, scan.positions, groups)


@pytest.fixture(scope="module")
def inference(batch: EvaluateBatchJob) -> InferJob:
    one = batch.data.scans[0]
    return infer_job(one.scan, batch.model, one.scan.probe, one.positions, resolve("infer").groups())


@pytest.fixture(scope="module")
def training(batch: EvaluateBatchJob) -> TrainJob:
    return TrainJob(batch.data, batch.model, Path("nowhere"), batch.settings)


def test_right_jobs_pass(batch: EvaluateBatchJob, fit: ReconstructJob, inference: InferJob, training: TrainJob) -> None:
    for job in (random_batch(), batch, fit, inference, training):
        check_job(job)


def test_what_is_automatic_is_a_number_in_the_job(batch: EvaluateBatchJob, inference: InferJob) -> None:
    weights = {name: value for name, value in batch.settings["training"].items() if name.endswith("_weight")}
    assert len(weights) == 5
    assert all(isinstance(value, float) for value in weights.values()), weights
    assert inference.settings["execution"]["inference_batch_size"] == 1


SPOILT = np.full((32, 32), np.nan)
BATCHES = {
    "a window outside": ({"positions": np.full((7, 2), 100.0)}, DataError, "window"),
    "an object that is not finite": ({"object": np.full((30, 34), np.nan + 0j)}, DataError, "object holds values"),
    "a negative count": ({"counts": np.full((7, 16, 16), -1.0)}, DataError, "negative"),
    "a term that does not exist": ({"weights": {"sharpness": 1.0}}, SettingsError, "sharpness"),
    "a weight that is no number": ({"weights": {"nll": np.nan}}, SettingsError, "nll"),
    "counts of other frames": ({"counts": np.ones((6, 16, 16))}, DataError, "counts must have the shape"),
    "no good pixel": ({"mask": np.zeros((16, 16), bool)}, DataError, "no good pixel"),
    "a background that is not finite": ({"background": np.full((16, 16), np.nan)}, DataError, "background"),
}


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_and_the_physics_in_numpy_refuse_the_same(name: str) -> None:
    changes, error, words = BATCHES[name]
    job = replace(random_batch(), **changes)
    for refused in (check_job, evaluate):
        with pytest.raises(error, match=words):
            refused(job)


@pytest.mark.parametrize(
    ("groups", "scan", "words"),
    [
        ([[0, 1, 2, 99]], 0, "0 to 99"),
        ([[0, 1, 2, -1]], 0, "-1 to 2"),
        ([[0, 1]], 0, r"integers \(group, 4\)"),
        ([[0.0, 1, 2, 3]], 0, "float64"),
        ([[0, 1, 2, 3]], 1, "no scan in place 1"),
    ],
)
def test_groups_of_a_batch_of_a_training(batch: EvaluateBatchJob, groups: list[list[float]], scan: int, words: str) -> None:
    with pytest.raises(DataError, match=words):
        check_job(replace(batch, groups=np.array(groups), scan=scan))


def of_model(job: EvaluateBatchJob | InferJob | TrainJob, **changes: np.ndarray) -> EvaluateBatchJob | InferJob | TrainJob:
    return replace(job, model=replace(job.model, physics={**job.model.physics, **changes}))


def test_the_model_of_a_batch_or_a_training(batch: EvaluateBatchJob, training: TrainJob) -> None:
    for job in (batch, training):
        probe = job.model.physics["probe"]
        with pytest.raises(DataError, match=r"probe .* is dark"):
            check_job(of_model(job, probe=0 * probe))
        with pytest.raises(DataError, match="'probe' of the model holds values that are not finite"):
            check_job(of_model(job, probe=probe * np.nan))
        with pytest.raises(DataError, match="holds probes for 1 of the 2 scans"):
            check_job(replace(job, data=replace(job.data, scans=job.data.scans * 2)))
        spoilt = {name: value * np.nan for name, value in job.model.weights.items()}
        with pytest.raises(DataError, match="of the model holds values that are not finite"):
            check_job(replace(job, model=replace(job.model, weights=spoilt)))


def test_an_inference(inference: InferJob) -> None:
    for changes, words in (
        ({"probe": inference.probe[:, :16]}, r"shape \(1, 16, 32\)"),
        ({"probe": 0 * inference.probe}, "dark"),
        ({"probe": inference.probe * np.nan}, "not finite"),
        ({"positions": inference.positions[:3]}, r"\(25, 2\) is expected"),
        ({"positions": inference.positions * np.nan}, "positions .* not finite"),
        ({"groups": inference.groups[:, :1]}, r"\(25, 4\)"),
        ({"groups": inference.groups + 20}, "has 25"),
    ):
        with pytest.raises(DataError, match=words):
            check_job(replace(inference, **changes))


def test_a_reconstruction(fit: ReconstructJob) -> None:
    for changes, words in (
        ({"object": fit.object[:40]}, "window"),
        ({"object": np.full(fit.object.shape, np.nan + 0j)}, "object holds values that are not finite"),
        ({"object": fit.object[None]}, r"\(rows, columns\)"),
        ({"probe": fit.probe[:, :16, :16]}, "expected"),
        ({"probe": 0 * fit.probe}, "dark"),
        ({"positions": fit.positions[:3]}, r"\(25, 2\) is expected"),
        ({"positions": fit.positions - 50}, "window"),
    ):
        with pytest.raises(DataError, match=words):
            check_job(replace(fit, **changes))


def test_a_backend_never_sees_a_job_that_cannot_be_done(backend: str) -> None:
    wrong = replace(random_batch(), weights={"sharpness": 1.0})
    with pytest.raises(PtychoError, match="sharpness"):
        ptycho_core.evaluate(wrong, backend=backend, precision="float64")
