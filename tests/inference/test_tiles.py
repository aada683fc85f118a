"""Tiles of the estimate: every frame once, bounded, and a function of a frame's position and of the frames before it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho_core.errors import DataError
from ptycho_core.inference.tiles import Cells, scan_tiles


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 1500), size=st.sampled_from([32, 64, 256, 1024]), places=st.integers(1, 400), seed=st.integers(0, 99))
def test_every_frame_is_in_one_tile_and_no_tile_is_too_large(count: int, size: int, places: int, seed: int) -> None:
    positions = np.random.default_rng(seed).integers(0, places, (count, 2)).astype(float)
    tiles = scan_tiles(positions, size)
    assert sorted(np.concatenate(tiles).tolist()) == list(range(count))
    assert max(map(len, tiles)) <= min(128, max(16, (1 << 23) // size**2))


def test_a_dense_scan_has_compact_tiles_that_are_nearly_full() -> None:
    positions = np.random.default_rng(1).uniform(0, 192, (2000, 2))
    tiles = scan_tiles(positions, 64)
    assert len(tiles) <= 24
    assert all(np.ptp(positions[tile], axis=0).max() <= 49 for tile in tiles)


def test_no_later_frame_changes_the_tile_of_an_earlier_one() -> None:
    positions = np.random.default_rng(2).normal(0, 20, (1500, 2))  # so dense in the middle that cells overflow
    cells = Cells((-80.0, -80.0), (40, 40), 128)
    tile = np.empty(1500, dtype=int)
    whole = [set(one.tolist()) for one in cells.tiles(positions)]
    assert max(map(len, whole)) == 128
    for number, one in enumerate(whole):
        tile[list(one)] = number
    for early in (1, 300, 1100):
        for one in cells.tiles(positions[:early]):
            assert len(set(tile[one])) == 1, "frames of one tile stay together"
            assert set(one.tolist()) == {frame for frame in whole[tile[one[0]]] if frame < early}


def test_the_order_of_the_frames_changes_no_tile_that_is_not_too_full() -> None:
    positions = np.random.default_rng(3).uniform(0, 192, (2000, 2))
    turned = positions[::-1]
    here = [positions[tile].tolist() for tile in scan_tiles(positions, 64)]
    assert here == [turned[tile].tolist() for tile in scan_tiles(turned, 64)]


def test_a_position_that_is_no_number_is_refused() -> None:
    with pytest.raises(DataError, match="finite"):
        scan_tiles(np.array([[0.0, np.nan]]), 64)
