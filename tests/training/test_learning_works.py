"""Networks learn with PyTorch: what they give for a scan they have not met is better than before, whatever their kind."""

import json

import numpy as np
import pytest

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.formats.product import load_reconstruction
from ptycho_core.model import load_model

pytestmark = pytest.mark.usefixtures("only_the_backend_under_test", "undrawn")

QUICK = {"network_width": 8, "update_steps": 0, "batch_size": 12, "threads": 1, "learning_rate": 3e-3}
"""No update steps: the network sees the patterns taken back to the sample, and has much to learn."""

UNTRAINED = {"epochs": 1, "learning_rate": 1e-12}
"""The weights stay as they were drawn."""


def history(run):
    return load_model(run / "last.ptycho").history


def judged(run, scan, folder, probe):
    """What the run's model gives for a scan: misfit R, and likeness to the true object in amplitude and phase."""
    ptycho_core.infer(scan, run, folder, threads=1, probe=str(probe))
    score = ptycho_core.score(folder, scan)
    return json.loads((folder / "metrics.json").read_text())["misfit"], score.ssim_amplitude, score.ssim_phase


@pytest.fixture(scope="module")
def lessons(tmp_path_factory):
    """Three scans with the probe of the session's scans and other objects."""
    folder, paths = tmp_path_factory.mktemp("lessons"), []
    for seed in (10, 11, 12):
        paths.append(folder / f"{seed}.npz")
        words = ["--size", "32", "--frames", "60", "--photons", "1e5", "--seed", str(seed)]
        assert main(["simulate", str(paths[-1]), *words]) == 0
    return paths


@pytest.fixture(scope="module")
def probe(lessons, tmp_path_factory):
    """The true probe of all these scans: what is tested is the network, not how it bears a wrong one."""
    path = tmp_path_factory.mktemp("probe") / "probe.npy"
    with np.load(lessons[0]) as file:
        np.save(path, file["probe_true"])
    return path


@pytest.fixture(scope="module")
def run(lessons, probe, tmp_path_factory):
    """The folder of a training in groups of four."""
    folder = tmp_path_factory.mktemp("run") / "run"
    ptycho_core.train(lessons, folder, probe=str(probe), **QUICK | KINDS["gridsize 2"])
    return folder


KINDS = {
    "gridsize 1": {"epochs": 6},
    "gridsize 2": {"epochs": 5, "gridsize": 2, "batch_size": 6},
    "gridsize 3": {"epochs": 4, "gridsize": 3, "batch_size": 6, "network_width": 4},
    "two modes": {"epochs": 5, "modes": 2},
    "amplitude and phase": {"epochs": 5, "output_form": "amplitude-phase"},
    "supervised": {"epochs": 8, "model_type": "supervised"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_learned_helps_with_a_scan_that_was_not_met(kind, lessons, scans, run, probe, tmp_path):
    settings = QUICK | {"probe": str(probe)} | KINDS[kind]
    learned = run if kind == "gridsize 2" else tmp_path / "learned"
    if kind != "gridsize 2":
        ptycho_core.train(lessons, learned, **settings)
    ptycho_core.train(lessons[:1], tmp_path / "untrained", **settings | UNTRAINED)
    rows = history(learned)
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert rows[-1]["loss"] < 0.9 * rows[-1]["trivial_loss"]
    before = judged(tmp_path / "untrained", scans[1], tmp_path / "before", probe)
    after = judged(learned, scans[1], tmp_path / "after", probe)
    if kind != "supervised":  # which no one asked to explain the patterns
        assert after[0] < 0.98 * before[0]
    assert after[1] > before[1] + 0.03
    assert after[2] > before[2]


def test_the_batch_size_of_an_inference_changes_nothing(run, scans):
    objects = [ptycho_core.infer(scans[1], run, threads=1, inference_batch_size=size).object for size in (1, 7, 60, 1000)]
    largest = np.abs(objects[0]).max()
    for other in objects[1:]:
        # Convolutions of one or of many frames add up in another order: 1e-7 was seen.
        assert np.abs(other - objects[0]).max() < 1e-6 * largest


def test_a_reconstruction_that_starts_with_a_model_begins_with_what_the_model_infers(run, scans):
    inferred = ptycho_core.infer(scans[1], run, threads=1)
    nothing = {"epochs": 0, "iterations": 0, "threads": 1}
    begun = ptycho_core.reconstruct(scans[1], start=str(run), **nothing)
    row, column = (inferred.origin - begun.origin).astype(int)
    rows, columns = inferred.object.shape
    assert np.array_equal(begun.object[row : row + rows, column : column + columns], inferred.object)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_larger_patterns_make_a_step_and_are_inferred(size, tmp_path):
    scan = tmp_path / "scan.npz"
    assert main(["simulate", str(scan), "--size", str(size), "--frames", "9", "--photons", "1e6"]) == 0
    # One batch, no step before its loss; the loss of the second epoch is that after one step.
    ptycho_core.train(scan, tmp_path / "run", epochs=2, **QUICK | {"network_width": 4, "learning_rate": 1e-3})
    rows = history(tmp_path / "run")
    assert rows[1]["loss"] < rows[0]["loss"]
    model = load_model(tmp_path / "run")
    assert (model.size, model.physics["probe"].shape) == (size, (1, 1, size, size))
    found = ptycho_core.infer(scan, tmp_path / "run", tmp_path / "out", threads=1)
    assert found.probe.shape == (1, size, size)
    assert np.isfinite(load_reconstruction(tmp_path / "out").object).all()


COLLAPSES = {
    "flat patches": (
        {"output_form": "amplitude-phase", "amplitude_activation": "sigmoid", "tv_weight": 1e4, "learning_rate": 0.1},
        "The network has collapsed: its patches vary by",
    ),
    "patches that stay flat": ({"update_steps": 0, "learning_rate": 1e-12, "epochs": 4}, "The network has collapsed: its"),
    "no better than a flat object": (
        {"tv_weight": 100, "learning_rate": 1e-12, "epochs": 12, "batch_size": 15},
        "The network has not learned: its loss of",
    ),
}


@pytest.mark.parametrize("what", COLLAPSES)
def test_a_network_that_collapses_is_told_of_once(what, lessons, tmp_path):
    settings, sentence = COLLAPSES[what]
    told = []
    rest = {"epochs": 8, "batch_size": 6, "scheduler": "constant", "update_steps": 8, "network_width": 4}
    observer = [lambda event: told.append(event.message) if event.kind == "message" else None]
    ptycho_core.train(lessons[0], tmp_path / "run", observers=observer, **QUICK | rest | settings)
    assert [message[: len(sentence)] for message in told] == [sentence]


def test_a_network_that_learns_is_not_taken_for_a_collapsed_one(lessons, tmp_path):
    told = []
    ptycho_core.train(lessons[0], tmp_path / "run", epochs=8, observers=[lambda event: told.append(event.kind)], **QUICK)
    assert "message" not in told
    assert history(tmp_path / "run")[-1]["output_deviation"] > 0.01
