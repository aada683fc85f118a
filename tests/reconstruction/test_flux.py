"""The dose of each frame: fitted where the counts vary, taken from a monitor where one is given, and left alone otherwise."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.errors import DataError
from ptycho_core.imaging.metrics import score
from ptycho_core.jobs.answered import answered as answered_by_the_fit
from ptycho_core.physics.forward import intensities
from ptycho_core.reconstruction.amplitude_ramp import without_ramp
from ptycho_core.scan.doubt import Doubt
from ptycho_core.simulate import simulate_scan

FIT = {"epochs": 5, "iterations": 30, "threads": 1, "progress": False, "figures": False}
SAME = 1.1
"""NRMSE over that of a scan with the same dose in every frame."""


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """``scans(fluctuation)``: the file of a small scan."""
    folder = tmp_path_factory.mktemp("flux")

    def made(fluctuation: float) -> Path:
        path = folder / f"{fluctuation:g}.npz"
        if not path.exists():
            simulate_scan(size=32, frames=100, seed=2, flux_error=fluctuation).write(path)
        return path

    return made


@pytest.fixture(scope="module")
def fitted(scans: Any, backend: str) -> Any:
    """``fitted(fluctuation)``: the fit with defaults."""
    known: dict[float, Any] = {}
    return lambda dose: known.get(dose) or known.setdefault(dose, ptycho_core.reconstruct(scans(dose), backend=backend, **FIT))


def test_a_dose_that_varies_is_fitted_unasked_and_the_object_is_that_of_an_even_dose(scans: Any, fitted: Any) -> None:
    even, found = fitted(0.0), fitted(0.2)
    assert even.flux is None
    truth = np.load(scans(0.2))["flux_true"]
    assert found.flux.mean() == pytest.approx(1)
    assert np.std(found.flux / truth) < 0.03 < np.std(truth)
    assert any(note.startswith("refine_flux") for note in found.facts["notes"].split("; ")) or found.facts["verdict"] == "good"
    errors = [score(one, scans(dose)).nrmse for one, dose in ((even, 0.0), (found, 0.2))]
    assert errors[1] < SAME * errors[0]


def test_values_of_a_monitor_are_taken_as_they_are_and_answer_the_doubt(scans: Any, tmp_path: Path, backend: str) -> None:
    truth = np.load(scans(0.2))["flux_true"]
    np.save(tmp_path / "monitor.npy", 1e5 * truth)
    settings = {**FIT, "iterations": 5, "refine_flux": False, "flux": str(tmp_path / "monitor.npy")}
    found = ptycho_core.reconstruct(scans(0.2), tmp_path / "out", backend=backend, **settings)
    assert found.flux == pytest.approx(truth, rel=1e-6)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["doubts"] == []
    rows = list(csv.DictReader((tmp_path / "out" / "frames.csv").read_text().splitlines()))
    assert [float(row["flux"]) for row in rows] == pytest.approx(truth.tolist())
    main(["score", str(tmp_path / "out"), "--reference", str(scans(0.2)), "--scan", str(scans(0.2)), "--json"])
    loaded = ptycho_core.load_reconstruction(tmp_path / "out")
    assert np.array_equal(loaded.flux, found.flux)


def test_a_stop_leaves_a_flux_of_mean_one(scans: Any, backend: str) -> None:
    found = ptycho_core.reconstruct(scans(0.2), backend=backend, **{**FIT, "iterations": 0, "epochs": 1, "refine_flux": True})
    assert found.flux.mean() == pytest.approx(1)
    assert np.isfinite(found.object).all()


@pytest.mark.parametrize(
    ("values", "told"),
    [(np.ones(99), r"\(99,\)"), (np.zeros(100), "above zero"), (np.full(100, np.nan), "above zero"), (np.ones((100, 2)), "flux")],
)
def test_a_flux_that_cannot_be_is_refused_with_file_and_frame(values: Any, told: str, scans: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "flux.npy", values)
    with pytest.raises(DataError, match=told) as caught:
        ptycho_core.open_scan(scans(0.0), {"flux": str(tmp_path / "flux.npy")})
    assert "flux" in str(caught.value)


def test_frames_that_are_chosen_keep_their_flux(scans: Any, tmp_path: Path) -> None:
    values = np.linspace(1, 2, 100)
    (tmp_path / "flux.csv").write_text("frame,flux\n" + "\n".join(f"{number},{one}" for number, one in enumerate(values)))
    scan = ptycho_core.open_scan(scans(0.0), {"flux": str(tmp_path / "flux.csv"), "frames": "10:20"})
    assert scan.flux == pytest.approx(values[10:20] / values[10:20].mean())


def test_a_ramp_that_no_pattern_shows_is_that_of_the_start() -> None:
    made = simulate_scan(size=32, frames=80, seed=4, flux_error=0.2, noise=False)
    image, probe, places = (np.asarray(one) for one in (made.object_true, made.probe_true, made.positions_true))
    ramp, middle = np.array([2e-3, -1e-3]), places.mean(axis=0)
    rows, columns = (np.arange(length) - 16.0 for length in image.shape)
    window = np.arange(32) - 16.0
    tilted = image * np.exp(ramp[0] * (rows[:, None] - middle[0]) + ramp[1] * (columns - middle[1]))
    leaning = probe * np.exp(-ramp[0] * window[:, None] - ramp[1] * window)
    level = made.flux_true * np.exp(-2 * (places - middle) @ ramp)
    found = without_ramp(tilted, leaning, level, places, made.probe_guess)
    assert np.linalg.norm(found.object / np.linalg.norm(found.object) - image / np.linalg.norm(image)) < 4e-3
    patterns = [intensities(*one, flux=flux) for one, flux in (
        ((tilted, leaning, places), level), ((found.object, found.probe, places), found.flux)
    )]  # fmt: skip
    assert np.linalg.norm(np.sqrt(patterns[0]) - np.sqrt(patterns[1])) < 2e-3 * np.linalg.norm(np.sqrt(patterns[0]))


def test_an_even_dose_has_no_ramp() -> None:
    made = simulate_scan(size=32, frames=80, seed=4, noise=False)
    odd = made.probe_guess * np.exp(-5e-3 * np.arange(32))  # a start that would ask for one
    found = without_ramp(made.object_true, made.probe_true, np.ones(80), made.positions_true, odd)
    assert found.object == pytest.approx(made.object_true)


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ({"refine_flux": None}, {"dose"}),
        ({"refine_flux": False}, {"flux", "dose"}),
        ({"refine_flux": False, "refine_positions": "on"}, {"flux", "dose"}),
        ({"refine_flux": False, "refine_positions": "search"}, {"dose"}),
        ({"refine_flux": False, "refine_positions": "affine"}, {"dose"}),
    ],
)
def test_what_the_fit_models_is_in_doubt_no_more_and_a_frame_without_a_beam_is(asked: dict[str, Any], left: set[str]) -> None:
    doubts = [Doubt("flux", "doubtful", "The counts vary."), Doubt("dose", "doubtful", "Frame 3 has a tenth of the counts.")]
    given = {"refine_positions": "off", "saturation": None, **asked}
    assert {one.kind for one in answered_by_the_fit(given, doubts, {"flux"}).doubts} == left
