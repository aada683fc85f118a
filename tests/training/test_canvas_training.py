"""Trainings of a network on the canvas: labels that scans make themselves, going on, and beginning with another model."""

import json
import os
import signal

import numpy as np
import pytest

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.model import load_model

SMALL = ["--network", "canvas", "--network-width", "4", "--batch-size", "60", "--threads", "1", "--no-figures", "--quiet"]

QUICK = {"network": "canvas", "network_width": 4, "batch_size": 60, "threads": 1, "epochs": 3}


def simulated(path, *words):
    assert main(["simulate", str(path), "--defocus-fraction", "1", *words]) == 0
    return path


def train(scan, folder, backend, *words):
    return main(["train", str(scan), "-o", str(folder), "--backend", backend, *map(str, words)])


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A scan of 90 frames of 32 x 32 pixels, whose file holds the true object."""
    path = tmp_path_factory.mktemp("scan") / "scan.npz"
    return simulated(path, "--object", "random-lines", "--size", "32", "--frames", "90", "--step", "3", "--seed", "5")


def stopped_inside(epoch):
    """An observer that presses Ctrl-C at the first batch of an epoch."""
    left = [1]

    def press(event):
        if left and event.kind == "step" and event.epoch == epoch and event.values.get("batch") == 1:
            left.clear()
            os.kill(os.getpid(), signal.SIGINT)

    return press


@pytest.fixture(scope="module")
def whole(scan, tmp_path_factory, backend):
    """The folder of a training by patterns, which was never stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    ptycho_core.train(scan, folder, backend=backend, **QUICK)
    return folder


@pytest.mark.parametrize("how", ["by patterns", "by labels, from a model"])
def test_a_training_that_is_stopped_inside_an_epoch_goes_on_bit_for_bit(how, whole, scan, tmp_path, backend):
    settings, start, wanted = QUICK | {"backend": backend}, {}, whole
    if how != "by patterns":
        settings = {one: value for one, value in settings.items() if not one.startswith("network")} | {"labels": "reconstruct"}
        start, wanted = {"start_model": whole}, tmp_path / "unstopped"
        ptycho_core.train(scan, wanted, **settings, **start)
    folder = tmp_path / "stopped"
    ptycho_core.train(scan, folder, observers=[stopped_inside(2)], **settings, **start)
    assert len(load_model(folder / "last.ptycho", training=True).history) == 2
    assert json.loads((folder / "metrics.json").read_text())["interrupted"]
    ptycho_core.train(scan, folder, resume=True, backend=backend)
    one, other = (load_model(run / "last.ptycho", training=True) for run in (wanted, folder))
    assert len(one.history) == len(other.history) == 3
    assert any(np.any(value) for value in one.weights.values())
    assert all(np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert all(np.array_equal(one.physics[name], other.physics[name]) for name in one.physics)
    assert one.training.arrays.keys() == other.training.arrays.keys()
    assert all(np.array_equal(value, other.training.arrays[name]) for name, value in one.training.arrays.items())
    assert other.settings.get("start_model") == one.settings.get("start_model") == (str(whole / "best.ptycho") if start else None)


def test_a_training_begins_with_a_model(scan, tmp_path, backend, capsys):
    run, words = tmp_path / "run", [*SMALL, "--model-type", "supervised", "--epochs", "1"]
    assert train(scan, run, backend, *words, "--learning-rate", "0.01") == 0
    still = ["--from", run, "--epochs", "1", "--learning-rate", "1e-30", "--quiet", "--no-figures"]
    assert train(scan, tmp_path / "next", backend, *still, "--seed", "3") == 0
    first, second = load_model(run), load_model(tmp_path / "next")
    assert any(np.any(value) for name, value in first.weights.items() if name.startswith("exit."))
    assert all(np.array_equal(first.weights[name], second.weights[name]) for name in first.weights)
    assert second.network == first.network
    assert len(second.history) == 1
    assert second.settings["start_model"] == str(run / "best.ptycho")
    capsys.readouterr()
    refused = {
        "network_width": ["--network-width", "16"], "fixes it at auto": ["--update-steps", "3"],
        "Give --resume or --from": ["--resume"],
    }  # fmt: skip
    for told, more in refused.items():
        assert train(scan, tmp_path / "next", backend, "--from", run, *more) == 2
        assert told in capsys.readouterr().err
    assert train(scan, run, backend, "--from", run, "--overwrite") == 2
    assert "best.ptycho" in capsys.readouterr().err
    larger = simulated(tmp_path / "larger.npz", "--size", "48", "--frames", "40")
    assert train(larger, tmp_path / "other", backend, "--from", run) == 5
    assert "the model to begin with takes 32 x 32" in capsys.readouterr().err


def test_patterns_may_be_what_is_compared_and_without_validation_that_is_said(scan, tmp_path, backend, capsys):
    assert train(scan, tmp_path / "run", backend, *SMALL, "--epochs", "1", "--validation", scan) == 0
    told, said = "The network was not compared with the untrained pass", capsys.readouterr()
    assert said.out.splitlines()[-1].startswith(told)
    assert "is learned from, so it cannot tell how well the network does" in said.err
    model = load_model(tmp_path / "run")
    assert model.untrained == {}
    assert all(row["misfit"] > 0 for row in model.history)
    assert model.facts["estimate"] == "tile"


def test_a_network_that_learned_a_wrong_object_is_not_better_whatever_its_labels_say(scan, tmp_path, backend, capsys):
    """Labels of half the contrast, as those of a fit of too few photons can be: patterns that neither was given show it."""
    words = [*SMALL, "--model-type", "supervised", "--epochs", "8", "--learning-rate", "0.02"]
    other = simulated(tmp_path / "other.npz", "--object", "random-lines", "--size", "32", "--frames", "90", "--step", "3")
    weak = []
    for path in (scan, other):
        with np.load(path) as file:
            arrays = dict(file)
        mean = arrays["object_true"].mean()
        arrays["object_true"] = mean + 0.5 * (arrays["object_true"] - mean)
        weak.append(tmp_path / f"weak-{path.name}")
        np.savez(weak[-1], **arrays)
    assert train(weak[0], tmp_path / "run", backend, *words, "--validation", weak[1]) == 0
    figures = load_model(tmp_path / "run").untrained
    assert figures["network"] < 0.97 * min(figures["untrained"], figures["same_steps"])
    assert not figures["better"]
    assert "but patterns left out are predicted less well" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.long
def test_a_part_of_a_scan_validates_and_is_reconstructed_to_compare_with(scan, tmp_path, backend):
    assert train(scan, tmp_path / "run", backend, *SMALL, "--epochs", "2", "--validation-split", "0.4") == 0
    figures = load_model(tmp_path / "run").untrained
    assert figures == json.loads((tmp_path / "run" / "metrics.json").read_text())["untrained"]
    assert (figures["compared_with"], figures["frames"]) == ("reconstruction", 36)
    assert 0 < figures["network"] < 1
