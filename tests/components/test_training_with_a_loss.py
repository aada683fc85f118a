"""A training with the loss of the guide, and what becomes of its checkpoint where the loss is not installed."""

import csv

import pytest

from ptycho_core.model import read_model_manifest

SHORT = ("--epochs", "2", "--network-width", "4", "--update-steps", "2", "--batch-size", "8", "--threads", "1", "--seed", "1")
LOSS = ("--log-cosh-weight", "1", "--amplitude-weight", "0")


@pytest.fixture(scope="module", params=["torch", "tensorflow"])
def run(request, guide, scan, tmp_path_factory):
    """The folder of a training with nothing but that loss."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    guide.done("train", scan, "-o", folder, "--backend", request.param, *SHORT, *LOSS)
    return request.param, folder


def losses(folder):
    return [float(row["loss"]) for row in csv.DictReader((folder / "log.csv").read_text().splitlines())]


def test_it_is_what_is_learned_from(run):
    _, folder = run
    found = losses(folder)
    assert found[-1] < found[0]
    assert read_model_manifest(folder / "last.ptycho")["settings"]["settings"]["log_cosh_weight"]["value"] == 1.0


def test_its_weight_and_width_act(run, guide, scan, tmp_path):
    backend, folder = run
    asked = {"weight": ["--log-cosh-weight", "2"], "width": [*LOSS[:2], "--log-cosh-width", "0.3"]}
    short = [*SHORT, *LOSS[2:]]
    guide.all_done(backend, [["train", str(scan), "-o", str(tmp_path / name), *short, *words] for name, words in asked.items()])
    assert all(losses(tmp_path / name) != losses(folder) for name in asked)


def test_it_does_not_go_on_without_the_loss(run, guide, site, scan):
    backend, folder = run
    words = ("train", scan, "-o", folder, "--resume", "--epochs", "3")
    told = site.refused(*words, "--backend", backend, status=5)
    assert "was trained with log_cosh_weight 1.0, and the training cannot continue without that loss" in told
    told = guide.refused(*words, "--backend", "reference", "--precision", "float64", status=4)
    assert "the checkpoint was trained with log_cosh_weight 1.0, and NumPy does not compute that loss" in told
