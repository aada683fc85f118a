"""The same jobs with the same seed through each backend, from the files to the result."""

from pathlib import Path

import pytest

from ptycho_core.conformance.parity import relative_distance as distance

SECONDS = 600
JOBS = Path(__file__).with_name("jobs.py")
BACKENDS = ("torch", "tensorflow")

STEPS = 1e-11
"""Relative; loss curves of twenty steps in double precision. Measured 4e-16."""

INFERRED = {"float64": 1e-8, "float32": 1e-5}
"""Relative L2 of stitched objects. Patches cross in single precision, whose last digit is 6e-8 and may round either way."""

FITTED = 1e-10
"""Relative L2 of object, probe and positions after a fit in double precision. Measured 1e-14."""


TRAININGS = {
    "one frame at a time": {"gridsize": 1},
    "four, all learns": {"gridsize": 2, "modes": 2, "train_probe": True, "train_scale": True, "gradient_clip_val": 5.0},
    "supervised, sgd": {"model_type": "supervised", "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.5},
    "adamw, gathered": {"optimizer": "adamw", "weight_decay": 0.1, "accumulate_grad_batches": 2, "batch_size": 5, "epochs": 7},
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if number == 1 else pytest.mark.long) for number, name in enumerate(TRAININGS)]
)
def test_twenty_steps_of_training_go_the_same_way(name, scan_file, worker, measured, tmp_path, accelerator):
    settings = {
        "network_width": 4, "update_steps": 3, "batch_size": 15, "epochs": 10, "precision": "float64", "threads": 1, "seed": 3,
        "accelerator": accelerator, **TRAININGS[name],
    }  # fmt: skip
    scan = scan_file(int(settings.get("modes", 1)))
    found = {
        one: worker(one).call(f"{JOBS}:train", scan, tmp_path / one, settings | {"backend": one}, timeout=SECONDS)
        for one in BACKENDS
    }
    first, second = (found[one] for one in BACKENDS)
    assert first["steps"] == second["steps"] >= 20
    assert first["losses"][-1] < first["losses"][0]
    differences = {
        f"epoch {number}": abs(one / other - 1)
        for number, (one, other) in enumerate(zip(first["losses"], second["losses"], strict=True), 1)
    }
    measured("losses of 20 steps", "float64", STEPS, differences, name)
    measured("probe after 20 steps", "float64", STEPS, {"probe": distance(first["probe"], second["probe"])}, name)


@pytest.mark.parametrize("precision", INFERRED)
@pytest.mark.parametrize("gridsize", [1, pytest.param(2, marks=pytest.mark.long), pytest.param(3, marks=pytest.mark.long)])
def test_a_model_infers_the_same_object_in_each(gridsize, precision, training_job, scan_file, worker, measured, accelerator):
    model = training_job(gridsize=gridsize, modes=2).model_path
    found = {}
    for one in (*BACKENDS, "reference"):
        own = {"precision": "float64"} if one == "reference" else {"precision": precision, "accelerator": accelerator}
        settings = own | {"backend": one, "inference_batch_size": 7}
        found[one] = worker(one).call(f"{JOBS}:infer", scan_file(2), model, settings, timeout=SECONDS)["object"]
    differences = {f"{one}-reference": distance(found[one], found["reference"]) for one in BACKENDS}
    differences["torch-tensorflow"] = distance(found["torch"], found["tensorflow"])
    measured("stitched object", precision, INFERRED[precision], differences, f"gridsize {gridsize}")


FITS = {
    "ten epochs": {"epochs": 10, "iterations": 0, "coarse_start": False},
    "ten epochs and ten iterations, positions": {"epochs": 10, "iterations": 10, "refine_positions": True},
    "background": {"epochs": 5, "iterations": 5, "background": "pixel", "modes": 2},
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name == "ten epochs" else pytest.mark.long) for name in FITS])
def test_ten_epochs_of_a_fit_go_the_same_way(name, scan_file, worker, measured, accelerator):
    settings = {"precision": "float64", "threads": 1, "seed": 3, "accelerator": accelerator, **FITS[name]}
    scan = scan_file(int(settings.get("modes", 1)))
    found = {one: worker(one).call(f"{JOBS}:reconstruct", scan, settings | {"backend": one}, timeout=SECONDS) for one in BACKENDS}
    first, second = (found[one] for one in BACKENDS)
    assert first["misfits"][-1] < first["misfits"][0]
    differences = {key: distance(first[key], second[key]) for key in ("object", "probe", "positions", "misfits")}
    measured("fit", "float64", FITTED, differences, name)


KINDS = {"adamw": {"optimizer": "adamw", "weight_decay": 0.1}, "sgd": {"optimizer": "sgd", "momentum": 0.5}}


@pytest.mark.parametrize("kind", ["adamw", pytest.param("sgd", marks=pytest.mark.long)])
@pytest.mark.parametrize(("first", "second"), [BACKENDS, BACKENDS[::-1]], ids=["torch first", "tensorflow first"])
def test_what_one_has_begun_the_other_goes_on_with(first, second, kind, scan_file, worker, measured, tmp_path):
    settings = {
        "network_width": 4, "update_steps": 3, "batch_size": 15, "precision": "float64", "threads": 1, "seed": 3, "modes": 2,
        "gridsize": 2, "train_probe": True, "train_scale": True, "learning_rate": 3e-3, "scheduler": "constant", **KINDS[kind],
    }  # fmt: skip
    scan = scan_file(2)
    whole = worker(first).call(
        f"{JOBS}:train", scan, tmp_path / "whole", settings | {"backend": first, "epochs": 6}, timeout=SECONDS
    )
    worker(first).call(f"{JOBS}:train", scan, tmp_path / "parts", settings | {"backend": first, "epochs": 3}, timeout=SECONDS)
    parts = worker(second).call(f"{JOBS}:go_on", scan, tmp_path / "parts", {"backend": second, "epochs": 6}, timeout=SECONDS)
    assert parts["losses"][:3] == whole["losses"][:3]
    assert parts["backend"].startswith(f"{second} (")
    both = zip(parts["losses"], whole["losses"], strict=True)
    differences = {f"epoch {number}": abs(one / other - 1) for number, (one, other) in enumerate(both, 1)}
    measured("losses after going on", "float64", STEPS, differences, f"{first}, then {second}, {kind}")
