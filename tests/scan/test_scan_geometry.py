"""Scale of the probe, canvas, overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho_core.formats.opening import open_scan
from ptycho_core.scan.canvas import object_canvas, overlap, probe_width
from ptycho_core.scan.scan import mean_counts, pattern_chunks, scaled_probe


def scan_file(path, **more):
    random = np.random.default_rng(5)
    patterns = random.poisson(9, (150, 8, 8)).astype(np.uint16)
    probe = (random.standard_normal((2, 8, 8)) + 1j * random.standard_normal((2, 8, 8))).astype(np.complex64)
    np.savez(path, intensity=patterns, positions_px=random.uniform(0, 40, (150, 2)), probe_guess=probe, **more)
    return path, patterns, probe


def test_a_probe_of_unknown_scale_gets_the_mean_counts_of_the_patterns(tmp_path):
    path, patterns, probe = scan_file(tmp_path / "scan.npz")
    scaled, factor = scaled_probe(open_scan(path))
    assert (np.abs(scaled) ** 2).sum() == pytest.approx(patterns.sum(axis=(1, 2)).mean())
    np.testing.assert_allclose(scaled, probe * factor, rtol=1e-6)


def test_a_probe_stated_in_counts_is_left_alone_but_another_one_is_scaled(tmp_path):
    path, _, probe = scan_file(tmp_path / "scan.npz", probe_in_counts=np.array(True))
    scan = open_scan(path)
    same, factor = scaled_probe(scan)
    assert factor == 1.0
    np.testing.assert_array_equal(same, probe)
    _, factor = scaled_probe(scan, np.asarray(probe[0]))
    assert factor != 1.0


def test_with_a_mask_the_scale_holds_in_the_good_pixels(tmp_path):
    mask = np.ones((8, 8), bool)
    mask[3:6, 4:] = False
    path, patterns, _ = scan_file(tmp_path / "scan.npz", mask=mask)
    scaled, _ = scaled_probe(open_scan(path))
    far = np.fft.fftshift(np.fft.fft2(scaled, norm="ortho"), axes=(1, 2))
    assert (np.abs(far) ** 2).sum(axis=0)[mask].sum() == pytest.approx(patterns[:, mask].sum(axis=1).mean())


def test_chunks_cover_the_scan_once_and_report_progress(tmp_path):
    path, patterns, _ = scan_file(tmp_path / "scan.npz")
    scan, told = open_scan(path), []
    chunks = [counts for _, counts in pattern_chunks(scan, lambda done, total: told.append((done, total)))]
    np.testing.assert_array_equal(np.concatenate(chunks), patterns)
    assert len(chunks) > 1
    assert told[-1] == (150, 150)
    assert mean_counts(scan) == pytest.approx(patterns.sum() / 150)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-200, 200), st.floats(-200, 200)), min_size=1, max_size=20),
    st.integers(2, 32),
    st.integers(0, 5),
)
def test_the_canvas_holds_every_window_exactly(places, size, margin):
    positions = np.array(places)
    origin, shape = object_canvas(positions, size, margin)
    corners = np.floor(positions - origin).astype(int)
    assert (corners.min(axis=0) >= margin).all()
    assert (corners.min(axis=0) <= margin + 1).all()  # one more where rounding carries a position over
    assert tuple(corners.max(axis=0) + size + margin) == shape
    assert (origin == np.round(origin)).all()


def test_the_width_of_a_disc_is_its_diameter_and_tails_hardly_change_it():
    along = np.arange(128) - 64
    radius = np.hypot(along[:, None], along[None, :])
    disc = (radius <= 15).astype(complex)
    assert probe_width(disc) == pytest.approx(30, rel=0.02)
    assert probe_width(np.stack([disc, disc])) == pytest.approx(30, rel=0.02)
    assert probe_width(disc + 0.02) == pytest.approx(30, rel=0.05)


def test_overlap_of_a_raster_is_one_minus_step_over_width():
    positions = np.stack(np.meshgrid(np.arange(10) * 6.0, np.arange(10) * 6.0, indexing="ij"), axis=-1).reshape(-1, 2)
    along = np.arange(64) - 32
    dense = overlap(positions, (np.hypot(along[:, None], along[None, :]) <= 10).astype(complex))
    assert dense.step == 6
    assert dense.linear == pytest.approx(1 - 6 / 20, abs=0.02)
    assert overlap(positions, None).linear is None
    assert overlap(positions[:1], None).step == 0
