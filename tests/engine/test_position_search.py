"""The search for positions that are off by many pixels: its steps next to formulas, and whole jobs with known truth."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_scans import small_scan

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.cli.reconstruct import _continuing
from ptycho_core.conformance.parity import relative_distance as distance
from ptycho_core.conformance.reference.reconstruction import _Engine, _Model
from ptycho_core.engine.forward import forward_of
from ptycho_core.engine.patterns import DevicePatterns
from ptycho_core.engine.search import Placing, low_passed
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.plain_npz import write_plain_npz
from ptycho_core.formats.product import StoredObject
from ptycho_core.imaging.verdict import FITTED, SEARCHED_IN_VAIN, Signs, judge
from ptycho_core.physics.forward import intensities
from ptycho_core.reconstruction.affine_search import affine_map
from ptycho_core.reconstruction.constants import COUNTS_FLOOR
from ptycho_core.reconstruction.position_search import (
    AGAIN,
    FINEST,
    FIRST,
    PROBE_EPOCHS,
    Reach,
    Search,
    Trial,
    chosen_places,
    disc,
    in_middle_half,
    levels_of,
    reach_of,
    seen_by_others,
    with_affine_part_of,
)
from ptycho_core.reconstruction.start import prepare_start
from ptycho_core.scan.canvas import probe_width, spacing_of
from ptycho_core.settings.payload import create_reconstruction_payload
from ptycho_core.settings.reconstruction import ReconstructionSettings

TRIAL, COARSE = Trial(disc(4, 2), 0.1), Trial(disc(3, 1), 0.01)


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 frames of 32 x 32 pixels, each off by 3 px rms along each axis, with the right probe."""
    return simulated(tmp_path_factory.mktemp("spoilt"))


def simulated(folder: Path, more: str = "") -> Path:
    words = f"--size 32 --frames 100 --object random-lines --position-error 3 --defocus-fraction 1 --seed 5 {more}"
    assert main(["simulate", str(folder / "scan.npz"), *words.split()]) == 0
    return folder / "scan.npz"


def both_placings(engine: Any, modes: int, refine_flux: bool | None, saturation: float) -> tuple[Placing, Any, Any]:
    """The engine's, the reference's, and their scan, whose positions are whole pixels; its dose varies if the flux is one."""
    scan = small_scan(modes=modes)
    whole = np.rint(scan.positions)
    start = np.ones_like(scan.object)
    if refine_flux:  # a probe of which the middle of the detector sees all
        rows, columns = np.mgrid[-8:8, -8:8]
        scan = replace(
            scan,
            guess=np.stack([np.exp(-(rows**2 + columns**2) / 18) * (rows + 9j) ** mode for mode in range(modes)]).astype(complex),
        )
        assert in_middle_half((np.abs(np.fft.fft2(scan.guess)) ** 2).sum(0), COARSE.cutoff)
    flux = None if refine_flux is None else np.random.default_rng(4).uniform(0.6, 1.4, len(scan))
    given = scan.counts if flux is None else np.rint(scan.counts * flux[:, None, None])
    counts = np.minimum(np.where(scan.mask, given, 0.0), saturation or np.inf).astype(np.float32)
    scan = replace(scan, counts=counts)
    state = engine.state(start, scan.guess, whole.copy())
    state.flux = None if flux is None else flux.copy()
    operations = engine.operations("float64")
    frames = DevicePatterns(operations, scan, scan.mask, 1e9, saturation=saturation)
    ours = Placing(state, frames, forward_of(operations, None, 16), refine_flux=bool(refine_flux))
    model = _Model(start.astype(complex), scan.guess.astype(complex), whole.copy(), flux)
    options = ReconstructionSettings(modes=modes, refine_flux=bool(refine_flux), saturation=saturation)
    return ours, _Engine(counts.astype(np.float64), scan.mask, options).placing(model), scan


