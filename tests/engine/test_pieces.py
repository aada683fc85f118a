"""Pieces of a fit, each against its formula: momentum, the bound of position steps, half the resolution and back."""

from typing import Any

import numpy as np
import pytest
from numpy_fit import State, half, resampled
from small_scans import small_scan

from ptycho_core.conformance.parity import relative_distance as distance
from ptycho_core.engine.coarse import coarse_state, fine_state
from ptycho_core.engine.patterns import InnerPatterns
from ptycho_core.engine.pie import BATCHES_PER_KICK, Momentum
from ptycho_core.physics.forward import intensities
from ptycho_core.reconstruction.schedule import keep_inside, positions_settled
from ptycho_core.settings.reconstruction import ReconstructionSettings


@pytest.mark.parametrize("refine_probe", [True, False])
def test_every_twentieth_batch_moves_on_by_half_of_the_smoothed_change(engine: Any, refine_probe: bool) -> None:
    random = np.random.default_rng(0)
    changes = random.standard_normal((2, 3, 4, 4)) + 1j * random.standard_normal((2, 3, 4, 4))
    model = engine.state(np.zeros((4, 4), complex), np.ones((1, 4, 4), complex), np.zeros((1, 2)))
    momentum = Momentum(model)
    expected, velocity = [np.zeros((4, 4), complex), np.ones((4, 4), complex)], [0, 0]
    for kick in range(3):
        for batch in range(BATCHES_PER_KICK):
            if batch == BATCHES_PER_KICK - 1:  # all of a change at once, in the last batch before the kick
                model.object = model.object + engine.tensor(changes[0, kick])
                model.probe = model.probe + engine.tensor(changes[1, kick])[None]
            momentum.after_batch(model, refine_probe=refine_probe)
        for number, moves in enumerate((True, refine_probe)):
            velocity[number] = velocity[number] / 2 + changes[number, kick]
            expected[number] = expected[number] + changes[number, kick] + moves * velocity[number] / 2
        assert distance(np.asarray(model.object), expected[0]) < 1e-14
        assert distance(np.asarray(model.probe)[0], expected[1]) < 1e-14


def test_a_frame_far_off_moves_half_a_pixel_an_epoch_at_most(engine: Any) -> None:
    scan = small_scan()
    moved = scan.positions.copy()
    moved[14] += [2.5, -2.5]
    found = engine.reconstruct(
        scan, moved, scan.probe, scan.object, mask=scan.mask, precision="float64",
        options=ReconstructionSettings(epochs=9, iterations=0, refine_positions="on", refine_probe=False, object_alpha=1.0),
        watch=True,
    )  # fmt: skip
    seen = [snapshot.positions for snapshot in found.snapshots]
    assert np.array_equal(seen[2], moved)  # the object takes shape before positions move
    steps = np.abs(np.diff(seen, axis=0))
    assert steps.max() == pytest.approx(0.5, abs=1e-12)
    assert np.abs(seen[-1][14] - scan.positions[14]).max() < 1.2 < np.abs(moved[14] - scan.positions[14]).max()


def test_positions_have_settled_when_they_move_together_or_hardly(engine: Any) -> None:
    random = np.random.default_rng(3)
    rest = np.cumsum(random.uniform(-0.01, 0.01, (25, 30, 2)), axis=0)
    drift = 0.1 * np.arange(25)[:, None, None]
    spread = drift * np.sign(np.arange(30) - 14.5)[:, None]
    assert positions_settled(list(rest))
    assert positions_settled(list(rest + drift))  # a shift of all is a shift of the object
    assert not positions_settled(list(rest + spread))
    assert not positions_settled(list(rest[:19]))  # before the object shows structure


def test_windows_are_kept_inside_the_object() -> None:
    places = np.array([[-1.5, 2.25], [50.0, 27.9], [24.0, 28.5]])
    assert np.array_equal(keep_inside(places, (40, 44), 16), [[0, 2.25], [24, 27.9], [24, 28]])


def test_half_the_resolution_and_back_loses_nothing_that_it_can_show(engine: Any) -> None:
    random = np.random.default_rng(1)
    thing, probe = (resampled(noise(random, n, m), 2 * n, 2 * m) for n, m in ((21, 24), (8, 8)))
    fine = engine.state(thing, probe[None], np.array([[3.0, 4.0], [9.5, 6.25]]))
    small = coarse_state(fine)
    wanted = half(State(thing, probe[None], fine.positions))
    assert distance(np.asarray(small.object), wanted.object) < 1e-14
    assert distance(np.asarray(small.probe), wanted.probe) < 1e-14
    assert np.array_equal(small.positions, fine.positions / 2)
    assert np.linalg.norm(small.probe) == pytest.approx(np.linalg.norm(probe), rel=1e-13)
    back = fine_state(small, fine)
    assert distance(np.asarray(back.object), thing) < 1e-14
    assert distance(np.asarray(back.probe)[0], probe) < 1e-14


def test_a_pattern_at_half_the_resolution_is_the_middle_of_the_pattern(engine: Any) -> None:
    scan = small_scan(size=64, side=2, modes=2)
    small = coarse_state(engine.state(scan.object, scan.probe, scan.positions))
    found = intensities(np.asarray(small.object), np.asarray(small.probe), small.positions)
    middle = intensities(scan.object, scan.probe, scan.positions)[:, 16:48, 16:48]
    assert distance(found, middle) < 2e-3  # what is cut off is not quite nothing


@pytest.mark.parametrize("memory", [1e9, 0])
def test_coarse_frames_are_the_middle_of_the_detector_with_its_mask_and_its_sum(engine: Any, memory: float) -> None:
    scan = small_scan(size=24, side=2)
    frames = engine.frames(scan, scan.mask, "float64", memory)
    assert frames.mean_counts_per_pixel() == pytest.approx(scan.counts[:, scan.mask].mean(), rel=1e-6)
    small = InnerPatterns(frames)
    middle, mask = np.sqrt(scan.counts[:, 6:18, 6:18]), scan.mask[6:18, 6:18]
    (part, found), *_ = small.in_turn([np.array([1, 3])])
    assert part.tolist() == [1, 3]
    assert np.allclose(np.fft.fftshift(np.asarray(found), axes=(1, 2)), middle[[1, 3]], rtol=1e-6)
    assert np.array_equal(np.fft.fftshift(np.asarray(small.mask)), mask)
    assert small.amplitude_sums == pytest.approx(middle.sum(axis=(1, 2)), rel=1e-6)
    assert frames.amplitude_sums == pytest.approx(np.sqrt(scan.counts).sum(axis=(1, 2)), rel=1e-6)


def noise(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.standard_normal(shape) + 1j * random.standard_normal(shape)
