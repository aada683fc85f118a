"""A dose that varies and a detector that ends, in training and inference: found unasked, and the object nearly that without."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptycho_core
from ptycho_core.backends.registry import find_named
from ptycho_core.errors import CapabilityError, DataError
from ptycho_core.imaging.metrics import score
from ptycho_core.model import load_model, save_model
from ptycho_core.settings.payload import create_inference_payload, create_training_payload
from ptycho_core.simulate import simulate_scan

pytestmark = pytest.mark.usefixtures("only_the_backend_under_test", "undrawn")

QUIET = {"threads": 1, "progress": False, "figures": False}
LEARN = {"network": "canvas", "network_width": 4, "epochs": 2, **QUIET}
SCAN = {"object": "random-lines", "size": 32, "frames": 100, "seed": 2, "defocus_fraction": 1.0}
SAME_DOSE, NO_END = 1.1, 2.0
"""NRMSE over that of a scan with the same dose in every frame, and over that of a detector without an end, at most."""


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A scan, the same with a dose that varies by 20 %, with the brightest 1 % of its pixels at a third, and with both."""
    folder, whole = tmp_path_factory.mktemp("beam"), simulate_scan(**SCAN)
    level = float(int(np.quantile(whole.intensity.max(axis=0), 0.99) / 3))
    kinds = {"even": {}, "varying": {"flux_error": 0.2}, "clipped": {"saturation": level}}
    kinds["both"] = kinds["varying"] | kinds["clipped"]
    return {name: simulate_scan(**SCAN, **more).write(folder / f"{name}.npz") for name, more in kinds.items()}


@pytest.fixture(scope="module")
def level(scans: dict[str, Path]) -> float:
    """Counts at which pixels end."""
    return float(np.load(scans["clipped"])["intensity"].max())


def learns(backend: str) -> bool:
    spec = find_named(backend)[0].spec
    return spec is not None and "train" in spec.capabilities


@pytest.fixture(scope="module")
def trained(scans: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, backend: str) -> Any:
    """``trained(name, **settings)``: the folder of a training with a scan, made once."""
    folder, known = tmp_path_factory.mktemp("trained"), dict[Any, Path]()

    def trained(name: str, **settings: Any) -> Path:
        if not learns(backend):
            pytest.skip(f"{backend} does not train")
        key = (name, *sorted(settings.items()))
        if key not in known:
            known[key] = folder / str(len(known))
            ptycho_core.train(scans[name], known[key], backend=backend, **{**LEARN, **settings})
        return known[key]

    return trained


def error(scan: Path, model: Path | None, backend: str, **settings: Any) -> float:
    return float(score(ptycho_core.infer(scan, model, backend=backend, **QUIET, **settings), scan).nrmse)


def test_a_pass_fits_the_dose_unasked_and_the_object_is_that_of_an_even_dose(scans: Any, tmp_path: Path, backend: str) -> None:
    found = ptycho_core.infer(scans["varying"], None, tmp_path / "out", backend=backend, **QUIET)
    truth, metrics = np.load(scans["varying"])["flux_true"], json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert np.std(found.flux / truth) < 0.03 < np.std(truth)
    assert np.array_equal(ptycho_core.load_reconstruction(tmp_path / "out").flux, found.flux)
    assert [note[:12] for note in metrics["notes"]] == ["refine_flux:", "Flux: fitted"]
    even, left = error(scans["even"], None, backend), error(scans["varying"], None, backend, refine_flux=False)
    assert score(found, scans["varying"]).nrmse < SAME_DOSE * even < left


def test_a_pass_takes_bright_pixels_as_bounds_unasked_and_the_object_is_nearly_that_without_an_end(
    scans: Any, level: float, backend: str
) -> None:
    found = ptycho_core.infer(scans["clipped"], backend=backend, **QUIET)
    even, left = error(scans["even"], None, backend), error(scans["clipped"], None, backend, saturation=0.0)
    assert found.facts["saturation"] == level
    assert score(found, scans["clipped"]).nrmse < NO_END * even < left