@pytest.mark.parametrize(
    ("modes", "refine_flux", "saturation"), [(1, None, 0.0), (2, False, 0.0), (1, True, 0.0), (2, True, 600.0)]
)
def test_probe_misfits_and_an_epoch_are_those_of_the_reference(
    engine: Any, modes: int, refine_flux: bool | None, saturation: float
) -> None:
    ours, theirs, scan = both_placings(engine, modes, refine_flux, saturation)
    assert distance(np.asarray(ours.state.probe), theirs.state.probe) < 1e-13
    assert ours.counts == pytest.approx(theirs.counts)
    random = np.random.default_rng(2)
    order = [np.sort(part) for part in np.split(random.permutation(len(scan)), 3)]
    for trial in (None, TRIAL, COARSE, Trial(disc(2, 1), 0.0)):
        chosen = {}
        for name, placing in (("ours", ours), ("theirs", theirs)):
            found = np.full((len(scan), 1 if trial is None else len(trial.shifts)), np.nan)

            def choose(frames: Any, misfits: Any, placing: Any = placing, found: Any = found, trial: Any = trial) -> None:
                found[frames] = misfits
                placing.state.positions[frames] += trial.shifts[np.argmin(misfits, axis=1)]

            chosen[name] = placing.epoch(order, trial, choose), found
        assert chosen["ours"][0] == pytest.approx(chosen["theirs"][0], rel=1e-12)
        assert np.array_equal(np.isinf(chosen["ours"][1]), np.isinf(chosen["theirs"][1]))
        if trial is not None:
            finite = np.isfinite(chosen["ours"][1])
            assert np.isinf(chosen["ours"][1]).any() or trial is not TRIAL  # some places lie off the object
            assert distance(chosen["ours"][1][finite], chosen["theirs"][1][finite]) < 1e-11
        assert np.array_equal(ours.state.positions, theirs.state.positions)
        assert distance(np.asarray(ours.state.object), theirs.state.object) < 1e-11
    everything, shared = np.arange(len(scan)), random.uniform(0, 1, scan.object.shape)
    for trial in (Trial(disc(0, 1), 0.3), Trial(disc(2, 1), 0.3, shared), Trial(disc(0, 1), 0.0, shared)):
        ours_found, theirs_found = ours.misfits(everything, trial), theirs.misfits(everything, trial)
        finite = np.isfinite(theirs_found)
        assert distance(ours_found[finite], theirs_found[finite]) < 1e-11
    assert ours.probe_epoch(order) == pytest.approx(theirs.probe_epoch(order), rel=1e-12)
    assert distance(np.asarray(ours.state.probe), theirs.state.probe) < 1e-11


@pytest.mark.parametrize("level", [0.0, 5.0])
def test_a_misfit_takes_background_and_mask_into_account(engine: Any, level: float) -> None:
    scan = small_scan(level=level)
    background = np.fft.ifftshift(scan.background) if level else None
    whole = np.rint(scan.positions)
    state = engine.state(scan.object, scan.probe, whole, background)
    placing = Placing(state, engine.frames(scan, scan.mask, "float64"), forward_of(engine.operations("float64"), None, 16))
    placing.state.object = state.object
    modelled = intensities(scan.object, np.asarray(placing.state.probe), whole, scan.background if level else None)
    apart = (np.sqrt(modelled + COUNTS_FLOOR / 4) - np.sqrt(scan.counts.astype(float))) * scan.mask
    expected = 4 * (apart[:, ::2, ::2] ** 2).sum((1, 2))  # the zero frequency of 16 pixels lies at an even one
    found = placing.misfits(np.arange(len(scan)), Trial(disc(0, 1), 0.0))[:, 0]
    assert distance(found, expected) < 1e-12


def test_the_middle_of_the_detector_is_enough_for_what_is_smooth() -> None:
    rows, columns = np.mgrid[-32:32, -32:32]
    for width, least in ((8.0, 0.2), (2.5, 0.1), (0.8, 0.0)):  # of the probe, pixels; its cone is narrower the wider it is
        light = np.abs(np.fft.fft2(np.exp(-(rows**2 + columns**2) / (2 * width**2)))) ** 2
        enough = [cutoff for cutoff in (0.01, 0.05, 0.1, 0.2, 0.25, 0.3) if in_middle_half(light, cutoff)]
        assert max(enough, default=0.0) == least
    assert not in_middle_half(light, 0.0)


def test_a_low_passed_object_keeps_what_is_smooth(engine: Any) -> None:
    state = engine.state(np.ones((24, 30), complex), np.ones((1, 8, 8), complex), np.zeros((1, 2)))
    rows, columns = np.mgrid[:24, :30]
    smooth, fine = np.exp(2j * np.pi * rows / 24), np.exp(2j * np.pi * 6 * columns / 30)
    seen = np.asarray(low_passed(state.xp, engine.tensor(1 + smooth + fine), 0.1))
    parts = np.exp(-((1 / 24) ** 2) / 0.02), np.exp(-(0.2**2) / 0.02)
    assert distance(seen, 1 + parts[0] * smooth + parts[1] * fine) < 1e-13


