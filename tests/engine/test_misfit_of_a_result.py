"""R of a result is made of the sums that the backend gives of each frame, which NumPy checks on some."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_scans import small_scan

from ptycho_core.contract import ReconstructResult
from ptycho_core.imaging.metrics import data_misfit, frame_sums
from ptycho_core.reconstruction.misfit import CHECKED_FRAMES, FrameCheck, FrameMisfits
from ptycho_core.scan.scan import Scan


@pytest.fixture(scope="module")
def both() -> tuple[Scan, ReconstructResult]:
    """A masked scan of 36 frames, and a result with two modes, a background and frames held out."""
    small = small_scan(modes=2, level=2.0)
    scan = Scan(small, small.positions, small.mask)
    model = 1.02 * small.object, small.guess, small.positions, small.background
    found = ReconstructResult(*model, held_out=np.array([3, 8, 20]), frame_sums=frame_sums(small.counts, small.mask, *model))
    return scan, found


def numpy_misfit(scan: Scan, found: ReconstructResult, frames: Any) -> float:
    return data_misfit(scan, found.object, found.probe, found.positions, background=found.background, frames=frames)


def misfits(scan: Scan, found: ReconstructResult, check: FrameCheck) -> tuple[dict[str, Any], tuple[str, ...]]:
    fits = FrameMisfits.of(scan, found, check)
    return fits.as_dict(), fits.notes


def test_it_is_r_of_the_frames_used_and_of_those_held_out(both: tuple[Scan, ReconstructResult]) -> None:
    scan, found = both
    values, notes = misfits(scan, found, FrameCheck.of(scan))
    used = np.setdiff1d(np.arange(36), found.held_out)
    assert notes == ()
    assert set(values) == {
        *("misfit", "frames", "misfit_over_noise", "held_out_misfit", "held_out_frames", "held_out_misfit_over_noise"),
    }
    assert values["misfit"] == pytest.approx(numpy_misfit(scan, found, used), rel=1e-12)
    assert values["held_out_misfit"] == pytest.approx(numpy_misfit(scan, found, found.held_out), rel=1e-12)
    assert (values["frames"], values["held_out_frames"]) == (33, 3)
    plain, _ = misfits(scan, replace(found, held_out=found.held_out[:0]), FrameCheck.of(scan))
    assert set(plain) == {"misfit", "frames", "misfit_over_noise"}


def test_frames_that_were_fitted_in_the_end_keep_the_sums_from_before(both: tuple[Scan, ReconstructResult]) -> None:
    scan, found = both
    before = np.array([[3.0, 10.0], [2.0, 20.0], [1.0, 30.0]])
    fits = FrameMisfits.of(scan, replace(found, held_out_sums=before), FrameCheck.of(scan))
    values = fits.as_dict()
    assert values["held_out_misfit"] == pytest.approx(0.1, rel=1e-12)
    assert values["misfit"] == pytest.approx(numpy_misfit(scan, found, np.arange(36)), rel=1e-12)
    assert (values["frames"], values["held_out_frames"]) == (36, 3)
    wrong = FrameMisfits.of(scan, replace(found, held_out_sums=before[:2]), FrameCheck.of(scan))
    assert "(2, 2)" in wrong.notes[0]
    assert wrong.as_dict() == misfits(scan, found, FrameCheck.of(scan))[0]


def test_of_the_truth_r_is_what_photon_noise_leaves_and_a_bad_frame_is_named(both: tuple[Scan, ReconstructResult]) -> None:
    small = small_scan(modes=2, level=2.0)
    scan = Scan(small, small.positions, small.mask)
    truth = ReconstructResult(small.object, small.probe, small.positions, small.background)
    values = FrameMisfits.of(scan, truth, FrameCheck.of(scan)).as_dict()
    assert values["misfit_over_noise"] == pytest.approx(1, abs=0.02)
    small.counts[17] *= 9
    fits = FrameMisfits.of(scan, truth, FrameCheck.of(scan))
    assert fits.bad_frames().tolist() == [17]
    small.counts[17] /= 9


def test_without_sums_numpy_models_all_frames(both: tuple[Scan, ReconstructResult]) -> None:
    scan, found = both
    values, notes = misfits(scan, replace(found, frame_sums=None), FrameCheck.of(scan))
    assert notes == ()
    assert values == pytest.approx(misfits(scan, found, FrameCheck.of(scan))[0], rel=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda sums: sums[::-1],
        lambda sums: sums[:, ::-1],
        lambda sums: sums * [1.01, 1],
        lambda sums: sums * [1, 1.01],
        lambda sums: sums * np.nan,
        lambda sums: sums[:-1],
        lambda sums: sums[:, :1],
    ],
)
def test_sums_that_are_wrong_are_noted_and_not_used(wrong: Any, both: tuple[Scan, ReconstructResult]) -> None:
    scan, found = both
    assert found.frame_sums is not None
    check = FrameCheck.of(scan)
    values, notes = misfits(scan, replace(found, frame_sums=wrong(found.frame_sums)), check)
    assert len(notes) == 1
    assert notes[0].endswith("so ptycho computed R.")
    assert values == pytest.approx(misfits(scan, found, check)[0], rel=1e-12)


def test_the_frames_that_are_checked_are_few_and_spread(both: tuple[Scan, ReconstructResult]) -> None:
    check = FrameCheck.of(both[0])
    assert len(check.frames) == CHECKED_FRAMES
    assert (check.frames[0], check.frames[-1]) == (0, 35)


def test_sums_of_the_engine_are_those_of_numpy(engine: Any) -> None:
    scan = small_scan(modes=2, level=2.0)
    found = engine.reconstruct(scan, scan.positions, scan.guess, np.ones_like(scan.object), mask=scan.mask, precision="float64")
    expected = frame_sums(scan.counts, scan.mask, found.object, found.probe, found.positions, found.background)
    assert np.allclose(found.frame_sums, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("memory", [2.0, 0.0])
def test_who_watches_changes_nothing_and_sees_whole_objects(engine: Any, memory: float) -> None:
    from ptycho_core.settings.reconstruction import ReconstructionSettings

    scan = small_scan(size=64, side=5)
    options = ReconstructionSettings(epochs=2, iterations=2, memory_gib=memory)
    one, other = (
        engine.reconstruct(
            scan, scan.positions, scan.guess, np.ones_like(scan.object), mask=scan.mask, options=options, watch=watch
        )
        for watch in (False, True)
    )
    assert np.array_equal(one.object, other.object)
    assert np.array_equal(one.probe, other.probe)
    assert (len(one.snapshots), [now.stage for now in other.snapshots]) == (0, [row["stage"] for row in other.history])
    assert {now.stage for now in other.snapshots} == {"coarse", "pie", "joint"}
    assert all(now.object.shape == scan.object.shape and np.isfinite(now.object).all() for now in other.snapshots)
    assert np.array_equal(other.snapshots[-1].object, other.object)
