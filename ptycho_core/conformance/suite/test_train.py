"""Training: what it leaves behind, that it learns, that it learns as specified, and that others can use what it has learned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ptycho_core.conformance.parity import relative_distance as distance
from ptycho_core.conformance.suite.marks import kit
from ptycho_core.conformance.suite.test_infer import BOUND, STORED, of_reference, patches
from ptycho_core.contract import TrainResult
from ptycho_core.model import load_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ptycho_core.conformance.suite.bench import Bench
    from ptycho_core.contract import Value

SMALL: dict[str, Value] = {
    "network_width": 4, "update_steps": 2, "batch_size": 9, "epochs": 2, "seed": 3, "learning_rate": 3e-3,
}  # fmt: skip
ROW = {
    "epoch", "loss", "misfit", "validation_loss", "validation_misfit", "learning_rate", "output_deviation", "trivial_loss",
    "seconds", "patterns_per_second",
}  # fmt: skip
FOLLOWED = {"float64": 1e-6, "float32": 1e-3}
"""Relative L2 of what was learned after some steps, as the model file holds it: an optimizer that differs is far beyond."""

COLUMNS = {"float64": 1e-9, "float32": 1e-3}
"""Relative, of each figure of the history: what rounding makes of it after some steps."""

FIGURES = ("loss", "misfit", "validation_loss", "validation_misfit", "learning_rate", "output_deviation", "trivial_loss")

WAYS: dict[str, dict[str, Value]] = {
    "adam": {"train_probe": True, "train_scale": True, "modes": 2, "gradient_clip_val": 0.5, "validation_split": 0.2},
    "adamw": {
        "optimizer": "adamw",
        "weight_decay": 0.1,
        "adam_beta1": 0.8,
        "accumulate_grad_batches": 2,
        "batch_size": 5,
        "gridsize": 2,
        "epochs": 1,
    },
    "sgd": {"optimizer": "sgd", "momentum": 0.5, "learning_rate": 0.01, "scheduler": "exponential", "decay": 0.5},
    "canvas": {"network": "canvas", "model_type": "supervised", "validation_split": 0.2},
}


def scan_of(bench: Bench, settings: Mapping[str, Value]) -> Path:
    """What is learned from: with several modes a scan with bad pixels."""
    modes = int(settings.get("modes") or 1)
    return bench.scan(modes=modes, masked=True) if modes > 1 else bench.scan(modes=1)


def trained(bench: Bench, **settings: Value) -> dict[str, Any]:
    """A training of the backend, done once: its result and the folder of the run."""
    asked = bench.settings(**(SMALL | settings))
    key = ("trained", *sorted(asked.items()))

    def run() -> dict[str, Any]:
        folder = bench.folder / f"run-{len(list(bench.folder.glob('run-*')))}"
        found: dict[str, Any] = bench.call("train", scan_of(bench, settings), folder, asked)
        return found | {"folder": folder}

    found: dict[str, Any] = bench.once(key, run)
    return found


def of_numpy(bench: Bench, **settings: Value) -> Path:
    """The folder of the same training by the reference."""
    from ptycho_core.conformance.suite import jobs

    asked: dict[str, Value] = SMALL | settings | {"backend": "reference", "precision": "float64"}
    folder = bench.folder / f"reference-{len(list(bench.folder.glob('reference-*')))}"
    key = ("trained by the reference", *sorted(asked.items()))
    return bench.once(key, lambda: (jobs.train(scan_of(bench, settings), folder, asked), folder))[1]  # type: ignore[no-any-return]


def figures(folder: Path, name: str = "loss") -> list[float]:
    """A figure of every epoch; what was not measured is not a number."""
    rows = load_model(folder / "last.ptycho").history
    return [math.nan if row[name] is None else float(str(row[name])) for row in rows]


@kit("train", needs=("test_the_plan_answers_exactly_what_was_asked_for",))
def test_train_answers(bench: Bench) -> None:
    found = trained(bench)["result"]
    assert isinstance(found, TrainResult)
    assert found.stopped_by
    assert not found.interrupted


@kit("train", needs=("test_train_answers",))
def test_train_leaves_whole_checkpoints_and_nothing_else(bench: Bench) -> None:
    run = trained(bench)
    result, folder = run["result"], run["folder"]
    assert sorted(path.name for path in folder.iterdir()) == ["best.ptycho", "last.ptycho"]
    assert (result.model_path, result.last_path) == (folder / "best.ptycho", folder / "last.ptycho")
    assert load_model(result.last_path, training=True).training is not None
    load_model(result.model_path)


@kit("train", needs=("test_train_answers",))
def test_train_keeps_a_history_and_tells_of_every_epoch(bench: Bench) -> None:
    run = trained(bench)
    history = run["result"].history
    assert [row["epoch"] for row in history] == [1, 2]
    assert all(row.keys() >= ROW for row in history)
    assert all(math.isfinite(row["loss"]) and math.isfinite(row["misfit"]) for row in history)
    epochs = [event for event in run["events"] if event.kind == "epoch"]
    assert [event.epoch for event in epochs] == [1, 2]
    assert [event.values["loss"] for event in epochs] == [row["loss"] for row in history]


@kit("train", needs=("test_train_keeps_a_history_and_tells_of_every_epoch",))
def test_training_lowers_the_loss(bench: Bench) -> None:
    found = figures(trained(bench, epochs=5)["folder"])
    assert found[-1] < 0.9 * found[0]


@kit("train", needs=("test_train_leaves_whole_checkpoints_and_nothing_else", "test_training_lowers_the_loss"))
@pytest.mark.parametrize("way", WAYS)
def test_training_goes_the_way_of_the_reference(bench: Bench, way: str) -> None:
    run, wanted = trained(bench, **WAYS[way]), of_numpy(bench, **WAYS[way])
    limit = FOLLOWED[bench.precision]
    mine, other = (load_model(folder / "last.ptycho") for folder in (run["folder"], wanted))
    far = {name: distance(mine.weights[name], value) for name, value in other.weights.items()}
    far |= {name: distance(mine.physics[name], value) for name, value in other.physics.items()}
    assert {name: value for name, value in far.items() if not value <= limit} == {}


@kit("train", "saturation", needs=("test_training_goes_the_way_of_the_reference",))
def test_a_training_takes_saturated_counts_as_lower_bounds(bench: Bench) -> None:
    bounded: dict[str, Value] = {"saturation": BOUND, "epochs": 1, "validation_split": 0.2}
    run, wanted = trained(bench, **bounded)["folder"], of_numpy(bench, **bounded)
    pairs = {name: (figures(run, name), figures(wanted, name)) for name in FIGURES}
    limit = COLUMNS[bench.precision]
    far = {name: both for name, both in pairs.items() if not np.allclose(*both, rtol=limit, atol=0, equal_nan=True)}
    assert far == {}, "(found, right): modelled counts beyond a saturated one are compared as if they were equal"
    mine, other = (load_model(folder / "last.ptycho").weights for folder in (run, wanted))
    far_weights = {name: distance(mine[name], value) for name, value in other.items()}
    assert {name: value for name, value in far_weights.items() if not value <= FOLLOWED[bench.precision]} == {}


@kit("train", needs=("test_training_goes_the_way_of_the_reference",))
@pytest.mark.parametrize("way", WAYS)
def test_the_history_is_that_of_the_reference(bench: Bench, way: str) -> None:
    run, wanted = trained(bench, **WAYS[way])["folder"], of_numpy(bench, **WAYS[way])
    limit = COLUMNS[bench.precision]
    pairs = {name: (figures(run, name), figures(wanted, name)) for name in FIGURES}
    far = {name: both for name, both in pairs.items() if not np.allclose(*both, rtol=limit, atol=0, equal_nan=True)}
    assert far == {}, "(found, right) of every epoch; specs/training.md, History, says how each is computed"


@kit("train", needs=("test_train_leaves_whole_checkpoints_and_nothing_else",))
def test_training_goes_on_from_a_checkpoint(bench: Bench) -> None:
    whole = trained(bench)
    folder = bench.folder / "resumed"
    scan, settings = bench.scan(modes=1), bench.settings()
    # As if it had been interrupted: the learning rate depends on the number of epochs that are wanted.
    bench.call("train", scan, folder, bench.settings(**SMALL), stop_after=1)
    bench.call("train", scan, folder, settings, resume=True)
    assert figures(folder) == pytest.approx(figures(whole["folder"]), rel=1e-6)


@kit("train", needs=("test_train_leaves_whole_checkpoints_and_nothing_else",))
def test_train_stops_when_asked_with_a_checkpoint(bench: Bench) -> None:
    folder = bench.folder / "stopped"
    found = bench.call("train", bench.scan(modes=1), folder, bench.settings(**(SMALL | {"epochs": 6})), stop_after=1)
    assert found["result"].interrupted
    assert len(found["result"].history) < 6
    assert load_model(folder / "last.ptycho", training=True).training is not None


@kit("train", "infer", needs=("test_training_lowers_the_loss", "test_a_model_file_gives_what_it_gives_in_the_reference"))
def test_the_reference_reads_what_it_has_trained(bench: Bench) -> None:
    scan, model = bench.scan(modes=1), trained(bench)["result"].model_path
    answer = bench.call("infer", scan, model, bench.light(scan), bench.settings())
    assert distance(patches(answer), of_reference(bench, model, scan)) <= STORED[bench.precision]


@kit("infer", needs=("test_a_model_file_gives_what_it_gives_in_the_reference",))
def test_it_reads_what_the_reference_has_trained(bench: Bench) -> None:
    scan, model = bench.scan(modes=1), of_numpy(bench) / "best.ptycho"
    answer = bench.call("infer", scan, model, bench.light(scan), bench.settings())
    assert distance(patches(answer), of_reference(bench, model, scan)) <= STORED[bench.precision]


@kit("train", needs=("test_train_answers",))
def test_train_runs_in_mixed_precision(bench: Bench, mixed_precision: str) -> None:
    found = trained(bench, precision=mixed_precision)["result"].history
    assert all(math.isfinite(row["loss"]) for row in found)
    assert np.isclose(found[0]["loss"], trained(bench)["result"].history[0]["loss"], rtol=0.1)
    assert found[0]["loss"] != trained(bench)["result"].history[0]["loss"], "the same as in full precision, to the last bit"