def test_what_one_frame_has_seen_alone_does_not_count() -> None:
    probe = np.zeros((2, 4, 4), complex)
    probe[:, 1:3, 1:3] = 1  # light of 2 on 2 x 2 pixels
    shared = seen_by_others(np.array([[0.0, 0], [0, 1], [4, 4]]), probe, (8, 9))
    expected = np.zeros((8, 9))
    expected[1:3, 2] = 1
    assert np.array_equal(shared, expected)
    probe[0, 0, 0] = np.sqrt(0.1)  # a twentieth of the most that one frame sends there
    assert seen_by_others(np.array([[0.0, 0], [1, 1]]), probe, (8, 9))[1, 1] == pytest.approx(0.5)


def test_the_place_of_least_misfit_is_found_between_the_grid() -> None:
    shifts, right = disc(6, 2), np.array([[1.3, -2.4], [0.2, 0.1], [5.9, 0.0]])
    misfits = ((shifts - right[:, None]) ** 2).sum(2) + 3.0
    found = chosen_places(misfits, shifts, 2)
    assert np.allclose(found[:2], right[:2])
    assert found[2].tolist() == [6.0, 0.0]  # at the edge there is no parabola
    misfits[0, np.abs(shifts[:, 0] - 2) < 1] = np.inf
    assert chosen_places(misfits, shifts, 2)[0] == pytest.approx([0.0, -2.4])


@pytest.mark.parametrize("parts", [FIRST, AGAIN])
@pytest.mark.parametrize("radius", [1.0, 2.5, 9.0, 23.0, 46.0, 200.0])
def test_every_search_comes_down_to_single_pixels(radius: float, parts: Any) -> None:
    levels = levels_of(radius, parts)
    assert levels[-1].step == 1
    assert levels[-1].cutoff == 0
    for before, after in itertools.pairwise(levels):
        assert after.radius >= 1.4 * before.step  # what was left open can be found
        assert after.step <= before.step


def test_how_far_is_searched_follows_step_and_probe_and_what_is_asked() -> None:
    scan = small_scan()
    options = ReconstructionSettings(refine_positions="search")
    reach = reach_of(options, scan.positions, scan.probe)
    assert reach.error == max(1.0, min(spacing_of(scan.positions), 0.3 * probe_width(scan.probe)))
    assert reach.radius == 3 * reach.error
    assert reach_of(replace(options, position_error=5.0), scan.positions, scan.probe) == Reach(5.0, 15.0)
    assert reach_of(replace(options, position_radius=9.0), scan.positions, scan.probe) == Reach(reach.error, 9.0)


def test_errors_that_are_white_do_not_change_the_scale() -> None:
    random = np.random.default_rng(8)
    true = random.uniform(-75, 75, (4000, 2))
    stated = true + random.normal(0, 7, true.shape)
    stated[:40] += 300  # a few that are far off
    kept = with_affine_part_of(stated, affine_map(true, np.array([0.03, -0.01, 0.02, 0.01])) + 5, 7.0)
    part = np.linalg.lstsq(np.c_[np.ones(len(true)), true], kept, rcond=None)[0]
    assert np.abs(part[1:] - np.eye(2)).max() < 0.006  # 7 px / (sqrt(4000) 43 px) is 0.0026


def run(path: Path, backend: str, **settings: Any) -> SimpleNamespace:
    events: list[Any] = []
    found = ptycho_core.reconstruct(
        path, backend=backend, threads=1, progress=False, refine_probe=False, observers=[events.append], **settings
    )
    with np.load(path) as file:
        apart = found.positions - file["positions_true_px"]
        stated = file["positions_px"] - file["positions_true_px"]
    off, was = (np.sqrt(((one - one.mean(0)) ** 2).sum(1)) for one in (apart, stated))
    basis = np.c_[np.ones(len(apart)), found.positions]
    mapped = apart - basis @ np.linalg.lstsq(basis, apart, rcond=None)[0]
    return SimpleNamespace(result=found, off=off, mapped=np.hypot(*mapped.T), was=was, events=events)


