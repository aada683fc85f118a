"""What must not be looked at is spoilt: counts of bad pixels, frames held out; in every stage, for each likelihood."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_fit import Fitted
from small_scans import SmallScan, small_scan

from ptycho_core.conformance.parity import relative_distance as distance
from ptycho_core.settings.reconstruction import ReconstructionSettings

JOBS: dict[str, tuple[dict[str, Any], dict[str, Any], set[str]]] = {
    "from a coarse start, with positions and background": (
        {"size": 64, "side": 4, "photons": 4e5, "level": 3.0, "modes": 2},
        {"epochs": 5, "iterations": 3, "refine_positions": "on", "background": "pixel", "held_out": 0.2, "batch_size": 5},
        {"coarse", "pie", "joint"},
    ),
    "few photons, with a search for the total variation": (
        {"side": 7, "photons": 700, "level": 0.2},
        {"epochs": 2, "iterations": 4, "held_out": 0.1, "background": "constant"},
        {"pie", "joint", "total variation", "all frames"},
    ),
}
Fit = Callable[[SmallScan], Fitted]


@pytest.fixture(scope="module", params=[(job, one) for job in JOBS for one in ("amplitude", "poisson")], ids=", ".join)
def job(request: Any, engine: Any) -> tuple[SmallScan, Fit, Fitted]:
    """A scan, what fits it, and what that gives."""
    given, asked, stages = JOBS[request.param[0]]
    scan, options = small_scan(**given), ReconstructionSettings(**asked, likelihood=request.param[1])
    reconstruct, flat = engine.reconstruct, np.ones_like(scan.object)

    def fit(one: SmallScan) -> Fitted:
        return reconstruct(one, one.positions, one.guess, flat, mask=one.mask, options=options, precision="float64", seed=2)

    clean = fit(scan)
    assert {row["stage"] for row in clean.history} == stages
    return scan, fit, clean


def course(result: Fitted, *names: str) -> np.ndarray:
    """Columns of the history; what was not measured is -1."""
    return np.array([[-1.0 if row[name] is None else row[name] for name in names] for row in result.history])


def test_counts_of_bad_pixels_do_not_matter_whatever_they_are(job: Any) -> None:
    scan, fit, clean = job
    spoilt = scan.counts.copy()
    wrong = np.array([np.nan, 1e12, np.inf, -5.0, 2.0**32 - 1], np.float32)
    spoilt[:, ~scan.mask] = np.resize(wrong, (len(spoilt), np.count_nonzero(~scan.mask)))
    found = fit(replace(scan, counts=spoilt))
    for name in ("object", "probe", "positions", "background"):
        assert np.array_equal(getattr(found, name), getattr(clean, name)), name
    names = ("misfit", "loss", "held_out", "stopping_loss")
    assert np.array_equal(course(found, *names), course(clean, *names))
    assert found.notes == clean.notes


def test_frames_held_out_change_nothing_but_what_they_judge(job: Any) -> None:
    scan, fit, clean = job
    spoilt = scan.counts.copy()
    for frame in clean.held_out:  # what chooses and starts is the mean over all frames, which stays
        spoilt[frame, scan.mask] = spoilt[frame, scan.mask][::-1]
    found = fit(replace(scan, counts=spoilt))
    assert np.array_equal(found.held_out, clean.held_out)
    for name in ("object", "probe", "positions", "background"):
        assert distance(getattr(found, name), getattr(clean, name)) < 1e-9, name
    names = ("misfit", "loss", "stopping_loss")
    assert course(found, *names) == pytest.approx(course(clean, *names), rel=1e-9)
    assert found.notes == clean.notes
    judged = course(clean, "held_out") >= 0
    assert judged.any()
    assert (course(found, "held_out")[judged] > course(clean, "held_out")[judged]).all()
