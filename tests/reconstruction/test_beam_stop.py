"""A stop that hides the whole direct beam: the object is found by what it scatters past it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptycho_core
from ptycho_core.formats.plain_npz import write_plain_npz
from ptycho_core.imaging.metrics import score
from ptycho_core.reconstruction.schedule import choose_plan
from ptycho_core.settings.reconstruction import ReconstructionSettings
from ptycho_core.simulate import simulate_scan

FIT = {"threads": 1, "progress": False, "figures": False}


def stopped(path: Path, radius: float, **settings: Any) -> Path:
    """A simulated scan whose mask hides a disk of ``radius`` pixels about zero frequency."""
    made, size = simulate_scan(**settings), settings["size"]
    along = np.arange(size) - size // 2
    mask = np.hypot(along[:, None], along) > radius
    arrays = {
        "intensity": made.intensity * mask, "positions_px": made.positions, "probe_guess": made.probe_guess,
        "probe_in_counts": np.array(True), "object_true": made.object_true, "mask": mask,
    }  # fmt: skip
    write_plain_npz(path, arrays)
    return path


@pytest.mark.parametrize(
    ("probe", "radius", "most"),
    [("disk", 6.0, 0.02), ("aperture", 32 / 6, 0.02)],
    ids=["a disk at the sample, to the middle of its first ring", "an aperture, to its edge"],
)
def test_the_object_is_found_although_the_beam_is_not_seen(
    probe: str, radius: float, most: float, tmp_path: Path, backend: str
) -> None:
    scan = stopped(tmp_path / "scan.npz", radius, size=32, frames=100, probe=probe, seed=3)
    found = ptycho_core.reconstruct(scan, tmp_path / "out", backend=backend, **FIT)
    assert any("beam stop" in note for note in found.facts["notes"].split("; "))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["doubts"] == []
    assert metrics["misfit_over_noise"] < 1.1
    assert score(found, scan).nrmse < most


def test_what_no_pattern_shows_is_told(tmp_path: Path, backend: str) -> None:
    scan = stopped(tmp_path / "scan.npz", 8.0, size=32, frames=50, seed=1)
    found = ptycho_core.reconstruct(scan, tmp_path / "out", backend=backend, epochs=0, iterations=0, **FIT)
    assert found.facts["verdict"] != "good"
    assert any("no pattern shows them" in reason for reason in found.facts["verdict_reasons"])


def test_a_mask_that_leaves_most_of_the_beam_changes_nothing() -> None:
    options = ReconstructionSettings()
    plain, hidden = choose_plan(options, 100.0, 100, 64), choose_plan(options, 100.0, 100, 64, hidden=0.49)
    assert hidden == plain
    assert choose_plan(options, 100.0, 100, 64, hidden=0.51) != plain
