"""The same jobs with the same seed through each backend, from the files to the result."""

from pathlib import Path

import numpy as np
import pytest
from numpy_fit import NumpyFit, State
from small_scans import small_scan

from ptycho_core.conformance.limits import FITTED, INFERRED, STEPS
from ptycho_core.conformance.parity import relative_distance as distance
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.plain_npz import write_plain_npz
from ptycho_core.reconstruction.start import prepare_start
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.reconstruction import ReconstructionSettings

SECONDS = 600
JOBS = Path(__file__).with_name("jobs.py")
BACKENDS = ("torch", "tensorflow")

FITTED_ALL = 5e-10
"""As `FITTED`, where everything is fitted at once: a rounding of the start, 1e-15, has then grown to 4e-11 in NumPy alone."""


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


FACTS = {
    "one frame, the model's probe": {
        "gridsize": 1, "update_steps": 2, "network": "deep", "network_depth": 1, "train_probe": True, "train_scale": True,
        "output_form": "amplitude-phase", "amplitude_activation": "sigmoid", "merge": "none",
    },
    "four frames, the scan's own probe, shaped": {
        "gridsize": 2, "neighbor_count": 7, "merge": "group", "update_steps": 3, "probe_scale": 1.3, "network_width": 8,
        "probe_mask_diameter": 22.0, "probe_mask_edge": 5.0, "probe_smoothing": 0.7, "model_type": "supervised",
    },
    "a tile of frames": {"gridsize": 1, "estimate": "tile", "update_steps": 4},
    "nine frames": {"gridsize": 3, "output_form": "amplitude-phase", "amplitude_activation": "none", "merge": "none"},
}  # fmt: skip
"""Between the first three every fact of a model is away from what it is when nothing is said."""


@pytest.mark.parametrize("precision", INFERRED)
@pytest.mark.parametrize("name", [*list(FACTS)[:3], pytest.param("nine frames", marks=pytest.mark.long)])
def test_a_model_infers_the_same_object_in_each(name, precision, training_job, scan_file, worker, measured, accelerator):
    model = training_job(modes=2, masked=True, **FACTS[name]).model_path
    found = {}
    for one in (*BACKENDS, "reference"):
        own = {"precision": "float64"} if one == "reference" else {"precision": precision, "accelerator": accelerator}
        settings = own | {"backend": one, "inference_batch_size": 7}
        found[one] = worker(one).call(f"{JOBS}:infer", scan_file(2, masked=True), model, settings, timeout=SECONDS)["object"]
    differences = {f"{one}-reference": distance(found[one], found["reference"]) for one in BACKENDS}
    differences["torch-tensorflow"] = distance(found["torch"], found["tensorflow"])
    measured("stitched object", precision, INFERRED[precision], differences, name)


def test_the_models_of_the_inferences_have_every_fact_away_from_its_default():
    defaults = {name: one.default for name, one in declarations("infer").items() if one.group == "model"}
    some = [{"modes": 2, **facts} for facts in list(FACTS.values())[:3]]
    assert [name for name in defaults if all(one.get(name, defaults[name]) == defaults[name] for one in some)] == []


FITS = {
    "ten epochs": {"epochs": 10, "iterations": 0, "coarse_start": False},
    "ten epochs and ten iterations, positions": {"epochs": 10, "iterations": 10, "refine_positions": "on"},
    "background": {"epochs": 5, "iterations": 5, "background": "pixel", "modes": 2},
}


@pytest.mark.long
@pytest.mark.parametrize("name", FITS)
def test_a_fit_goes_the_same_way(name, scan_file, worker, measured, accelerator):
    settings = {"precision": "float64", "threads": 1, "seed": 3, "accelerator": accelerator, **FITS[name]}
    found = fitted(scan_file(int(settings.get("modes", 1))), settings, worker)
    assert misfits(found["torch"])[-1] < misfits(found["torch"])[0]
    measured("fit", "float64", FITTED, differing(found["torch"], found["tensorflow"]), name)


EVERYTHING = {
    "modes": 2, "background": "pixel", "refine_positions": "on", "total_variation": 1.0, "coarse_start": True, "held_out": 0.1,
    "epochs": 5, "batch_size": 3, "iterations": 3, "object_alpha": 0.1, "likelihood": "amplitude",
}  # fmt: skip
"""55 batches in each of the two stages of rPIE, so that the momentum kicks twice on the way; the scan has a mask."""


def test_a_fit_that_has_everything_at_once_is_that_of_numpy_in_each(worker, measured, tmp_path, accelerator):
    scan = small_scan(size=64, modes=2, photons=4e5, level=3.0)
    moved = scan.positions + np.random.default_rng(3).uniform(-0.5, 0.5, scan.positions.shape)
    path, settings = tmp_path / "scan.npz", EVERYTHING | {"precision": "float64", "threads": 1, "seed": 3}
    write_plain_npz(
        path,
        {
            "intensity": scan.counts, "positions_px": moved, "probe_guess": scan.guess, "probe_in_counts": np.array(True),
            "mask": scan.mask,
        },
    )  # fmt: skip
    found = fitted(path, settings | {"accelerator": accelerator}, worker)
    start = prepare_start(open_scan(path), ReconstructionSettings(modes=2, refine_positions="on"), seed=3)
    fit = NumpyFit(
        scan.counts, scan.mask, State(start.object.astype(complex), start.probe.astype(complex), start.positions),
        ReconstructionSettings(**EVERYTHING), seed=3,
    ).run()  # fmt: skip
    assert [len(fit.history), fit.history[0]["stage"], fit.history[-1]["stage"]] == [13, "coarse", "joint"]
    # What is handed out has the counts of the start in the probe.
    factor = np.linalg.norm(start.probe) / np.linalg.norm(fit.state.probe)
    wanted = {
        "object": fit.state.object / factor, "probe": fit.state.probe * factor, "positions": fit.state.positions,
        "background": fit.state.background, "history": fit.history, "held_out": fit.judging,
    }  # fmt: skip
    for one in BACKENDS:
        measured("fit of everything", "float64", FITTED_ALL, differing(found[one], wanted), f"{one}-NumPy")
    measured("fit of everything", "float64", FITTED_ALL, differing(found["torch"], found["tensorflow"]), "torch-tensorflow")
    assert misfits(wanted)[-1] < 0.75 * misfits(wanted)[0]


def fitted(path, settings, worker):
    return {one: worker(one).call(f"{JOBS}:reconstruct", path, settings | {"backend": one}, timeout=SECONDS) for one in BACKENDS}


def misfits(found):
    return [row["misfit"] for row in found["history"]]


def differing(first, second):
    """Relative differences of two fits, those of the probes whatever unitary mixture their modes are."""
    assert np.array_equal(first["held_out"], second["held_out"])
    found = {
        name: distance(first[name], second[name]) for name in ("object", "positions", "background") if first[name] is not None
    }
    probes = [one["probe"].reshape(len(one["probe"]), -1) for one in (first, second)]
    mixing = probes[0] @ np.linalg.pinv(probes[1])
    found |= {"probe": distance(mixing @ probes[1], probes[0]), "mixing": distance(mixing @ mixing.conj().T, np.eye(len(mixing)))}
    for name in ("misfit", "loss", "held_out"):
        both = [[row[name] for row in one["history"] if row[name] is not None] for one in (first, second)]
        assert len(both[0]) == len(both[1])
        found[name] = distance(np.array(both[0]), np.array(both[1])) if both[0] else 0.0
    return found


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
