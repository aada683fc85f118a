"""Reconstruction and inference in the near field, on scans whose light comes in from outside the detector, too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ptycho_core.cli.main import main
from ptycho_core.physics.forward import intensities
from ptycho_core.physics.near_field import Propagation
from ptycho_core.reconstruction.information import position_errors
from ptycho_core.reconstruction.schedule import choose_held_out, choose_plan, shared_frames
from ptycho_core.settings.reconstruction import ReconstructionSettings

WORDS = "--regime near --size 32 --frames 100 --step 6 --photons 4e6 --object random-lines --detector-distance-m 0.05"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("near") / "scan.npz"
    assert main(["simulate", str(path), *WORDS.split()]) == 0
    return path


def nrmse(folder: Path, truth: Path, capsys: pytest.CaptureFixture[str]) -> float:
    capsys.readouterr()
    assert main(["score", str(folder / "reconstruction.h5"), "--reference", str(truth), "--json"]) == 0
    return float(json.loads(capsys.readouterr().out)["nrmse"])


@pytest.mark.usefixtures("undrawn")
def test_a_projection_scan_is_reconstructed(simulated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconstruct", str(simulated), "--output-dir", str(tmp_path), "--threads", "1"]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["misfit_over_noise"] < 1.1
    assert nrmse(tmp_path, simulated, capsys) < 0.06  # measured: see the decision


@pytest.mark.usefixtures("undrawn")
def test_one_pass_gives_an_object(simulated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["infer", str(simulated), "--output-dir", str(tmp_path), "--threads", "1"]) == 0
    assert nrmse(tmp_path, simulated, capsys) < 0.3


def test_only_frames_that_others_cover_are_held_out() -> None:
    positions = np.stack(np.divmod(np.arange(100), 10), axis=1) * 6.0
    shared = shared_frames(positions, 32)
    assert shared is not None
    assert sorted(set(range(100)) - set(shared.tolist())) == [0, 9, 90, 99]  # the corners
    held = choose_held_out(100, 0.05, True, 0, shared)
    assert len(held.judging) == 5
    assert set(held.judging) | set(held.stopping) <= set(shared.tolist())
    assert len(held.used) + len(held.stopping) + 5 == 100
    assert shared_frames(positions[::33] * 9, 32) is None


def test_there_is_no_coarse_start_in_the_near_field() -> None:
    options = ReconstructionSettings(coarse_start=True)
    assert choose_plan(options, 100.0, 100, 64).coarse_epochs == 5
    plan = choose_plan(options, 100.0, 100, 64, Propagation("fresnel", 10.0, 1e-3))
    assert plan.coarse_epochs == 0
    assert any("near field" in note for note in plan.notes)


@pytest.mark.parametrize("way", [None, Propagation("fresnel", 8.0, 1e-3)])
def test_the_error_of_a_position_is_the_bound_of_its_likelihood(way: Propagation | None) -> None:
    """Curvature of the expected misfit by the position, against differences of modelled counts."""
    random, place = np.random.default_rng(3), np.array([[2.3, 3.6]])
    rows, columns = np.mgrid[:16, :16] - 8.0
    probe = (30 * np.exp(-(rows**2 + columns**2) / 30) * np.exp(0.1j * rows * columns))[None]
    thing = np.exp(0.3j * random.normal(size=(24, 24)))
    mean = intensities(thing, probe, place, way=way)[0]
    steps = [1e-4 * np.eye(2)[axis] for axis in (0, 1)]
    moved = [intensities(thing, probe, np.concatenate([place + step, place - step]), way=way) for step in steps]
    slopes = [(above - below) / 2e-4 for above, below in moved]
    information = np.array([[(one * other / mean).sum() for one in slopes] for other in slopes])
    expected = 1 / np.sqrt(np.linalg.eigvalsh(information).min())
    assert position_errors(thing, probe, place, way=way)[0] == pytest.approx(expected, rel=1e-3)
