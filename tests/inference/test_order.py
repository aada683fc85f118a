"""Tiles: every frame once, compact, bounded, and a function of the positions alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho_core.errors import DataError
from ptycho_core.inference.order import inference_order


def raster(rows: int, columns: int, step: float = 5.0) -> np.ndarray:
    return step * np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1).reshape(-1, 2)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 1500), size=st.sampled_from([32, 64, 256, 1024]), places=st.integers(1, 400), seed=st.integers(0, 99))
def test_every_frame_is_in_one_tile_and_no_tile_is_too_large(count: int, size: int, places: int, seed: int) -> None:
    # few places: many frames at the very same one
    positions = np.random.default_rng(seed).integers(0, places, (count, 2)).astype(float)
    tiles = inference_order(positions, size)
    assert sorted(np.concatenate(tiles).tolist()) == list(range(count))
    most = min(256, max(16, 32 * 2**20 // (8 * size**2)))
    assert all(0 < len(tile) <= most and (np.diff(tile) > 0).all() for tile in tiles)
    assert len(tiles) == -(-count // most)
    assert max(map(len, tiles)) - min(map(len, tiles)) <= max(2, count // 8)


def test_tiles_are_compact() -> None:
    positions = raster(64, 64)
    tiles = inference_order(positions, 64)
    assert len(tiles) == 16
    for tile in tiles:
        assert np.ptp(positions[tile], axis=0).tolist() == [75.0, 75.0]


def test_a_long_narrow_scan_is_cut_across_from_one_end_to_the_other() -> None:
    tiles = inference_order(raster(4, 512), 64)
    reach = [raster(4, 512)[tile] for tile in tiles]
    assert all(np.ptp(one[:, 0]) == 15.0 for one in reach)
    spans = [(one[:, 1].min(), one[:, 1].max()) for one in reach]
    assert all(before[1] < after[0] for before, after in pairwise(spans))


def test_an_offset_of_all_positions_and_their_order_in_the_file_leave_the_tiles_as_they_are() -> None:
    positions = raster(40, 30) + np.random.default_rng(3).uniform(-1, 1, (1200, 2))
    tiles = inference_order(positions, 64)
    for one, other in zip(tiles, inference_order(positions + np.array([1000.0, -64.0]), 64), strict=True):
        assert np.array_equal(one, other)
    shuffled = np.random.default_rng(4).permutation(1200)
    assert {frozenset(shuffled[tile].tolist()) for tile in inference_order(positions[shuffled], 64)} == {
        frozenset(tile.tolist()) for tile in tiles
    }


def test_one_frame_is_one_tile_and_none_is_none() -> None:
    assert [tile.tolist() for tile in inference_order(np.array([[3.5, -2.0]]), 64)] == [[0]]
    assert inference_order(np.zeros((0, 2)), 64) == []


def test_a_position_that_is_not_a_number_is_named() -> None:
    positions = raster(3, 3)
    positions[5, 1] = np.nan
    with pytest.raises(DataError, match="frame 5"):
        inference_order(positions, 64)
