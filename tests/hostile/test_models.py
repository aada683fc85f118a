"""Model files whose hashes are right and whose content is not what a training or an inference can use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ptycho_core.cli.main import main
from ptycho_core.model import TrainingState, load_model, save_model

BACKEND = ["--backend", "reference", "--quiet", "--no-figures"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A scan, and a training of one epoch on it."""
    folder = tmp_path_factory.mktemp("odd")
    assert main(["simulate", str(folder / "scan.npz"), "--size", "32", "--frames", "16", "--seed", "1"]) == 0
    words = ["--epochs", "1", "--network-width", "4", "--update-steps", "1", "--network", "compact", "--batch-size", "8"]
    assert main(["train", str(folder / "scan.npz"), "-o", str(folder / "run"), *words, *BACKEND]) == 0
    return folder


def facts(**changes):
    return lambda model: replace(model, facts={**model.facts, **changes})


def settings(change):
    def changed(model):
        table = {name: dict(entry) for name, entry in model.settings["settings"].items()}
        return replace(model, settings={**model.settings, "settings": change(table)})

    return changed


def scans(records):
    return lambda model: replace(model, settings={**model.settings, "scans": records})


def state(**changes):
    return lambda model: replace(model, training=TrainingState(model.training.arrays, {**model.training.state, **changes}))


def without(table, name):
    return {one: value for one, value in table.items() if one != name}


BOTH = {
    "settings that are a list": settings(lambda table: [1]),
    "a setting that is a number": settings(lambda table: {**table, "seed": 3}),
    "a setting that is nothing": settings(lambda table: {**table, "batch_size": None}),
    "a setting whose value is a list": settings(lambda table: {**table, "batch_size": {"value": [1]}}),
    "a backend without the one that was taken": settings(lambda table: {**table, "backend": {"value": "torch"}}),
    "scans that are a number": scans(3),
    "scans that are texts": scans(["a"]),
    "a scan whose name is a list": scans([{"name": [], "frames": 16, "size": 32}]),
    "a scan without frames": scans([{"name": "scan.npz", "size": 32}]),
    "light that is negative": lambda model: replace(model, scaling={**model.scaling, "transmission": -1.0}),
}
INFER = {
    "a smoothing of a million pixels": facts(probe_smoothing=1e6),
    "a smoothing wider than the probe": facts(probe_smoothing=100.0),
    "a smoothing that is text": facts(probe_smoothing="wide"),
    "a merge that is not known": facts(merge="other"),
    "neighbors that are a fraction": facts(neighbor_count=1.5),
    "a mask that is a truth": facts(probe_mask_diameter=True),
    "no word of the neighbors": lambda model: replace(model, facts=without(model.facts, "neighbor_count")),
    "a batch size of no size": settings(
        lambda table: {**table, "batch_size": {"value": -3}, "inference_batch_size": {"value": None}}
    ),
}
RESUME = {
    "no settings": lambda model: replace(model, settings={}),
    "a seed that is text": settings(lambda table: {**table, "seed": {**table["seed"], "value": "one"}}),
    "a loss that is text": lambda model: replace(model, history=({**model.history[0], "loss": "low"},)),
    "a scan without its digest": lambda model: scans([without(model.settings["scans"][0], "digest")])(model),
    "an epoch that is text": state(epoch="two"),
    "an epoch far ahead": state(epoch=7),
    "steps that are nothing": state(steps=None),
    "seconds that are a list": state(seconds=[]),
    "no word of the collapse": lambda model: replace(
        model, training=TrainingState(model.training.arrays, without(model.training.state, "collapse_told"))
    ),
    "no arrays": lambda model: replace(model, training=TrainingState({}, model.training.state)),
}


@pytest.mark.parametrize("change", [*BOTH.values(), *INFER.values()], ids=[*BOTH, *INFER])
def test_an_inference_refuses_it_in_a_sentence(folder, tmp_path, capsys, change):
    model = load_model(folder / "run" / "best.ptycho")
    path = save_model(tmp_path / "odd.ptycho", change(model))
    scan = str(folder / "scan.npz")
    assert main(["infer", scan, "--model", str(path), "-o", str(tmp_path / "out"), *BACKEND]) == 5
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "odd.ptycho" in told or "smoothed over 100 px" in told


@pytest.mark.parametrize("change", [*BOTH.values(), *RESUME.values()], ids=[*BOTH, *RESUME])
def test_a_training_does_not_go_on_from_it(folder, tmp_path, capsys, change):
    run = tmp_path / "run"
    run.mkdir()
    save_model(run / "last.ptycho", change(load_model(folder / "run" / "last.ptycho", training=True)))
    words = ["train", str(folder / "scan.npz"), "-o", str(run), "--resume", "--epochs", "2", *BACKEND]
    assert main(words) == 5, capsys.readouterr().err
    assert capsys.readouterr().err.count("\n") == 1


def test_a_checkpoint_whose_arrays_are_of_another_shape_is_refused(folder, tmp_path, capsys, backend):
    run = tmp_path / "run"
    run.mkdir()
    model = load_model(folder / "run" / "last.ptycho", training=True)
    arrays = {name: value[..., :1] if np.ndim(value) else value for name, value in model.training.arrays.items()}
    save_model(run / "last.ptycho", replace(model, training=TrainingState(arrays, model.training.state)))
    words = ["train", str(folder / "scan.npz"), "-o", str(run), "--resume", "--epochs", "2", "--backend", backend, "--quiet"]
    assert main(words) == 5
    assert "are not those of its model" in capsys.readouterr().err
