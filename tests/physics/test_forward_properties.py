"""What holds for every object, probe and position: energy, shifts, adjoints, places."""

from math import lgamma

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho_core.errors import DataError
from ptycho_core.physics import intensities, shift
from ptycho_core.physics.noise import expected_residual, poisson
from ptycho_core.physics.propagation import backpropagate, propagate
from ptycho_core.physics.windows import add_windows, cut_windows, split_positions

sizes = st.integers(2, 9)
seeds = st.integers(0, 2**32 - 1)
fractions = st.tuples(st.floats(-3, 3), st.floats(-3, 3))
few = settings(max_examples=40, deadline=None, derandomize=True)


def field(seed, *shape):
    random = np.random.default_rng(seed)
    return random.normal(size=shape) + 1j * random.normal(size=shape)


def inner(x, y):
    return np.vdot(x, y)


@few
@given(sizes, seeds)
def test_propagation_keeps_energy_and_its_adjoint_is_its_inverse(size, seed):
    x, y = field(seed, size, size), field(seed + 1, size, size)
    assert np.sum(abs(propagate(x)) ** 2) == pytest.approx(np.sum(abs(x) ** 2), rel=1e-13)
    np.testing.assert_allclose(backpropagate(propagate(x)), x, atol=1e-13)
    assert inner(y, propagate(x)) == pytest.approx(inner(backpropagate(y), x), abs=1e-11)


@pytest.mark.parametrize("size", [4, 5, 8, 9])
def test_a_flat_wave_goes_to_the_pixel_of_zero_frequency(size):
    pattern = abs(propagate(np.ones((size, size)))) ** 2
    assert pattern[size // 2, size // 2] == pytest.approx(size**2)
    assert pattern.sum() == pytest.approx(size**2)


@few
@given(sizes, seeds, fractions)
def test_shift_is_unitary_and_its_adjoint_is_the_shift_back(size, seed, d):
    x, y = field(seed, size, size), field(seed + 1, size, size)
    moved = shift(x, d)
    assert np.sum(abs(moved) ** 2) == pytest.approx(np.sum(abs(x) ** 2), rel=1e-12)
    np.testing.assert_allclose(shift(moved, np.negative(d)), x, atol=1e-12)
    assert inner(y, moved) == pytest.approx(inner(shift(y, np.negative(d)), x), abs=1e-11)


@few
@given(sizes, seeds, st.integers(-4, 4), st.integers(-4, 4))
def test_shift_by_whole_pixels_rolls(size, seed, rows, columns):
    x = field(seed, size, size)
    np.testing.assert_allclose(shift(x, (rows, columns)), np.roll(x, (rows, columns), axis=(0, 1)), atol=1e-12)


@few
@given(sizes, seeds, fractions, fractions)
def test_shifts_add_up(size, seed, d, e):
    x = field(seed, size, size)
    np.testing.assert_allclose(shift(shift(x, d), e), shift(x, np.add(d, e)), atol=1e-11)


def test_the_nyquist_row_turns_by_plus_pi_d_for_even_sizes():
    stripes = np.where(np.arange(8) % 2 == 0, 1.0, -1.0)[:, None] * np.ones(8)
    np.testing.assert_allclose(shift(stripes, (0.3, 0)), np.exp(0.3j * np.pi) * stripes, atol=1e-14)


def test_a_real_field_without_nyquist_component_stays_real():
    random = np.random.default_rng(5).normal(size=(7, 7))
    assert abs(shift(random, (0.4, 0.7)).imag).max() < 1e-14


def test_a_blob_moves_towards_higher_indices():
    row, column = np.mgrid[:32, :32]
    blob = np.exp(-((row - 14) ** 2 + (column - 15) ** 2) / 8.0)
    moved = abs(shift(blob, (0.25, 0.75))) ** 2
    assert (row * moved).sum() / moved.sum() == pytest.approx(14.25, abs=1e-6)
    assert (column * moved).sum() / moved.sum() == pytest.approx(15.75, abs=1e-6)


@few
@given(st.integers(2, 5), seeds)
def test_cutting_windows_and_adding_them_are_adjoint(size, seed):
    random = np.random.default_rng(seed)
    corners = random.integers(0, 8 - size + 1, (6, 2))
    x, y = field(seed, 8, 8), field(seed + 1, 6, size, size)
    back = np.zeros((8, 8), complex)
    add_windows(back, y, corners)
    assert inner(y, cut_windows(x, corners, size)) == pytest.approx(inner(back, x), abs=1e-11)


@few
@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e4)), min_size=1, max_size=5))
def test_positions_split_into_whole_pixels_and_a_remainder_below_one(positions):
    corners, remainders = split_positions(positions)
    assert (remainders >= 0).all()
    assert (remainders < 1).all()
    np.testing.assert_array_equal(corners + remainders, positions)


@few
@given(sizes, seeds)
def test_the_sum_of_a_pattern_is_the_energy_of_its_exit_waves(size, seed):
    probe = field(seed, 3, size, size)
    transmission = field(seed + 1, size + 4, size + 4)
    corner = np.random.default_rng(seed).integers(0, 5, 2)
    pattern = intensities(transmission, probe, corner[None].astype(float))[0]
    window = transmission[corner[0] : corner[0] + size, corner[1] : corner[1] + size]
    assert pattern.sum() == pytest.approx(np.sum(abs(probe * window) ** 2), rel=1e-12)