def test_positions_that_are_off_by_pixels_are_found(spoilt: Path, backend: str) -> None:
    searched = run(spoilt, backend, refine_positions="search", iterations=20)
    assert np.sqrt((searched.was**2).mean()) > 4  # rms of both axes together
    assert np.median(searched.mapped) < 0.15
    assert (searched.mapped > 1).sum() <= 2
    stages = [event.stage for event in searched.events if event.kind == "epoch"]
    assert stages[0] == "search"
    assert stages.count("search") > 20
    assert searched.result.facts["verdict"] != "unusable"


@pytest.mark.parametrize("more", ["--flux-error 0.2", "--saturation 8000"])
def test_positions_are_found_where_the_dose_varies_and_pixels_are_saturated(tmp_path: Path, backend: str, more: str) -> None:
    searched = run(simulated(tmp_path, more), backend, refine_positions="search", iterations=10)
    assert np.median(searched.mapped) < 0.3
    assert (searched.mapped > 1).sum() <= 2


def test_a_wrong_scale_and_rotation_are_found(spoilt: Path, tmp_path: Path, backend: str) -> None:
    with np.load(spoilt) as file:
        arrays = dict(file)
    arrays["positions_px"] = affine_map(arrays["positions_true_px"], np.array([0.05, 0.0, 0.03, 0.0]))
    path = tmp_path / "scan.npz"
    write_plain_npz(path, arrays)
    found = run(path, backend, refine_positions="affine", epochs=25, iterations=10)
    assert np.sqrt((found.was**2).mean()) > 0.8
    assert np.sqrt((found.off**2).mean()) < 0.2


def test_a_search_can_be_stopped_and_shown(engine: Any) -> None:
    scan = small_scan()
    flat, options = np.ones_like(scan.object), ReconstructionSettings(refine_positions="search", position_radius=3.0)
    given = {"mask": scan.mask, "options": options, "watch": True, "precision": "float64"}
    found = engine.reconstruct(scan, scan.positions, scan.guess, flat, **given, stop_after=4)
    assert found.interrupted
    assert [(row["stage"], row["epoch"]) for row in found.history] == [("search", epoch) for epoch in (1, 2, 3, 4)]
    assert [shown.stage for shown in found.snapshots] == ["search"] * 4
    assert found.positions.shape == scan.positions.shape
    assert found.facts["position_search"] == "search"
    again = engine.reconstruct(scan, scan.positions, scan.guess, flat, **given, stop_after=4)
    assert np.array_equal(found.positions, again.positions)
    assert np.array_equal(found.object, again.object)


def test_frames_left_behind_are_searched_for_from_where_they_are_stated(engine: Any) -> None:
    scan = small_scan(side=7)
    stated = np.rint(scan.positions)
    scan = replace(scan, counts=intensities(scan.object, scan.probe, stated).astype(np.float32) * scan.mask)
    frames = engine.frames(scan, scan.mask, "float64")
    placing = Placing(engine.state(scan.object, scan.probe, stated), frames, forward_of(frames.xp, None, 16))
    search = Search(placing, stated, scan.object.shape, scan.probe, Reach(2.0, 6.0), known=True, seed=0)
    placing.state.object, placing.state.probe = engine.tensor(scan.object), engine.tensor(scan.probe)
    search.positions = stated.copy()
    search.positions[24] += [5, -4]
    search._put()
    assert search._left_behind().tolist() == [24]
    assert len(list(search._rescue())) == 5
    assert np.abs(search.positions[24] - stated[24]).max() < 1.5


def test_a_frame_that_lies_alone_is_left_behind_though_it_fits(engine: Any) -> None:
    scan = small_scan(side=7)
    around = 24
    stated = np.rint(scan.positions) + around
    shape = tuple(length + 2 * around for length in scan.object.shape)
    canvas = np.pad(scan.object, around, constant_values=1)
    scan = replace(scan, counts=intensities(canvas, scan.probe, stated).astype(np.float32) * scan.mask)
    frames = engine.frames(scan, scan.mask, "float64")
    placing = Placing(engine.state(canvas, scan.probe, stated), frames, forward_of(frames.xp, None, 16))
    placing.state.probe = engine.tensor(scan.probe)
    search = Search(placing, stated, shape, scan.probe, Reach(2.0, 6.0), known=True, seed=0)
    alone = stated[0] - 18
    canvas[int(alone[0]) :, int(alone[1]) :][:16, :16] = canvas[int(stated[0, 0]) :, int(stated[0, 1]) :][:16, :16]
    placing.state.object = engine.tensor(canvas)
    search.positions = stated.copy()
    search.positions[0] = alone
    search._put()
    assert placing.misfits(np.array([0]), Trial(disc(0, 1), 0.0))[0, 0] < 0.01 * placing.counts[0]
    assert search._left_behind().tolist() == [0]


