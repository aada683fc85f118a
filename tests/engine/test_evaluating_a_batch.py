"""``evaluate`` of a batch of a training: what a step would see, from the job's files alone."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from ptycho_core import evaluate
from ptycho_core.contract import BatchRecipe
from ptycho_core.errors import DataError
from ptycho_core.model import load_model, save_model
from ptycho_core.settings.payload import create_training_payload
from ptycho_core.training.run import run_payload

GROUPS = np.array([[0, 1, 8, 9], [20, 21, 28, 29], [35, 34, 43, 42]])


@pytest.fixture(scope="module")
def trained(backend, scans, tmp_path_factory):
    """A small network after an epoch with all loss terms, and its job."""
    folder = tmp_path_factory.mktemp("evaluated")
    asked = {
        "backend": backend, "gridsize": 2, "network_width": 4, "epochs": 1, "precision": "float64", "train_probe": True,
        "train_scale": True, "nll_weight": 0.3, "mae_weight": 0.5, "tv_weight": 20.0, "realspace_weight": 7.0, "progress": False,
    }  # fmt: skip
    payload = create_training_payload([scans[0]], folder, asked)
    run_payload(payload)
    return BatchRecipe((scans[0],), folder / "best.ptycho", payload.groups, 0, GROUPS)


def evaluated(backend, job, groups=GROUPS, **more):
    return evaluate(replace(job, groups=groups, **more), backend=backend, precision="float64")


def loss(job, found):
    weights = job.settings["training"]
    return sum((1.0 if name == "amplitude" else weights[f"{name}_weight"]) * value for name, value in found.losses.items())


def test_terms_patterns_patches_and_gradients_have_the_words_and_shapes_of_the_contract(backend, trained):
    found = evaluated(backend, trained)
    model = load_model(trained.model_path)
    assert found.losses.keys() == {"nll", "amplitude", "mae", "tv", "realspace"}
    assert found.intensities.shape == found.patches.shape == (12, 32, 32)
    assert found.intensities.dtype == np.float64
    assert found.patches.dtype == np.complex128
    shapes = {f"network.{name}": value.shape for name, value in model.weights.items()}
    shapes |= {"physics.probe": (1, 1, 32, 32), "physics.log_scale": (1,)}
    assert {name: value.shape for name, value in found.gradients.items()} == shapes
    assert all(np.linalg.norm(value) > 0 for value in found.gradients.values())


@pytest.mark.parametrize("name", ["exit.bias", "eighth_a.weight", "enter.weight"])
def test_a_gradient_is_the_slope_of_the_loss_between_two_model_files(backend, trained, name, tmp_path):
    before = evaluated(backend, trained)
    model, step = load_model(trained.model_path), 2e-4
    gradient = before.gradients[f"network.{name}"]
    near = []
    for sign in (-1, 1):
        moved = model.weights[name] + sign * step * gradient / np.linalg.norm(gradient)
        weights = dict(model.weights) | {name: moved.astype(np.float32)}
        save_model(tmp_path / "near.ptycho", replace(model, training=None, weights=weights))
        near.append(loss(trained, evaluated(backend, replace(trained, model_path=tmp_path / "near.ptycho"), gradients=False)))
    slope = (near[1] - near[0]) / (2 * step)
    # The turns of merging, constants of the gradient, move a little with the weights, and a file rounds to float32.
    assert slope == pytest.approx(np.linalg.norm(gradient), rel=0.05)


def test_without_gradients_there_are_none_and_the_rest_is_the_same(backend, trained):
    with_them, without = evaluated(backend, trained), evaluated(backend, trained, gradients=False)
    assert dict(without.gradients) == {}
    assert without.losses == with_them.losses
    assert np.array_equal(without.intensities, with_them.intensities)


def test_nothing_is_written(backend, trained, tmp_path):
    copy = shutil.copytree(trained.model_path.parent, tmp_path / "run")
    before = {path.name: path.stat().st_mtime_ns for path in copy.iterdir()}
    evaluated(backend, replace(trained, model_path=copy / "best.ptycho"))
    assert {path.name: path.stat().st_mtime_ns for path in copy.iterdir()} == before


@pytest.mark.parametrize(
    ("scan", "groups", "said"),
    [
        (1, GROUPS, "no scan in place 1: the training has 1"),
        (0, GROUPS[:, :3], r"shape \(3, 3\); with gridsize 2 they are integers \(group, 4\)"),
        (0, GROUPS.astype(float), "Groups are float64"),
        (0, GROUPS + 20, "the frames 20 to 63; .* has 60"),
        (0, GROUPS - 1, "the frames -1 to"),
    ],
)
def test_groups_that_do_not_fit_are_refused(backend, trained, scan, groups, said):
    with pytest.raises(DataError, match=said):
        evaluate(replace(trained, scan=scan, groups=groups), backend=backend)


def test_a_scan_that_the_model_has_no_probe_of_is_refused(backend, trained, scans):
    more = replace(trained, scans=(*trained.scans, scans[1]), scan=1)
    with pytest.raises(DataError, match="holds probes for 1 of the 2 scans"):
        evaluate(more, backend=backend)
