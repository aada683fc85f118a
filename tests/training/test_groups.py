"""Groups of neighbouring frames, held against a search over all frames."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ptycho_core.errors import DataError, SettingsError
from ptycho_core.training.batches import split
from ptycho_core.training.groups import epoch_groups, inference_groups, nearest_groups

# Whole steps give many neighbours equally far, and few places give several frames at one position.
RASTERS = arrays(np.float64, st.tuples(st.integers(9, 40), st.just(2)), elements=st.integers(0, 5).map(float)).map(
    lambda places: 0.1 * places + 1234.5
)
SCATTERED = arrays(np.float64, st.tuples(st.integers(9, 40), st.just(2)), elements=st.floats(0, 100))
POSITIONS = RASTERS | SCATTERED
RUN = {"seed": 1, "scan": 0, "epoch": 1}


def searched(positions: np.ndarray, number: int) -> list[list[int]]:
    """The ``number`` nearest of each frame, itself first, by distance in millionths of a pixel, ties by frame."""
    found = []
    for frame, place in enumerate(positions):
        far = np.rint(1e6 * np.sqrt(((positions - place) ** 2).sum(axis=1)))
        far[frame] = -1
        found.append(sorted(range(len(positions)), key=lambda other: (far[other], other))[:number])
    return found


@settings(max_examples=60, deadline=None)
@given(POSITIONS, st.integers(1, 3))
def test_a_group_is_the_nearest_frames_seed_first_then_by_distance_ties_by_index(positions, gridsize):
    expected = searched(positions, gridsize**2)
    assert inference_groups(positions, gridsize, neighbor_count=gridsize**2).tolist() == expected
    assert nearest_groups(positions, gridsize, neighbor_count=gridsize**2, **RUN).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(POSITIONS, st.integers(2, 3))
def test_without_a_number_a_group_is_taken_evenly_from_four_times_as_many(positions, gridsize):
    members = gridsize**2
    among = min(4 * members, len(positions))
    ranks = [math.floor(k * (among - 1) / (members - 1) + 0.5) for k in range(members)]
    expected = [[near[rank] for rank in ranks] for near in searched(positions, among)]
    assert inference_groups(positions, gridsize).tolist() == expected
    drawn = nearest_groups(positions, gridsize, **RUN)
    assert all(set(group) <= set(near) for group, near in zip(drawn.tolist(), searched(positions, among), strict=True))


@settings(max_examples=60, deadline=None)
@given(POSITIONS, st.integers(5, 9), st.integers(1, 3), st.integers(0, 2**32), st.integers(1, 100))
def test_drawn_groups_keep_seed_and_order_and_are_among_the_nearest(positions, neighbours, oversampling, seed, epoch):
    given_ = {"neighbor_count": neighbours, "oversampling": oversampling, "seed": seed, "scan": 0, "epoch": epoch}
    groups = nearest_groups(positions, 2, **given_)
    near = searched(positions, neighbours)
    assert groups.dtype == np.int64
    assert groups[:, 0].tolist() == list(range(len(positions))) * oversampling
    for group in groups.tolist():
        places = [near[group[0]].index(frame) for frame in group]
        assert places == sorted(set(places))
    np.testing.assert_array_equal(groups, nearest_groups(positions, 2, **given_))


def test_drawn_groups_change_with_epoch_seed_scan_and_repetition():
    positions = np.random.default_rng(0).uniform(0, 100, (200, 2))
    given_ = {"neighbor_count": 9, "oversampling": 2}
    groups = nearest_groups(positions, 2, **given_, **RUN)
    for change in ({"epoch": 2}, {"seed": 2}, {"scan": 1}):
        assert not np.array_equal(groups, nearest_groups(positions, 2, **given_, **(RUN | change)))
    assert not np.array_equal(groups[:200], groups[200:])


def test_every_set_of_neighbours_is_drawn_equally_often():
    positions = np.random.default_rng(0).uniform(0, 100, (6000, 2))
    near = inference_groups(positions, 3, neighbor_count=9)[:, :5]
    groups = nearest_groups(positions, 2, neighbor_count=5, **RUN)
    left_out = [next(place for place in range(1, 5) if near[k, place] not in groups[k]) for k in range(6000)]
    shares = np.bincount(left_out, minlength=5)[1:] / 6000
    np.testing.assert_allclose(shares, 0.25, atol=0.03)


def test_groups_do_not_depend_on_a_common_offset_of_the_positions():
    row, column = np.divmod(np.arange(400), 20)
    positions = np.stack([row * 0.1, column * 0.1], axis=1)
    np.testing.assert_array_equal(inference_groups(positions, 3), inference_groups(positions + np.array([1234.56, -987.65]), 3))


def test_gridsize_one_is_each_frame_by_itself():
    positions = np.zeros((7, 2))
    assert inference_groups(positions, 1).tolist() == [[frame] for frame in range(7)]


def test_frames_all_at_one_place_are_taken_by_index():
    assert inference_groups(np.ones((60, 2)), 2, neighbor_count=4)[[0, 3, 50]].tolist() == [
        [0, 1, 2, 3],
        [3, 0, 1, 2],
        [50, 0, 1, 2],
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"gridsize": 2}, "has 3 frames; gridsize 2 takes 4"),
        ({"gridsize": 1, "neighbor_count": 5}, "has 3 frames; neighbor_count asks for the nearest 5"),
    ],
)
def test_too_few_frames_are_refused_with_both_numbers(arguments, told):
    with pytest.raises(DataError, match=told):
        nearest_groups(np.zeros((3, 2)), **arguments, **RUN)


def test_inference_on_too_few_frames_names_the_scan():
    with pytest.raises(DataError, match=r"few\.npz has 3 frames; gridsize 2 takes 4"):
        inference_groups(np.zeros((3, 2)), 2, source="few.npz")


def test_a_neighbour_count_below_the_group_is_refused():
    with pytest.raises(SettingsError, match="neighbor_count is 3; with gridsize 2 it must be at least 4"):
        nearest_groups(np.zeros((9, 2)), 2, neighbor_count=3, **RUN)


@pytest.mark.parametrize("kind", ["scattered", "raster"])
def test_a_hundred_thousand_frames_are_grouped_and_split_in_about_a_second(kind):
    if kind == "scattered":
        positions = np.random.default_rng(0).uniform(0, 3000, (100_000, 2))
    else:
        positions = np.stack(np.divmod(np.arange(100_000), 317), axis=1) * 7.3
    began = time.process_time()
    groups = nearest_groups(positions, 2, neighbor_count=6, **RUN)
    batches = split(groups, positions, 32, spatial=True, **RUN)
    spent = time.process_time() - began
    assert len(batches) == 3125
    assert spent < 4, f"{spent:.1f} s"  # about 0.8 s on an idle core; the rest is for slow and busy machines


@pytest.mark.parametrize("number", [1, 7, 20, 27, 40, 55])
def test_a_number_of_groups_is_drawn_from_all_frames_as_evenly_as_can_be(number):
    positions = np.random.default_rng(3).uniform(0, 30, (20, 2))
    asked = {"neighbor_count": 9, "seed": 1, "scan": 0}
    groups = epoch_groups(positions, 2, n_groups=number, epoch=1, **asked)
    assert groups.shape == (number, 4)
    often = np.bincount(groups[:, 0], minlength=20)
    assert often.max() - often.min() <= 1
    rounds = -(-number // 20)
    assert {tuple(one) for one in groups.tolist()} <= {
        tuple(one) for one in nearest_groups(positions, 2, oversampling=rounds, epoch=1, **asked).tolist()
    }
    if number % 20:
        later = epoch_groups(positions, 2, n_groups=number, epoch=2, **asked)
        assert not np.array_equal(later[:, 0], groups[:, 0])
    else:
        assert np.array_equal(groups, epoch_groups(positions, 2, oversampling=rounds, epoch=1, **asked))


@pytest.mark.parametrize(("gridsize", "neighbours", "told"), [(1, None, "20 at most"), (2, 4, "more neighbours")])
def test_more_groups_than_frames_are_refused_where_a_frame_has_but_one(gridsize, neighbours, told):
    positions = np.random.default_rng(3).uniform(0, 30, (20, 2))
    asked = {"neighbor_count": neighbours, "seed": 1, "scan": 0, "epoch": 1}
    assert len(epoch_groups(positions, gridsize, n_groups=20, **asked)) == 20
    with pytest.raises(DataError, match="20 frames; n_groups asks for 21") as caught:
        epoch_groups(positions, gridsize, n_groups=21, **asked)
    assert told in caught.value.remedy
