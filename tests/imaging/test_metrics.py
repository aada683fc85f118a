"""Metrics of images whose quality is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ptycho_core.formats.product import StoredObject
from ptycho_core.imaging.metrics import (
    RingCorrelation,
    complex_correlation,
    data_misfit,
    image_quality,
    nrmse,
    phases,
    position_error,
    ring_correlation,
    score,
)
from ptycho_core.physics.forward import intensities
from ptycho_core.scan.patterns import ArrayPatterns
from ptycho_core.scan.scan import Scan

RNG = np.random.default_rng(1)


def field(size: int = 96, cut: float = 0.1, strength: float = 1.0) -> np.ndarray:
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :])
    rng = np.random.default_rng(5)
    phase = np.fft.ifft2(np.fft.fft2(rng.normal(size=(size, size))) * np.exp(-((f / cut) ** 2))).real
    return np.exp(1j * strength * phase / np.abs(phase).max())


def complex_noise(shape: tuple[int, ...]) -> np.ndarray:
    return (RNG.normal(size=shape) + 1j * RNG.normal(size=shape)) / np.sqrt(2)


def scan_of(patterns: np.ndarray, positions: np.ndarray, mask: np.ndarray) -> Scan:
    stored = ArrayPatterns(lambda: patterns, patterns.shape, patterns.dtype, where="test", mask=mask)
    return Scan(patterns=stored, positions=positions, mask=mask)


@pytest.fixture
def simulated():
    probe = np.zeros((2, 16, 16), complex)
    probe[0, 4:12, 4:12], probe[1, 6:10, 5:9] = 5.0, 2.0j
    positions = np.array([[r, c] for r in np.arange(0, 30, 3.3) for c in np.arange(0, 30, 3.7)])
    image = field(48)
    return image, probe, positions, intensities(image, probe, positions)


def test_the_true_model_has_no_misfit_and_a_scaled_one_a_known_one(simulated):
    image, probe, positions, counts = simulated
    scan = scan_of(counts, positions, np.ones((16, 16), bool))
    assert data_misfit(scan, image, probe, positions) < 1e-6
    assert data_misfit(scan, 1.1 * image, probe, positions, batch=7) == pytest.approx(0.1, rel=1e-4)


def test_masked_pixels_and_other_frames_do_not_count_in_the_misfit(simulated):
    image, probe, positions, counts = simulated
    counts = counts.copy()
    counts[:, 3, 4] = 1e6
    counts[5] *= 4
    mask = np.ones((16, 16), bool)
    mask[3, 4] = False
    scan = scan_of(counts, positions, mask)
    others = np.setdiff1d(np.arange(len(positions)), [5])
    assert data_misfit(scan, image, probe, positions, frames=others) < 1e-6
    assert data_misfit(scan, image, probe, positions, frames=np.array([5])) == pytest.approx(0.5, rel=1e-4)


def test_a_background_is_part_of_the_model(simulated):
    image, probe, positions, counts = simulated
    scan = scan_of(counts + 2.0, positions, np.ones((16, 16), bool))
    assert data_misfit(scan, image, probe, positions) > 0.01
    assert data_misfit(scan, image, probe, positions, background=np.full((16, 16), 2.0)) < 1e-6


def test_error_and_correlation_of_equal_and_of_different_images():
    image = field()
    assert nrmse(image, image) == 0
    assert nrmse(1.25 * image, image) == pytest.approx(0.25)
    assert complex_correlation((3 - 2j) * image, image) == pytest.approx(1)
    assert complex_correlation(complex_noise(image.shape), image) < 0.1


def test_psnr_follows_its_definition_and_ssim_is_one_for_equal_images():
    reference = np.linspace(0, 2, 32 * 32).reshape(32, 32)
    psnr, ssim = image_quality(reference + 0.02, reference)
    assert psnr == pytest.approx(40)
    assert 0.9 < ssim < 1
    assert image_quality(reference, reference) == (None, pytest.approx(1))
    assert image_quality(reference, np.ones((32, 32))) == (None, None)
    assert image_quality(reference[:8, :8] + 1, reference[:8, :8])[1] is None


def test_phases_beyond_one_turn_are_compared_without_jumps():
    ramp = np.exp(1j * 0.3 * np.arange(80))[None, :] * np.ones((40, 1))
    ours, theirs = phases(ramp * np.exp(0.1j), ramp)
    assert np.ptp(theirs) == pytest.approx(0.3 * 79)
    assert np.allclose(ours - theirs, 0.1)


def test_the_ring_correlation_of_an_image_with_itself_is_one_everywhere():
    curve = ring_correlation(field(), field())
    assert np.allclose(curve.correlation, 1)
    assert curve.crossing(1 / 2) is None
    assert curve.frequency[0] == pytest.approx(2 / 96, rel=0.25)
    assert 0.95 < curve.frequency[-1] <= 1


def test_noise_lowers_the_ring_correlation_where_the_image_is_weak():
    truth = field(cut=0.15)
    curve = ring_correlation(truth + 0.05 * complex_noise(truth.shape), truth)
    half, seventh = curve.crossing(1 / 2), curve.crossing(1 / 7)
    assert half is not None
    assert seventh is not None
    assert 0.1 < half < seventh < 1
    assert curve.correlation[:3].min() > 0.95


def test_a_crossing_lies_between_the_rings_around_it():
    curve = RingCorrelation(np.array([0.1, 0.2, 0.3]), np.array([1.0, 0.7, 0.2]))
    assert curve.crossing(0.5) == pytest.approx(0.24)
    assert curve.crossing(0.1) is None


def test_position_error_ignores_a_common_offset():
    truth = RNG.uniform(0, 50, (40, 2))
    moved = truth + np.array([3, -7])
    assert position_error(moved, truth) < 1e-12
    moved[::2] += [0.3, 0.4]
    moved[1::2] -= [0.3, 0.4]
    assert position_error(moved, truth) == pytest.approx(0.5)


def test_a_score_removes_what_is_not_known_and_uses_the_positions():
    truth = field(128)
    positions = np.array([[r, c] for r in range(20, 80, 6) for c in range(24, 84, 6)], float)
    rows, columns = np.mgrid[:100, :104]
    ours = truth[12:112, 16:120] * np.exp(1j * (0.4 * rows - 0.1 * columns)) * 3
    result = StoredObject(ours, np.ones((1, 24, 24)), positions - [12, 16], pixel_size_m=(1e-8, 1e-8))
    found = score(result, StoredObject(truth, None, positions), twin=True)
    assert found.nrmse < 1e-6
    assert found.correlation == pytest.approx(1)
    assert found.ssim_phase == pytest.approx(1)
    assert found.position_error_px == pytest.approx(0, abs=1e-12)
    values = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert values["registration"]["area_rows"] == [32, 87]
    assert values["registration"]["offset_px"] == [12, 16]
    assert values["frc_half"] is None
    assert values["frc_half_half_period_m"] is None


def test_the_score_of_a_twin_takes_the_positions_the_other_way_round():
    truth = field(128)
    positions = np.array([[r, c] for r in range(20, 80, 6) for c in range(24, 84, 6)], float)
    turned = StoredObject(np.conj(truth[::-1, ::-1]), np.ones((1, 24, 24)), 128 - 24 - positions)
    found = score(turned, StoredObject(truth, None, positions), twin=True)
    assert found.registration.twin
    assert found.nrmse < 1e-6
    assert found.position_error_px == pytest.approx(0, abs=1e-12)


def test_the_half_period_is_the_pixel_over_the_crossing():
    truth = field(128, cut=0.15)
    noisy = StoredObject(truth + 0.1 * complex_noise(truth.shape), pixel_size_m=(2e-8, 2e-8))
    values = score(noisy, truth, max_shift=2).as_dict()
    assert values["frc_half_half_period_m"] == pytest.approx(2e-8 / values["frc_half"])