def test_a_dose_that_varies_below_an_end_of_the_detector_is_fitted_too(scans: Any, level: float, backend: str) -> None:
    found = ptycho_core.infer(scans["both"], backend=backend, **QUIET)
    assert found.facts["saturation"] == level
    assert np.std(found.flux / np.load(scans["both"])["flux_true"]) < 0.03
    assert score(found, scans["both"]).nrmse < NO_END * error(scans["even"], None, backend)


def test_a_network_is_given_an_even_dose_and_bounds(scans: Any, trained: Any, backend: str) -> None:
    run = trained("even")
    even = error(scans["even"], run, backend)
    assert error(scans["varying"], run, backend) < SAME_DOSE * even < error(scans["varying"], run, backend, refine_flux=False)
    assert error(scans["clipped"], run, backend) < NO_END * even < error(scans["clipped"], run, backend, saturation=0.0)


def test_a_training_learns_with_what_was_found_of_each_scan_and_says_so(scans: Any, trained: Any, level: float) -> None:
    run = trained("both")
    record, truth = load_model(run / "last.ptycho", training=None).settings["scans"][0], np.load(scans["both"])["flux_true"]
    assert record["saturation"] == level
    assert np.std(np.array(record["flux"]) / truth) < 0.03
    assert any(note.startswith("Flux: fitted") for note in json.loads((run / "metrics.json").read_text())["notes"])
    plain = trained("both", refine_flux=False, saturation=0.0)
    assert "flux" not in load_model(plain / "last.ptycho", training=None).settings["scans"][0]
    misfits = [load_model(folder / "last.ptycho", training=None).history[-1]["misfit"] for folder in (run, plain)]
    assert misfits[0] < 0.6 * misfits[1]


def test_a_training_that_continues_has_the_same_dose_and_bounds(
    scans: Any, trained: Any, tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, run = load_model(trained("both", scheduler="constant") / "last.ptycho", training=True), tmp_path / "run"
    ptycho_core.train(scans["both"], run, backend=backend, **{**LEARN, "epochs": 1, "scheduler": "constant"})
    monkeypatch.setattr("ptycho_core.jobs.prepared.fitted_flux", lambda *_: pytest.fail("it is known"))
    ptycho_core.train(scans["both"], run, resume=True, backend=backend, epochs=2, **QUIET)
    again = load_model(run / "last.ptycho", training=True)
    assert again.settings["scans"] == whole.settings["scans"]
    assert [name for name in whole.weights if not np.array_equal(whole.weights[name], again.weights[name])] == []
    assert [row["misfit"] for row in whole.history] == [row["misfit"] for row in again.history]


@pytest.mark.parametrize(
    ("name", "value"), [("saturation", -1.0), ("saturation", "much"), ("flux", [1.0]), ("flux", [0.0] * 100), ("flux", 3)]
)
def test_a_checkpoint_that_says_what_cannot_be_is_refused(
    name: str, value: Any, scans: Any, trained: Any, tmp_path: Path, backend: str
) -> None:
    model = load_model(trained("both") / "last.ptycho", training=True)
    settings = {**model.settings, "scans": [{**model.settings["scans"][0], name: value}]}
    save_model(tmp_path / "last.ptycho", replace(model, settings=settings))
    with pytest.raises(DataError, match=f"'{name}'"):
        ptycho_core.train(scans["both"], tmp_path, resume=True, backend=backend, epochs=3, **QUIET)


@pytest.mark.usefixtures("truth")
@pytest.mark.parametrize(
    ("asked", "word"),
    [({"refine_flux": True}, "'flux'"), ({"saturation": 100.0}, "'saturation'"), ({"regime": "near"}, "'near-")],
)
def test_what_a_backend_does_not_claim_is_refused_by_name(asked: dict[str, Any], word: str, scans: Any, tmp_path: Path) -> None:
    with pytest.raises(CapabilityError, match=f"'truth' does not provide {word}"):
        create_inference_payload(None, scans["even"], None, {"backend": "truth", **asked})
    with pytest.raises(CapabilityError, match=f"'truth' does not provide {word}"):
        create_training_payload([scans["even"]], tmp_path, {"backend": "truth", **asked})