@few
@given(sizes, seeds, st.floats(0, 3), st.floats(0, 3))
def test_a_pattern_of_an_empty_object_holds_the_counts_of_the_probe_wherever_it_is(size, seed, row, column):
    probe = field(seed, 2, size, size)
    pattern = intensities(np.ones((size + 4, size + 4)), probe, [[row, column]])
    assert pattern.sum() == pytest.approx(np.sum(abs(probe) ** 2), rel=1e-12)


def test_shifting_the_probe_by_a_whole_pixel_is_moving_the_window():
    # The probe is dark at its border, so that nothing wraps round.
    probe = np.zeros((1, 12, 12), complex)
    probe[0, 3:9, 3:9] = field(1, 6, 6)
    transmission = field(2, 20, 20)
    moved_window = intensities(transmission, probe, [[5.0, 4.0]])
    moved_probe = intensities(transmission, shift(probe, (1, -1)), [[4.0, 5.0]])
    np.testing.assert_allclose(moved_probe, moved_window, rtol=1e-10)


def test_intensities_change_continuously_where_the_window_jumps():
    row, column = np.mgrid[:16, :16] - 8
    probe = np.exp(-(row**2 + column**2) / 4.0)[None].astype(complex)
    below, above = intensities(field(3, 24, 24), probe, [[3.0 - 1e-9, 2.0], [3.0, 2.0]])
    # What the probe still holds at its border, 1e-7 of its peak, wraps round.
    np.testing.assert_allclose(below, above, atol=1e-5 * above.max())


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
def test_the_batch_size_changes_nothing(batch):
    positions = np.random.default_rng(0).uniform(0, 6, (7, 2))
    transmission, probe, background = field(1, 12, 12), field(2, 2, 6, 6), np.full((6, 6), 0.5)
    expected = intensities(transmission, probe, positions, background, batch=7)
    np.testing.assert_allclose(intensities(transmission, probe, positions, background, batch=batch), expected, rtol=1e-14)


@pytest.mark.parametrize("position", [[-1e-9, 0.0], [0.0, -0.5], [7.0, 0.0], [0.0, 7.9]])
def test_a_window_that_leaves_the_object_is_refused_with_frame_and_place(position):
    with pytest.raises(DataError, match=r"window of frame 1, 6 x 6 .* leaves the object of 12 x 12"):
        intensities(np.ones((12, 12)), np.ones((1, 6, 6)), [[6.9, 6.9], position])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"object": np.ones(12)}, "object"),
        ({"object": np.full((12, 12), np.nan)}, "object holds"),
        ({"probe": np.ones((6, 6))}, r"probe .* \(6, 6\)"),
        ({"probe": np.ones((1, 6, 5))}, "probe"),
        ({"probe": np.full((1, 6, 6), np.inf)}, "probe holds"),
        ({"positions": [[0.0, np.nan]]}, "frame 0"),
        ({"positions": [0.0, 0.0]}, r"\(frame, 2\)"),
        ({"background": np.ones((5, 5))}, r"background .* \(5, 5\)"),
        ({"background": np.full((6, 6), -1.0)}, "background"),
        ({"flux": [1.0, 1.0]}, r"flux .* \(1,\)"),
        ({"flux": [0.0]}, "flux"),
        ({"flux": [np.nan]}, "flux"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, message):
    parts = {"object": np.ones((12, 12)), "probe": np.ones((1, 6, 6)), "positions": [[0.0, 0.0]], **change}
    with pytest.raises(DataError, match=message):
        intensities(**parts)


def test_a_batch_below_one_is_refused():
    with pytest.raises(ValueError, match="batch"):
        intensities(np.ones((6, 6)), np.ones((1, 6, 6)), [[0.0, 0.0]], batch=0)


def test_noise_is_poisson_and_follows_its_seed():
    mean = np.full((200, 200), 3.5)
    counts = poisson(mean, np.random.default_rng(7))
    np.testing.assert_array_equal(counts, poisson(mean, np.random.default_rng(7)))
    assert not np.array_equal(counts, poisson(mean, np.random.default_rng(8)))
    assert counts.dtype == np.int64
    assert counts.mean() == pytest.approx(3.5, abs=0.05)
    assert counts.var() == pytest.approx(3.5, abs=0.12)
    assert poisson(np.zeros((3, 3)), np.random.default_rng(0)).sum() == 0


@pytest.mark.parametrize("mean", [-1.0, np.nan, np.inf, 1e30])
def test_impossible_mean_counts_are_refused(mean):
    with pytest.raises(DataError, match="Mean counts"):
        poisson([mean], np.random.default_rng(0))


@pytest.mark.parametrize("mean", [0.0, 1e-3, 0.1, 1.0, 7.3, 40.0, 63.9, 64.1, 500.0, 1e8])
def test_the_expected_residual_is_the_mean_of_what_poisson_noise_leaves(mean):
    counts = np.arange(max(0, int(mean - 12 * mean**0.5) - 30), int(mean + 12 * mean**0.5) + 40)
    if mean > 1e6:
        expected = 1 / np.sqrt(2 * np.pi)
    elif mean == 0:
        expected = 0.0
    else:
        logs = counts * np.log(mean) - mean - np.array([lgamma(count + 1) for count in counts])
        expected = float((np.abs(np.sqrt(counts) - np.sqrt(mean)) * np.exp(logs)).sum())
    assert expected_residual(mean) == pytest.approx(expected, rel=1e-3, abs=1e-12)
    assert expected_residual([[mean, mean]]).shape == (1, 2)