def test_a_search_ends_where_it_moves_no_frame_and_fits_a_probe_that_is_not_known(engine: Any) -> None:
    scan = small_scan(side=7)
    stated, random = np.rint(scan.positions), np.random.default_rng(3)
    grain = np.exp(1j * random.uniform(0, 1, scan.object.shape))  # places every frame to a pixel
    scan = replace(scan, counts=intensities(grain, scan.probe, stated).astype(np.float32) * scan.mask)
    ends = {}
    for known in (True, False):
        frames = engine.frames(scan, scan.mask, "float64")
        placing = Placing(engine.state(grain, scan.probe, stated), frames, forward_of(frames.xp, None, 16))
        first = np.asarray(placing.state.probe).copy()
        search = Search(placing, stated, grain.shape, scan.probe, Reach(1.0, 3.0), known=known, seed=0)
        done = list(search.iterate())
        ends[known] = done[-1]
        assert np.array_equal(np.asarray(placing.state.probe), first) == known
        assert [one.epoch for one in done] == list(range(1, len(done) + 1))
    assert ends[True].epoch < ends[True].total - FINEST.epochs  # it need not go through a third time
    assert ends[False].total - ends[True].total == PROBE_EPOCHS


def signs(**changed: Any) -> Signs:
    return Signs(**{"misfit": 0.2, "over_noise": 2.2, "held_out": 0.3, "held_out_over_noise": 3.4} | changed)


def test_the_verdict_proposes_the_search_where_no_frame_predicts_another() -> None:
    assert FITTED.about_positions in judge(signs()).reasons
    assert FITTED.about_positions not in judge(signs(held_out_over_noise=2.4)).reasons
    assert FITTED.about_positions not in judge(signs(misfit=0.1, over_noise=1.2, held_out_over_noise=1.25)).reasons


def test_a_search_that_failed_is_told() -> None:
    verdict = judge(signs(searched=True, over_noise=1.5, held_out_over_noise=1.6))
    assert verdict.word == "doubtful"
    assert SEARCHED_IN_VAIN in verdict.reasons
    assert judge(signs(searched=True, misfit=0.1, over_noise=1.02, held_out_over_noise=1.06)).word == "good"


@pytest.mark.parametrize(("moved", "how", "told"), [(1.0, "on", True), (0.2, "on", False), (1.0, "search", False)])
def test_a_start_whose_positions_are_others_is_told(spoilt: Path, moved: float, how: str, told: bool) -> None:
    scan = open_scan(spoilt)
    places = scan.positions + np.random.default_rng(6).normal(0, moved, scan.positions.shape) + [40.0, 30.0]
    stored = StoredObject(np.ones((120, 120), complex), scan.probe, places, np.array([-40.0, -30.0]))
    options = ReconstructionSettings(refine_positions=how, start="earlier")
    notes = prepare_start(scan, options, seed=0, inferred=stored).notes
    assert any("--positions with its frames.csv" in note for note in notes) == told


@pytest.mark.parametrize("how", ["off", "search"])
def test_how_an_interrupted_fit_goes_on_is_said_with_its_positions(spoilt: Path, tmp_path: Path, how: str) -> None:
    payload = create_reconstruction_payload(spoilt, tmp_path / "out", {"refine_positions": how}, environment={})
    places = f" --positions {tmp_path / 'out' / 'frames.csv'}" if how == "search" else ""
    assert _continuing(payload) == f"--start {tmp_path / 'out'}{places}"


def test_what_belongs_to_a_search_is_refused_without_one(spoilt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconstruct", str(spoilt), "--position-radius", "5", "--dry-run", "-o", "out"]) == 2
    assert "position_radius acts only with refine_positions search" in capsys.readouterr().err


def test_the_plan_of_a_search_is_shown_with_its_settings(spoilt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "reconstruct",
        str(spoilt),
        "--dry-run",
        "--json",
        "-o",
        "out",
        "--refine-positions",
        "search",
        "--position-error",
        "4",
    ]
    assert main(words) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["refine_positions"]["value"] == "search"
    assert settings["position_error"]["value"] == 4.0
