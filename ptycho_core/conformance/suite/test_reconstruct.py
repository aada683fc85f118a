"""Reconstruction: what it answers, that it improves a known scan, and that every setting that it accepts acts."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ptycho_core.conformance.suite.inputs import FRAMES, N, known_object, known_scan
from ptycho_core.conformance.suite.marks import kit
from ptycho_core.contract import ReconstructResult
from ptycho_core.errors import CapabilityError, DataError
from ptycho_core.imaging.metrics import data_misfit, position_error
from ptycho_core.scan.canvas import object_canvas
from ptycho_core.scan.opening import open_scan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ptycho_core.conformance.suite.bench import Bench
    from ptycho_core.contract import Value

QUICK: dict[str, Value] = {"epochs": 2, "iterations": 2, "batch_size": 12}
FULL: dict[str, Value] = {"epochs": 5, "iterations": 15, "batch_size": 9}
OTHER: dict[str, Value] = {
    "modes": 2,
    "epochs": 1,
    "iterations": 1,
    "batch_size": 5,
    "object_alpha": 0.6,
    "likelihood": "poisson",
    "total_variation": 2.0,
    "refine_probe": False,
    "held_out": 0.2,
    "seed": 5,
}
"""Settings of ``reconstruct`` whose effect can be seen in any result, and a value that is not the one of `QUICK`."""


def run(bench: Bench, settings: Mapping[str, Value], *, scan: Path | None = None, exact: bool = False) -> dict[str, Any]:
    """A reconstruction, done once; with settings as the backend takes them, unless it is to refuse them."""
    asked = bench.settings(**(settings if exact else bench.as_taken(settings)))
    taken = scan or bench.scan(modes=1)
    key = ("reconstructed", taken, *sorted(asked.items()))
    found: dict[str, Any] = bench.once(key, lambda: bench.call("reconstruct", taken, asked))
    return found


def misfit(scan: Path, result: ReconstructResult) -> float:
    """How far the patterns of a result are from the measured ones, computed by the core."""
    return float(data_misfit(open_scan(scan), result.object, result.probe, result.positions, background=result.background))


def likeness(result: ReconstructResult) -> float:
    """Correlation of the middle of an object with the truth, whatever its phase; 1 is equal."""
    rows, columns = result.object.shape
    truth = known_object((rows, columns))
    row, column = (round(float(one)) for one in (result.positions - _positions()).mean(axis=0))
    edge = N // 2
    mine = result.object[row + edge : rows - edge, column + edge : columns - edge]
    other = truth[edge : edge + mine.shape[0], edge : edge + mine.shape[1]]
    return float(abs(np.vdot(mine, other)) / (np.linalg.norm(mine) * np.linalg.norm(other)))


def _positions() -> NDArray[np.float64]:
    """Where the windows of the known scan lie in its object."""
    with TemporaryDirectory() as folder, np.load(known_scan(Path(folder) / "scan.npz"), allow_pickle=False) as file:
        found: NDArray[np.float64] = file["positions_px"]
        return found


@kit("reconstruct", needs=("test_the_plan_answers_exactly_what_was_asked_for",))
def test_reconstruct_answers(bench: Bench) -> None:
    assert run(bench, FULL)["kinds"]


@kit("reconstruct", needs=("test_reconstruct_answers",))
def test_reconstruct_gives_numpy_arrays_of_the_contract(bench: Bench) -> None:
    found = run(bench, FULL)
    assert set(found["kinds"].values()) == {"numpy.ndarray"}, found["kinds"]
    result, start = found["result"], found["start"]
    assert isinstance(result, ReconstructResult)
    shapes = (result.object.shape, result.probe.shape, result.positions.shape)
    assert shapes == (start["object"].shape, start["probe"].shape, (FRAMES, 2))
    assert np.iscomplexobj(result.object)
    assert np.iscomplexobj(result.probe)
    assert result.positions.dtype == np.float64
    assert all(np.isfinite(one).all() for one in (result.object, result.probe, result.positions))
    assert result.background is None
    assert result.stopped_by
    assert not result.interrupted


@kit("reconstruct", needs=("test_reconstruct_answers",))
def test_reconstruct_keeps_a_history_and_tells_of_every_epoch(bench: Bench) -> None:
    found = run(bench, FULL)
    history = found["result"].history
    assert history
    assert all({"stage", "epoch", "loss", "misfit", "held_out", "seconds"} <= row.keys() for row in history)
    assert all(math.isfinite(row["misfit"]) for row in history)
    told = [event for event in found["events"] if event.kind == "epoch"]
    assert [(event.stage, event.epoch) for event in told] == [(row["stage"], row["epoch"]) for row in history]


@kit("reconstruct", needs=("test_reconstruct_gives_numpy_arrays_of_the_contract",))
def test_it_improves_a_known_scan(bench: Bench) -> None:
    found, scan = run(bench, FULL), bench.scan(modes=1)
    result, start = found["result"], found["start"]
    began = replace(result, object=start["object"], probe=start["probe"], positions=start["positions"])
    assert misfit(scan, result) < 0.3 * misfit(scan, began)
    assert likeness(result) > 0.97 > likeness(began)


@kit("reconstruct", needs=("test_reconstruct_gives_numpy_arrays_of_the_contract",))
@pytest.mark.parametrize("setting", OTHER)
def test_a_setting_acts_or_is_refused(bench: Bench, setting: str) -> None:
    refusal, other = "", None
    try:
        other = run(bench, QUICK | {setting: OTHER[setting]}, exact=setting == "iterations")["result"]
    except CapabilityError as error:
        refusal = str(error)
    if other is None:
        assert setting in refusal, "refused for something else"
        return
    one = run(bench, QUICK)["result"]
    if setting == "modes":
        assert (len(one.probe), len(other.probe)) == (1, 2)
    if setting == "held_out":
        assert len(other.held_out) == round(0.2 * FRAMES)
        assert all(row["held_out"] is not None for row in other.history)
    if setting == "refine_probe":
        start = run(bench, QUICK)["start"]["probe"]
        assert np.allclose(other.probe, start, rtol=1e-5, atol=1e-5 * np.abs(start).max())
    same = one.object.shape == other.object.shape and np.array_equal(one.object, other.object)
    assert not same, f"{setting} = {OTHER[setting]} is accepted and changes nothing"


@kit("reconstruct", "positions", needs=("test_it_improves_a_known_scan",))
def test_positions_are_refined(bench: Bench) -> None:
    scan = bench.scan(modes=1)
    start, truth = bench.folder / "moved-start.npz", run(bench, QUICK)["start"]
    random = np.random.default_rng(1)
    origin, shape = object_canvas(truth["positions"], N, 8)
    right = truth["positions"] - origin
    moved = right + random.uniform(-1, 1, right.shape)
    np.savez(start, object=np.ones(shape, np.complex64), probe=truth["probe"], positions=moved)
    settings = bench.settings(**bench.as_taken({"refine_positions": True, "epochs": 25, "iterations": 15, "batch_size": 9}))
    result = bench.call("reconstruct", scan, settings, start=start)["result"]
    assert position_error(result.positions, right) < 0.5 * position_error(moved, right)


@kit("reconstruct", "background", needs=("test_it_improves_a_known_scan",))
def test_a_background_is_fitted(bench: Bench) -> None:
    scan = bench.scan(modes=1, background=10.0)
    found = run(bench, FULL | {"background": "constant"}, scan=scan)
    assert found["kinds"]["background"] == "numpy.ndarray"
    background = found["result"].background
    assert background.shape == (N, N)
    assert background.mean() == pytest.approx(10.0, rel=0.25)
    assert run(bench, FULL, scan=scan)["result"].background is None


@kit("reconstruct", needs=("test_reconstruct_gives_numpy_arrays_of_the_contract",))
def test_reconstruct_stops_when_asked_with_the_best_so_far(bench: Bench) -> None:
    settings = bench.settings(epochs=200, iterations=0, batch_size=9)  # no joint fit is what every backend can do
    found = bench.call("reconstruct", bench.scan(modes=1), settings, stop_after=2)
    result = found["result"]
    assert result.interrupted
    assert len(result.history) < 200
    assert np.isfinite(result.object).all()


@kit("reconstruct", needs=("test_reconstruct_answers",))
def test_reconstruct_refuses_a_scan_that_is_damaged(bench: Bench) -> None:
    bad = bench.folder / "damaged-scan.npz"
    bad.write_bytes(b"no scan")
    with pytest.raises(DataError, match="damaged-scan"):
        bench.call("reconstruct", bench.scan(modes=1), bench.settings(**bench.as_taken(QUICK)), instead=bad)
