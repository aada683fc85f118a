"""Whole fits of the engine, number by number, against the same fit written out in NumPy (``tests/second_opinion/numpy_fit.py``).

The fit that has everything at once, a coarse start too, is in ``tests/parity``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from engine_fit import Fitted
from numpy_fit import NumpyFit, State
from small_scans import SmallScan, small_scan

from ptycho_core.conformance.parity import relative_distance as distance
from ptycho_core.settings.reconstruction import ReconstructionSettings

LIMIT = 1e-10
"""Relative, in double precision. Measured 7e-13: rounding that the searches of the total variation have enlarged."""

KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], set[str]]] = {
    "a constant background and frames held out": (
        {"level": 4.0},
        {"epochs": 8, "batch_size": 3, "iterations": 5, "background": "constant", "held_out": 0.2, "refine_probe": False},
        {"joint: all iterations done"},
    ),
    "positions that settle": (
        {"modes": 2},
        {"epochs": 50, "batch_size": 6, "iterations": 4, "refine_positions": "on", "likelihood": "poisson", "object_alpha": 0.2},
        {"joint: all iterations done"},
    ),
    "few photons, the weight of the variation searched": (
        {"photons": 700, "side": 8, "level": 0.2},
        {"epochs": 2, "iterations": 8, "held_out": 0.1, "seed": 1},
        {"likelihood poisson: 1.8 counts a pixel", "total variation weight 2", "all frames: all iterations done"},
    ),
    "few photons, frames to stop by that fit worse by and by": (
        {"photons": 200, "side": 7, "level": 0.2},
        {"epochs": 2, "iterations": 25, "held_out": 0.1, "total_variation": 0.5},
        {"all frames: all iterations done"},
    ),
    "few photons, amplitude, the weight given": (
        {"photons": 1000, "side": 7, "modes": 2, "level": 0.5},
        {"epochs": 2, "iterations": 30, "likelihood": "amplitude", "total_variation": 0.7, "background": "pixel"},
        {"all frames: all iterations done"},
    ),
    "frames held out that are fitted in the end, with their positions": (
        {"side": 7},
        {"epochs": 6, "iterations": 8, "refine_positions": "on", "batch_size": 2},
        {"all frames: all iterations done"},
    ),
    "so few photons that the fit comes from the smooth side": (
        {"photons": 120, "side": 9},
        {"iterations": 8},
        {"few photons: total variation weight", "all frames: "},
    ),
    "too few photons to fit anything to": (
        {"photons": 4, "side": 9},
        {"iterations": 8},
        {"too few photons"},
    ),
    "an object that settles": (
        {},
        {"epochs": 1, "iterations": 90, "tolerance": 2.0, "total_variation": 3.0},
        {"joint: the object changes"},
    ),
    "epochs that diverge": (
        {},
        {"epochs": 6, "batch_size": 1, "object_alpha": 5e-3, "iterations": 0, "background": "constant"},
        {"pie: epoch 3 diverged", "all epochs done"},
    ),
}


@dataclass
class Both:
    """What an engine found, and what NumPy did."""

    scan: SmallScan
    found: Fitted
    wanted: NumpyFit


@pytest.fixture(scope="module", params=KINDS)
def both(request: Any, engine: Any) -> Both:
    given, asked, _ = KINDS[request.param]
    seed = asked.get("seed", 4)
    scan = small_scan(**given)
    options = ReconstructionSettings(**{name: value for name, value in asked.items() if name != "seed"})
    positions = scan.positions + np.random.default_rng(3).uniform(-0.7, 0.7, scan.positions.shape) * options.moves_positions
    flat = np.ones_like(scan.object)
    found = engine.reconstruct(scan, positions, scan.guess, flat, mask=scan.mask, options=options, precision="float64", seed=seed)
    return Both(scan, found, NumpyFit(scan.counts, scan.mask, State(flat, scan.guess, positions), options, seed=seed).run())


def test_the_history_is_that_of_the_formulas(both: Both, request: Any) -> None:
    found, wanted = both.found, both.wanted
    assert [(row["stage"], row["epoch"]) for row in found.history] == [(row["stage"], row["epoch"]) for row in wanted.history]
    for name in ("misfit", "loss", "held_out", "stopping_loss"):
        ours, theirs = ([row[name] for row in one.history] for one in (found, wanted))
        assert [value is None for value in ours] == [value is None for value in theirs]
        assert [value for value in ours if value] == pytest.approx([value for value in theirs if value], rel=LIMIT)
    assert np.array_equal(found.held_out, wanted.judging)
    assert (found.held_out_sums is None) == (not hasattr(wanted, "judged"))
    if found.held_out_sums is not None:
        assert found.held_out_sums[:, 0] / found.held_out_sums[:, 1] == pytest.approx(wanted.judged, rel=LIMIT)
    assert found.stopped_by == wanted.stopped_by
    said = [*found.notes, found.stopped_by]
    for beginning in {*wanted.notes, *KINDS[request.node.callspec.params["both"]][2]}:
        assert [one for one in said if one.startswith(beginning)], said


def test_object_probe_positions_and_background_are_those_of_the_formulas(both: Both) -> None:
    found, wanted = both.found, both.wanted.state
    assert distance(found.object, wanted.object) < LIMIT
    assert distance(found.positions, wanted.positions) < LIMIT
    assert (found.background is None) == (wanted.background is None)
    if wanted.background is not None:
        assert distance(found.background, np.broadcast_to(wanted.background, found.background.shape)) < LIMIT


def test_the_modes_are_those_of_the_formulas_mixed_until_they_are_orthogonal(both: Both) -> None:
    found, wanted = (one.reshape(len(one), -1) for one in (both.found.probe, both.wanted.state.probe))
    mixing = found @ np.linalg.pinv(wanted)
    assert distance(mixing @ wanted, found) < LIMIT
    assert np.abs(mixing @ mixing.conj().T - np.eye(len(found))).max() < LIMIT
    overlaps = found.conj() @ found.T
    assert np.abs(overlaps - np.diag(np.diag(overlaps))).max() < 1e-12 * overlaps[0, 0].real
    assert (np.diff(np.diag(overlaps).real) <= 0).all()
