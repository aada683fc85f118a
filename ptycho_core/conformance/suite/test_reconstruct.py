"""Reconstruction: what it answers, that it improves a known scan, and that every setting that it accepts acts."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ptycho_core.conformance.batches import known_object
from ptycho_core.conformance.parity import relative_distance as distance
from ptycho_core.conformance.suite.inputs import FRAMES, PHASE, N, known_flux, known_scan
from ptycho_core.conformance.suite.marks import kit
from ptycho_core.conformance.suite.refusals import refusal_of
from ptycho_core.contract import ReconstructResult
from ptycho_core.errors import CapabilityError
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.plain_npz import write_plain_npz
from ptycho_core.imaging.metrics import data_misfit, frame_sums, position_error
from ptycho_core.physics import intensities
from ptycho_core.reconstruction.affine_search import affine_map
from ptycho_core.scan.canvas import object_canvas

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
    "coarse_start": True,
    "seed": 5,
}
"""Settings of ``reconstruct`` whose effect can be seen in any result, and a value that is not the one of `QUICK`."""

BEGIN: dict[str, dict[str, Value]] = {"coarse_start": {"size": 64, "coarse_start": False}}
"""What a setting is tried together with: a coarse start takes 64 pixels or more."""

HELD: dict[str, Value] = {"held_out": 0.2, "modes": 2}
"""What `held_out` is tried with: more than one mode."""


ALIKE = {"float64": 1e-9, "float32": 1e-4}
"""Relative L2 of what is computed from the same numbers in another order."""

CLIPPED = 4000.0
"""Counts at which the brightest pixels of the known scan end."""

SAME_FLUX = 0.95
"""Correlation of a fitted flux with the true one."""

SUMS = {"float64": 1e-9, "float32": 1e-3}
"""Of the sums of a frame: a residual is a small difference of amplitudes, which single precision rounds."""

TURNED = 0.1
"""Relative L2 of the objects of one scan in two orientations. Measured: rounding where an algorithm treats both ends of an axis
alike, up to 0.03 in others that are right, 0.5 where the sum of the illumination is off by one pixel."""


def run(bench: Bench, settings: Mapping[str, Value], *, scan: Path | None = None, exact: bool = False) -> dict[str, Any]:
    """A reconstruction, done once; with settings as the backend takes them, unless it is to refuse them."""
    asked = bench.settings(**(settings if exact else bench.as_taken(settings)))
    taken = scan or bench.scan(modes=1)
    key = ("reconstructed", taken, *sorted(asked.items()))
    found: dict[str, Any] = bench.once(key, lambda: bench.call("reconstruct", taken, asked))
    return found


def true_start(bench: Bench) -> dict[str, NDArray[Any]]:
    """A start with the object, probe and positions that the known scan is made with."""
    with np.load(bench.scan(modes=1), allow_pickle=False) as file:
        return {"object": file["object_true"], "probe": file["probe_guess"], "positions": file["positions_px"]}


def at_whole_positions(bench: Bench, turn: int) -> tuple[Path, dict[str, NDArray[Any]]]:
    """The known scan, its positions rounded down, and a flat start. For ``turn`` -1 all is turned by half a turn.

    Whole positions stay whole, so that every number of one scan is a number of the other. N is odd: zero frequency stays where
    it is.
    """
    scan = bench.folder / f"half-turn{turn}.npz"
    with np.load(bench.scan(size=33), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    shape, positions = arrays.pop("object_true").shape, np.floor(arrays["positions_px"])
    arrays |= {name: arrays[name][:, ::turn, ::turn] for name in ("intensity", "probe_guess")}
    arrays["positions_px"] = positions if turn > 0 else np.array(shape) - 33 - positions
    np.savez(scan, **arrays)
    flat = np.ones(shape, np.complex64)
    return scan, {"object": flat, "probe": arrays["probe_guess"], "positions": arrays["positions_px"]}


def misfit(scan: Path, result: ReconstructResult) -> float:
    """How far the patterns of a result are from the measured ones, computed by the core."""
    return float(data_misfit(open_scan(scan), result.object, result.probe, result.positions, background=result.background))


def likeness(result: ReconstructResult) -> float:
    """Correlation of the middle of an object with the truth, whatever its phase; 1 is equal."""
    rows, columns = result.object.shape
    truth = known_object((rows, columns), PHASE)
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
    message = [event for event in found["events"] if event.kind == "epoch"]
    assert [(event.stage, event.epoch) for event in message] == [(row["stage"], row["epoch"]) for row in history]


@kit("reconstruct", "flux", needs=("test_it_improves_a_known_scan",))
def test_the_flux_is_fitted(bench: Bench) -> None:
    scan, wanted = bench.scan(modes=1, fluctuation=0.4), known_flux(0.4)
    found = run(bench, FULL | {"refine_flux": True}, scan=scan)
    assert found["kinds"]["flux"] == "numpy.ndarray"
    flux = found["result"].flux
    assert flux.shape == (FRAMES,)
    assert flux.mean() == pytest.approx(1)
    assert np.corrcoef(flux, wanted)[0, 1] > SAME_FLUX
    assert run(bench, FULL, scan=scan)["result"].flux is None


@kit("reconstruct", "saturation", needs=("test_it_improves_a_known_scan",))
def test_a_saturated_pixel_is_a_lower_bound(bench: Bench) -> None:
    scan = bench.scan(modes=1, end=CLIPPED)
    bounded, fooled = (run(bench, FULL | {"saturation": level}, scan=scan)["result"] for level in (CLIPPED, 0.0))
    opened, whole = open_scan(scan), open_scan(bench.scan(modes=1))
    far = [data_misfit(whole, one.object, one.probe, one.positions) for one in (bounded, fooled)]
    assert far[0] < far[1], "the counts that were lost are found again by overlap"
    assert opened.patterns.read(slice(None)).max() == CLIPPED


@kit("reconstruct", needs=("test_reconstruct_gives_numpy_arrays_of_the_contract",))
def test_it_improves_a_known_scan(bench: Bench) -> None:
    found, scan = run(bench, FULL), bench.scan(modes=1)
    result, start = found["result"], found["start"]
    began = replace(result, object=start["object"], probe=start["probe"], positions=start["positions"])
    assert misfit(scan, result) < 0.3 * misfit(scan, began)
    assert likeness(result) > 0.97 > likeness(began)


@kit("reconstruct", "near-field", needs=("test_it_improves_a_known_scan",))
def test_it_improves_a_scan_in_the_near_field(bench: Bench) -> None:
    scan = bench.scan(modes=1, near=True)
    found = run(bench, FULL, scan=scan)
    result, start = found["result"], found["start"]
    began = replace(result, object=start["object"], probe=start["probe"], positions=start["positions"])
    assert misfit(scan, result) < 0.3 * misfit(scan, began)


@kit("reconstruct", needs=("test_reconstruct_keeps_a_history_and_tells_of_every_epoch",))
def test_the_history_says_what_the_arrays_say(bench: Bench) -> None:
    result = run(bench, FULL)["result"]
    message, found = result.history[-1]["misfit"], misfit(bench.scan(modes=1), result)
    assert message == pytest.approx(found, rel=0.1), "misfit of the last row is Σ|√I − √n| / Σ√n, as ptycho_core.physics has it"


@kit("reconstruct", needs=("test_reconstruct_gives_numpy_arrays_of_the_contract",))
def test_modes_are_orthogonal_and_the_strongest_is_first(bench: Bench) -> None:
    try:
        probe = run(bench, QUICK | {"modes": 3})["result"].probe
    except CapabilityError as error:
        refusal_of(error, "modes")
        return
    modes = probe.reshape(3, -1)
    products = modes.conj() @ modes.T
    powers = np.diag(products).real
    assert (np.diff(powers) <= 0).all(), f"Σ|P|² of the modes: {powers}"
    assert np.abs(products - np.diag(powers)).max() < ALIKE[bench.precision] * powers[0], "Σ conj(P_i) P_j of two modes is 0"


@kit("reconstruct", needs=("test_reconstruct_gives_numpy_arrays_of_the_contract",))
def test_reconstruct_computes_in_the_precision_that_was_asked_for(bench: Bench, precision: str) -> None:
    result = run(bench, QUICK | {"precision": precision})["result"]
    if precision != "float64":
        return
    assert (result.object.dtype, result.probe.dtype) == (np.complex128, np.complex128), "float64 was asked for"
    for name, one in (("object", result.object), ("probe", result.probe)):
        assert not np.array_equal(one, one.astype(np.complex64)), f"no number of the {name} has more digits than single precision"
    if "float32" in bench.spec.precisions:
        far = distance(result.object, run(bench, QUICK | {"precision": "float32"})["result"].object)
        assert far > 1e-9, "it computes the same in float32, to the digits of double precision"


@kit("reconstruct", needs=("test_it_improves_a_known_scan",))
def test_reconstruct_does_not_look_at_bad_pixels(bench: Bench) -> None:
    clean, spoilt = (bench.scan(size=33, masked=True, garbage=one) for one in (0, 1))
    for likelihood in ("amplitude", "poisson"):
        asked: dict[str, Value] = QUICK | {"likelihood": likelihood}
        try:
            one, other = (run(bench, asked, scan=scan)["result"] for scan in (clean, spoilt))
        except CapabilityError as error:
            refusal_of(error, "likelihood")
            continue
        assert np.array_equal(one.object, other.object), f"{likelihood}: a bad pixel holds anything, and counts for nothing"
        assert [row["misfit"] for row in one.history] == [row["misfit"] for row in other.history], likelihood
    right = bench.scan(size=33)
    assert misfit(clean, run(bench, FULL, scan=clean)["result"]) < 1.3 * misfit(right, run(bench, FULL, scan=right)["result"])


@kit("reconstruct", needs=("test_reconstruct_gives_numpy_arrays_of_the_contract",))
def test_who_watches_changes_nothing(bench: Bench) -> None:
    scan, settings = bench.scan(modes=1), bench.settings(**bench.as_taken(QUICK))
    found, alone = bench.call("reconstruct", scan, settings, watch=True), run(bench, QUICK)["result"]
    assert distance(found["result"].object, alone.object) <= ALIKE[bench.precision], "a snapshot changes the fit"
    if not found["snapshots"]:
        return  # it hands none out
    for snapshot in found["snapshots"]:
        assert snapshot.object.shape == alone.object.shape, "a snapshot is of the object as it comes back"
        assert snapshot.probe.shape == alone.probe.shape
        assert snapshot.positions.shape == alone.positions.shape
    first, last = found["snapshots"][0], found["snapshots"][-1]
    assert not np.array_equal(first.object, last.object), "the arrays of a snapshot are copies"
    state = replace(alone, object=last.object, probe=last.probe, positions=last.positions, background=None)
    assert misfit(scan, state) < 1.2 * misfit(scan, alone), "the last snapshot is not near to the result"


@kit(
    "reconstruct",
    needs=("test_reconstruct_does_not_look_at_bad_pixels", "test_reconstruct_computes_in_the_precision_that_was_asked_for"),
)
def test_the_sums_of_each_frame_are_those_of_its_answer(bench: Bench) -> None:
    asked: dict[str, Value] = {"background": "constant"} if "background" in bench.spec.capabilities else {}
    scan = bench.scan(modes=1, masked=True)
    result = run(bench, FULL | asked, scan=scan)["result"]
    if result.frame_sums is None:
        return  # it leaves R to the core
    opened = open_scan(scan)
    counts, model = opened.patterns.read(slice(None)), (result.object, result.probe, result.positions, result.background)
    far = np.abs(result.frame_sums - frame_sums(counts, opened.mask, *model))
    assert (far <= SUMS[bench.precision] * result.frame_sums).all(), "frame_sums: Σ|√I − √n| and Σ√n over good pixels of a frame"


@kit("reconstruct", needs=("test_it_improves_a_known_scan",))
def test_frames_held_out_take_no_part(bench: Bench) -> None:
    asked = QUICK | HELD
    try:
        one = run(bench, asked)["result"]
    except CapabilityError as error:
        refusal_of(error, *HELD)
        return
    assert len(one.held_out) == round(0.2 * FRAMES)
    assert all(row["held_out"] is not None for row in one.history)
    other = run(bench, asked, scan=bench.scan(modes=1, spoilt=tuple(one.held_out.tolist())))["result"]
    assert np.array_equal(one.held_out, other.held_out)
    assert [row["held_out"] for row in one.history] != [row["held_out"] for row in other.history], "they judge"
    for name in ("object", "probe"):
        far = distance(getattr(other, name), getattr(one, name))
        assert far <= ALIKE[bench.precision], f"the {name} depends on frames that are held out"


@kit("reconstruct", needs=("test_it_improves_a_known_scan",))
def test_it_begins_with_what_it_is_given(bench: Bench) -> None:
    scan, start = bench.scan(modes=1), true_start(bench)
    settings = bench.settings(**bench.as_taken({"epochs": 0, "iterations": 1, "batch_size": FRAMES}))
    result = bench.call("reconstruct", scan, settings, start=start)["result"]
    right = replace(result, **start)
    assert misfit(scan, result) < 1.2 * misfit(scan, right), "the true object and probe of the job are a start that fits"


@kit("reconstruct", needs=("test_it_begins_with_what_it_is_given",))
def test_half_a_turn_of_the_scan_turns_the_object(bench: Bench) -> None:
    settings, found = bench.settings(**bench.as_taken(QUICK | {"batch_size": FRAMES})), []
    for turn in (1, -1):
        scan, start = at_whole_positions(bench, turn)
        found.append(bench.call("reconstruct", scan, settings, start=start)["result"].object[::turn, ::turn])
    assert distance(*found) <= TURNED, "upside down the same scan gives another object: something is off by a pixel"


@kit("reconstruct", needs=("test_it_begins_with_what_it_is_given",))
def test_a_tolerance_ends_the_fit_or_is_refused(bench: Bench) -> None:
    lengths = []
    for tolerance in (100.0, 1e-9):
        settings = bench.settings(epochs=0, iterations=14, tolerance=tolerance)
        try:
            found = bench.call("reconstruct", bench.scan(modes=1), settings, start=true_start(bench))
        except CapabilityError as error:
            refusal_of(error, "tolerance", "iterations")
            return
        lengths.append(len(found["result"].history))
    assert lengths[0] < lengths[1], "from the truth on, where the object hardly changes, tolerance 100 ends no sooner than 1e-9"


@kit("reconstruct", needs=("test_reconstruct_gives_numpy_arrays_of_the_contract",))
def test_less_memory_changes_the_reading_alone_or_is_refused(bench: Bench) -> None:
    try:
        other = run(bench, QUICK | {"memory_gib": 0.0})
    except CapabilityError as error:
        refusal_of(error, "memory_gib")
        return
    one = run(bench, QUICK)
    assert distance(other["result"].object, one["result"].object) <= ALIKE[bench.precision]
    assert other["reads"] > one["reads"], "memory_gib = 0 is accepted, and no pattern is read a second time"


@kit("reconstruct", needs=("test_reconstruct_gives_numpy_arrays_of_the_contract",))
@pytest.mark.parametrize("setting", OTHER)
def test_a_setting_acts_or_is_refused(bench: Bench, setting: str) -> None:
    beside = dict(BEGIN.get(setting, {}))
    scan = bench.scan(size=beside.pop("size")) if "size" in beside else None
    try:
        other = run(bench, QUICK | beside | {setting: OTHER[setting]}, exact=setting == "iterations", scan=scan)["result"]
    except CapabilityError as error:
        refusal_of(error, setting)
        return
    found = run(bench, QUICK | beside, scan=scan)
    one = found["result"]
    if setting == "modes":
        assert (len(one.probe), len(other.probe)) == (1, 2)
    if setting == "refine_probe":
        start = found["start"]["probe"]
        assert np.allclose(other.probe, start, rtol=1e-5, atol=1e-5 * np.abs(start).max())
    same = one.object.shape == other.object.shape and np.array_equal(one.object, other.object)
    assert not same, f"{setting} = {OTHER[setting]} is accepted and changes nothing"


@kit("reconstruct", "positions", needs=("test_it_improves_a_known_scan",))
def test_positions_are_refined(bench: Bench) -> None:
    scan = bench.scan(modes=1)
    truth = run(bench, QUICK)["start"]
    random = np.random.default_rng(1)
    origin, shape = object_canvas(truth["positions"], N, 8)
    right = truth["positions"] - origin
    moved = right + random.uniform(-1, 1, right.shape)
    start = {"object": np.ones(shape, np.complex64), "probe": truth["probe"], "positions": moved}
    settings = bench.settings(**bench.as_taken({"refine_positions": True, "epochs": 25, "iterations": 15, "batch_size": 9}))
    result = bench.call("reconstruct", scan, settings, start=start)["result"]
    assert position_error(result.positions, right) < 0.5 * position_error(moved, right)


def _rough_scan(bench: Bench) -> Path:
    """The known scan with another object, on which no place looks like another."""

    def make() -> Path:
        with np.load(bench.scan(modes=1), allow_pickle=False) as file:
            arrays = dict(file)
        random, shape = np.random.default_rng(17), arrays["object_true"].shape
        squares = sum(np.meshgrid(*(np.fft.fftfreq(length) ** 2 for length in shape), indexing="ij"))
        field = np.fft.ifft2(np.fft.fft2(random.normal(size=shape)) * np.exp(-squares / (2 * 0.1**2))).real
        rough = np.exp(1j * PHASE * np.tanh(field / field.std())) * (0.8 + 0.2 * np.tanh(np.roll(field, 9) / field.std()))
        counts = random.poisson(intensities(rough, arrays["probe_guess"], arrays["positions_px"]))
        path = bench.folder / "rough.npz"
        write_plain_npz(path, arrays | {"object_true": rough.astype(np.complex64), "intensity": counts.astype(np.uint16)})
        return path

    path: Path = bench.once("rough", make)
    return path


@kit("reconstruct", "position-search", needs=("test_it_improves_a_known_scan",))
@pytest.mark.parametrize("how", ["search", "affine"])
def test_positions_that_are_far_off_are_found(bench: Bench, how: str) -> None:
    scan = _rough_scan(bench)
    truth = run(bench, QUICK)["start"]
    origin, shape = object_canvas(truth["positions"], N, 16)
    right = truth["positions"] - origin
    asked: dict[str, Value] = {"refine_positions": how, "epochs": 25, "iterations": 15, "batch_size": 9, "refine_probe": False}
    moved = affine_map(right, np.array([0.05, 0.0, 0.03, 0.0]))
    if how == "search":
        moved = right.copy()
        moved[[6, 8, 16, 18]] += [[4, -3], [-3, -4], [-4, 3], [3, 4]]
        asked |= {"position_error": 2.0, "position_radius": 7.0}
    start = {"object": np.ones(shape, np.complex64), "probe": truth["probe"], "positions": moved}
    result = bench.call("reconstruct", scan, bench.settings(**bench.as_taken(asked)), start=start)["result"]
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
    settings = bench.settings(epochs=40, iterations=0, batch_size=9)  # no joint fit is what every backend can do
    found = bench.call("reconstruct", bench.scan(modes=1), settings, stop_after=2)
    result = found["result"]
    assert result.interrupted
    assert len(result.history) < 40
    assert np.isfinite(result.object).all()


@kit("reconstruct", needs=("test_reconstruct_stops_when_asked_with_the_best_so_far",))
def test_reconstruct_stops_in_every_stage(bench: Bench) -> None:
    stages = [row["stage"] for row in run(bench, FULL)["result"].history]
    for stage in dict.fromkeys(stages):
        first = stages.index(stage) + 1
        settings = bench.settings(**bench.as_taken(FULL))
        result = bench.call("reconstruct", bench.scan(modes=1), settings, stop_after=first)["result"]
        assert result.interrupted or first == len(stages), f"asked to stop in the stage '{stage}', it says that it was not"
        assert len(result.history) <= first + 1, f"asked to stop after the first epoch of the stage '{stage}', it continues"
