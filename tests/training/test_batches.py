"""Batches: every group once, sizes alike, compact where they must be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho_core.training.batches import split
from ptycho_core.training.groups import inference_groups

RUN = {"seed": 1, "scan": 0, "epoch": 1}


def seeds_of(batches):
    return [batch[:, 0].tolist() for batch in batches]


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 120), st.integers(1, 40), st.booleans(), st.integers(0, 2**32), st.integers(0, 5), st.integers(1, 50),
    st.booleans(),
)  # fmt: skip
def test_every_group_comes_once_and_sizes_differ_by_one_at_most(number, batch_size, spatial, seed, scan, epoch, same_place):
    positions = np.zeros((number, 2)) if same_place else np.random.default_rng(number).uniform(0, 50, (number, 2))
    groups = np.stack([np.arange(number), np.arange(number)[::-1]], axis=1)
    batches = split(groups, positions, batch_size, spatial=spatial, seed=seed, scan=scan, epoch=epoch)
    assert sorted(row for batch in batches for row in batch.tolist()) == groups.tolist()
    sizes = [len(batch) for batch in batches]
    assert len(sizes) == -(-number // batch_size)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert all(own == sorted(own) for own in seeds_of(batches))
    again = split(groups, positions, batch_size, spatial=spatial, seed=seed, scan=scan, epoch=epoch)
    assert seeds_of(again) == seeds_of(batches)


@pytest.mark.parametrize("spatial", [True, False])
@pytest.mark.parametrize("change", [{"epoch": 2}, {"seed": 2}, {"scan": 1}])
def test_batches_change_with_epoch_seed_and_scan(spatial, change):
    positions = np.random.default_rng(0).uniform(0, 100, (300, 2))
    groups = np.arange(300)[:, np.newaxis]
    first = split(groups, positions, 20, spatial=spatial, **RUN)
    assert seeds_of(first) != seeds_of(split(groups, positions, 20, spatial=spatial, **(RUN | change)))


@pytest.mark.parametrize("number", [960, 1000, 1023])
def test_spatial_batches_are_compact(number):
    positions = np.random.default_rng(0).uniform(0, 300, (number, 2))
    groups = inference_groups(positions, 2)
    side = np.sqrt(300**2 / number * 32)  # of a square that holds 32 frames
    for epoch in range(1, 6):
        batches = split(groups, positions, 32, spatial=True, seed=0, scan=0, epoch=epoch)
        spans = [np.linalg.norm(np.ptp(positions[batch[:, 0]], axis=0)) for batch in batches]
        assert np.median(spans) < 2 * side
        assert max(spans) < 4 * side
    drawn = split(groups, positions, 32, spatial=False, seed=0, scan=0, epoch=1)
    assert np.median([np.linalg.norm(np.ptp(positions[batch[:, 0]], axis=0)) for batch in drawn]) > 3 * side


def test_borders_of_spatial_batches_move_so_that_neighbours_meet_in_some_epoch():
    positions = np.stack(np.divmod(np.arange(256), 16), axis=1).astype(float)
    groups = np.arange(256)[:, np.newaxis]
    met = np.zeros((256, 256), dtype=bool)
    for epoch in range(1, 21):
        for batch in split(groups, positions, 16, spatial=True, seed=0, scan=0, epoch=epoch):
            met[np.ix_(batch[:, 0], batch[:, 0])] = True
    pairs = [(k, k + 1) for k in range(255) if k % 16 < 15] + [(k, k + 16) for k in range(240)]
    assert all(met[pair] for pair in pairs)


def test_no_groups_make_no_batch():
    assert split(np.zeros((0, 4), dtype=np.int64), np.zeros((0, 2)), 8, spatial=True, **RUN) == []
