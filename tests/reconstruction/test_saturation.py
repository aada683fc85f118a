"""Saturated pixels are lower bounds: the object is nearly that of a detector without an end."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptycho_core
from ptycho_core.formats.plain_npz import write_plain_npz
from ptycho_core.imaging.metrics import data_misfit, score
from ptycho_core.simulate import simulate_scan

FIT = {"threads": 1, "progress": False, "figures": False}
BEST = 2.0
"""NRMSE over that of a detector without an end, at most."""

FIND = {"size": 32, "frames": 100, "seed": 2}


@pytest.fixture(scope="module")
def clipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    """A scan, the same with the brightest 1 % of its pixels at a third, and where these end."""
    folder, whole = tmp_path_factory.mktemp("saturation"), simulate_scan(**FIND)
    level = float(int(np.quantile(whole.intensity.max(axis=0), 0.99) / 3))
    return whole.write(folder / "whole.npz"), simulate_scan(**FIND, saturation=level).write(folder / "clipped.npz"), level


def test_the_end_of_the_detector_is_found_and_costs_little(clipped: Any, tmp_path: Path, backend: str) -> None:
    whole, scan, level = clipped
    best = score(ptycho_core.reconstruct(whole, backend=backend, **FIT), whole).nrmse
    found = ptycho_core.reconstruct(scan, tmp_path / "out", backend=backend, **FIT)
    assert found.facts["saturation"] == level
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["verdict"] == "good"
    assert any("lower bounds (--saturation)" in one for one in metrics["doubts"])
    assert score(found, scan).nrmse < BEST * best
    opened = ptycho_core.open_scan(scan)
    model = opened, found.object, found.probe, found.positions
    assert data_misfit(*model, saturation=level) == pytest.approx(metrics["misfit"], rel=0.05)
    assert data_misfit(*model, saturation=level) < 0.7 * data_misfit(*model)


def test_pixels_that_are_marked_bad_are_no_bound(clipped: Any, tmp_path: Path, backend: str) -> None:
    with np.load(clipped[0]) as file:
        arrays = {name: file[name] for name in ("intensity", "positions_px", "probe_guess", "probe_in_counts")}
    arrays["intensity"] = arrays["intensity"].astype(np.uint16)
    arrays["intensity"][:, 3:5] = 65535
    write_plain_npz(tmp_path / "gap.npz", arrays)
    found = ptycho_core.reconstruct(tmp_path / "gap.npz", backend=backend, epochs=0, iterations=0, **FIT)
    assert not found.facts["saturation"]
    assert found.facts["verdict"] != "good"
