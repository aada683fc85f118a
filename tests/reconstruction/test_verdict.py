"""Each result ends with a word on whether it can be trusted, which follows from what the result shows."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.formats.product import Reconstruction
from ptycho_core.imaging.verdict import INFERRED, Signs, judge
from ptycho_core.physics.forward import intensities
from ptycho_core.reconstruction.information import UNCERTAIN, position_errors
from ptycho_core.simulate import simulate_scan

SOUND = Signs(0.04, 1.0, 0.042, 1.05, flat=0.2, counts=100.0)


@pytest.mark.parametrize(
    ("changes", "word", "said"),
    [
        ({}, "good", "1.05 times"),
        ({"held_out": None, "held_out_over_noise": None}, "good", "no frames were held out"),
        ({"over_noise": 1.29, "held_out_over_noise": 1.29}, "good", ""),
        ({"over_noise": 1.31}, "doubtful", "1.31 times"),
        ({"held_out_over_noise": 1.34}, "good", ""),
        ({"held_out_over_noise": 1.41}, "doubtful", "1.41 times"),
        ({"misfit": 0.003, "held_out": 0.004, "held_out_over_noise": 1.4}, "good", ""),
        ({"misfit": 0.003, "held_out": 0.004, "held_out_over_noise": 30.0}, "doubtful", "30 times"),
        ({"over_noise": 0.88}, "good", ""),
        ({"over_noise": 0.82}, "doubtful", "--photons"),
        ({"over_noise": 0.95, "held_out_over_noise": 1.3}, "doubtful", "R of frames held out is 1.3 times"),
        ({"over_noise": 0.9, "held_out_over_noise": 1.38, "unknowns": 0.25}, "good", ""),
        ({"over_noise": 0.9, "held_out_over_noise": 1.38}, "doubtful", "the fit takes up noise or faults"),
        ({"over_noise": 0.9, "held_out_over_noise": 1.6, "unknowns": 0.25}, "doubtful", "1.6 times"),
        ({"counts": 0.2}, "doubtful", "coarse structure"),
        ({"counts": 0.2, "uniform": True}, "unusable", "too few to see anything"),
        ({"counts": 0.2, "dose": 0.5}, "unusable", "0.5 counts for each pixel of the object are too few"),
        ({"counts": 0.2, "dose": 9.0}, "doubtful", "coarse structure"),
        ({"uniform": True}, "doubtful", "The object is flat"),
        ({"interrupted": True}, "doubtful", "interrupted"),
        ({"bad_frames": (7,)}, "doubtful", "Frame 7 fits"),
        ({"bad_frames": tuple(range(9))}, "doubtful", "9 frames (0, 1, 2, 3, 4, …) fit"),
        ({"doubts": [("doubtful", "Pixels are dead.")]}, "doubtful", "Pixels are dead."),
        ({"doubts": [("doubtful", "One."), ("unusable", "Two.")]}, "unusable", "Two."),
        ({"misfit": 0.195, "over_noise": 5.0}, "unusable", "no better than the 0.2 of a flat object"),
        ({"held_out": 0.3, "over_noise": 5.0}, "unusable", "no better than the 0.2 of a flat object"),
        ({"held_out": 0.3, "over_noise": 5.0, "flat": None}, "doubtful", "5 times"),
        ({"misfit": float("nan"), "over_noise": float("nan")}, "unusable", "not finite"),
    ],
)
def test_the_word_follows_from_the_signs(changes: dict[str, Any], word: str, said: str) -> None:
    verdict = judge(replace(SOUND, **changes))
    assert verdict.word == word
    assert said in verdict.reasons[0]
    assert verdict.as_dict() == {"verdict": word, "verdict_reasons": list(verdict.reasons)}


def test_an_inference_has_limits_of_its_own() -> None:
    signs = replace(SOUND, over_noise=1.8, held_out=None, held_out_over_noise=None)
    assert (judge(signs).word, judge(signs, INFERRED).word) == ("doubtful", "good")
    found = judge(replace(signs, over_noise=2.2), INFERRED)
    assert found.word == "doubtful"
    assert "--start MODEL" in found.reasons[0]
    assert "--modes" in judge(replace(signs, over_noise=2.2)).reasons[0]


def _known(folder: Path, spoil: Any = None, **settings: Any) -> SimpleNamespace:
    """A scan of 64 frames of 64 x 64 pixels, or with something of it spoilt, and its truth."""
    simulated = simulate_scan(frames=64, **{"photons": 1e6, "seed": 11, **settings})
    plain = folder / "plain.npz"
    simulated.write(plain, overwrite=True)
    with np.load(plain) as stored:
        arrays = dict(stored)
    if spoil is not None:
        arrays |= spoil(arrays)
    path = folder / "scan.npz"
    np.savez(path, **arrays)
    return SimpleNamespace(path=path, truth=simulated)


@pytest.mark.parametrize("photons", [1e4, 1e6, 1e9])
@pytest.mark.parametrize("sample", ["dead-leaves", "random-field"])
def test_a_sound_scan_is_good(photons: float, sample: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan, folder = _known(tmp_path, photons=photons, object=sample).path, tmp_path / "out"
    assert main([*_command(scan, folder), "--require-good"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("good: R is ")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["verdict"] == "good"
    assert 0.9 < metrics["misfit_over_noise"] < 1.15
    assert metrics["held_out_frames"] == 3
    stored = ptycho_core.load_reconstruction(folder)
    assert stored.facts["verdict"] == "good"
    assert stored.held_out_sums is not None
    sums = stored.held_out_sums.sum(axis=0)
    assert metrics["held_out_misfit"] == pytest.approx(sums[0] / sums[1], rel=1e-6)


FAULTS = {
    "positions swapped": lambda a: {"positions_px": a["positions_px"][:, ::-1] * [1, -1]},
    "positions scaled": lambda a: {"positions_px": a["positions_px"] * 1.3},
    "detector turned": lambda a: {"intensity": a["intensity"][:, ::-1, ::-1]},
    "clipped": lambda a: {"intensity": np.minimum(a["intensity"], np.quantile(a["intensity"], 0.985))},
    "a dark level": lambda a: {"intensity": a["intensity"] + 9},
    "frames in another order": lambda a: {"intensity": np.roll(a["intensity"], 1, axis=0)},
    "the beam flickers": lambda a: {
        "intensity": np.rint(a["intensity"] * np.random.default_rng(0).uniform(0.7, 1.3, (64, 1, 1))),
    },
    "one frame far too bright": lambda a: {
        "intensity": np.where(np.arange(64)[:, None, None] == 20, 300, 1) * a["intensity"].astype(np.int64),
    },
}


MODELED = {"clipped": ("--saturation", "0"), "the beam flickers": ("--no-refine-flux",)}
"""Faults that a fit takes into account by itself, and what keeps it from that."""


@pytest.mark.parametrize("fault", MODELED)
def test_a_fault_that_the_fit_takes_into_account_is_in_doubt_no_more(fault: str, tmp_path: Path) -> None:
    scan = _known(tmp_path, FAULTS[fault]).path
    found = ptycho_core.reconstruct(scan, threads=1, progress=False)
    assert found.facts["verdict"] == "good", found.facts["verdict_reasons"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_scan_with_a_fault_is_not_good(fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan, folder = _known(tmp_path, FAULTS[fault]).path, tmp_path / "out"
    assert main([*_command(scan, folder), "--require-good", *MODELED.get(fault, ())]) == 6
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(("doubtful: ", "unusable: ")), last
    assert json.loads((folder / "metrics.json").read_text())["verdict"] == last.split(":")[0]


def test_a_result_that_is_not_good_is_no_failure_unless_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_command(_known(tmp_path, FAULTS["detector turned"]).path, tmp_path / "out")) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(("doubtful: ", "unusable: "))


def _command(scan: Path, folder: Path) -> list[str]:
    return ["reconstruct", str(scan), "-o", str(folder), "--quiet", "--no-figures", "--threads", "1"]


def _error(found: Reconstruction, truth: Any) -> float:
    score = ptycho_core.score(found, truth)
    return score.nrmse


@pytest.mark.parametrize("photons", [3, 30, 300, 3000])
@pytest.mark.parametrize("sample", ["random-field", "dead-leaves"])
def test_few_photons_are_never_worse_than_a_flat_object(photons: float, sample: str, tmp_path: Path) -> None:
    known = _known(tmp_path, photons=photons, object=sample, seed=5)
    found = ptycho_core.reconstruct(known.path, threads=1, progress=False)
    flat = replace(found, object=np.ones_like(found.object))
    assert _error(found, known.path) <= 1.001 * _error(flat, known.path)
    uniform = np.ptp(np.abs(found.object)) == 0
    assert found.facts["verdict"] == ("unusable" if uniform else "doubtful")
    if photons == 3:
        assert uniform, "a few hundred photons show nothing"
    if photons == 3000:
        assert _error(found, known.path) < 0.8 * _error(flat, known.path)


def test_positions_that_the_patterns_do_not_determine_stay(tmp_path: Path) -> None:
    known = _known(tmp_path, amplitude=(1.0, 1.0), phase=(0.0, 1e-9))
    found = ptycho_core.reconstruct(known.path, threads=1, progress=False, refine_positions=True, epochs=12, iterations=5)
    kept = np.array(found.facts["positions_kept"])
    assert len(kept) > 32
    stated = known.truth.positions - found.origin
    assert np.array_equal(found.positions[kept], stated[kept])
    assert "do not determine their positions" in found.facts["notes"]


def test_the_bound_of_a_position_is_what_a_fit_of_it_alone_scatters_by() -> None:
    truth = simulate_scan(frames=16, photons=3e4, size=32, seed=2)
    thing, probe, place = truth.object_true, truth.probe_true, truth.positions_true[5:6]
    bound = float(position_errors(thing, probe, place)[0])
    mean, random, found = intensities(thing, probe, place)[0], np.random.default_rng(1), []
    steps = np.linspace(-3 * bound, 3 * bound, 25)
    grid = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    logs = np.log(np.concatenate([intensities(thing, probe, place + step) for step in grid]))
    totals = np.exp(logs).sum(axis=(1, 2))
    for _ in range(120):
        counts = random.poisson(mean)
        found.append(grid[int(np.argmax((logs * counts).sum(axis=(1, 2)) - totals))])
    covariance = np.cov(np.array(found).T)
    assert np.sqrt(np.linalg.eigvalsh(covariance)[-1]) == pytest.approx(bound, rel=0.25)
    assert bound < UNCERTAIN
