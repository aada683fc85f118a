"""Patterns that a job reads once: what was read is kept, and forgotten where a user else holds it."""

from dataclasses import replace

import numpy as np
import pytest

from ptycho_core.errors import DataError
from ptycho_core.scan.kept import KeptPatterns, kept
from ptycho_core.scan.patterns import ArrayPatterns
from ptycho_core.scan.scan import Scan, mean_counts


@pytest.fixture
def stored():
    """Twelve patterns of 8 x 8 pixels, and the numbers of the frames that were read, in order."""
    counts = np.random.default_rng(0).poisson(5.0, (12, 8, 8)).astype(np.uint16)
    patterns = ArrayPatterns(lambda: counts, counts.shape, counts.dtype, where="here")
    read, seen = patterns.read, []

    def watched(frames):
        seen.extend(np.arange(12)[frames].tolist())
        return read(frames)

    patterns.read = watched
    return counts, patterns, seen


def scan_of(patterns):
    return Scan(patterns, np.zeros((12, 2)), np.ones((8, 8), bool))


def test_each_frame_is_read_once_in_whatever_order_and_however_it_is_named(stored):
    counts, patterns, seen = stored
    held = KeptPatterns(patterns)
    for frames in (slice(2, 6), np.array([5, 0, 5, 11]), slice(None), np.array([], dtype=np.int64), np.array([3])):
        found = held.read(frames)
        assert found.dtype == np.float32
        assert np.array_equal(found, counts[frames])
    assert sorted(seen) == list(range(12))
    assert (len(held), held.shape, held.dtype) == (12, (12, 8, 8), np.uint16)


def test_what_a_caller_changes_is_its_own(stored):
    counts, patterns, _ = stored
    held = KeptPatterns(patterns)
    for _ in range(3):
        held.read(np.array([1, 2]))[:] = -1
    assert np.array_equal(held.read(np.array([1, 2])), counts[1:3])


def test_frames_that_are_released_are_read_again_and_no_others(stored):
    counts, patterns, seen = stored
    held = KeptPatterns(patterns)
    held.read(slice(None))
    held.release(np.array([4, 5, 5]))
    seen.clear()
    assert np.array_equal(held.read(slice(3, 7)), counts[3:7])
    assert seen == [4, 5]


def test_frames_that_are_not_there_and_bad_counts_are_refused_as_without_it(stored):
    _, patterns, _ = stored
    with pytest.raises(IndexError):
        KeptPatterns(patterns).read(np.array([12]))
    bad = np.full((2, 4, 4), -1.0)
    with pytest.raises(DataError, match="frame 0, row 0, column 0"):
        KeptPatterns(ArrayPatterns(lambda: bad, bad.shape, bad.dtype, where="here")).read(slice(None))


def test_only_a_scan_that_fits_is_kept_and_everything_else_of_it_stays(stored):
    _, patterns, seen = stored
    scan = scan_of(patterns)
    assert kept(scan, 4 * 12 * 64 - 1) is scan
    held = kept(scan, 4 * 12 * 64)
    assert mean_counts(held) == mean_counts(held) == mean_counts(scan)
    assert len(seen) == 24  # once through what is kept, once without it
    assert replace(held, patterns=patterns).__dict__ == scan.__dict__
